"""Envoy's configuration (pure), and the RTDS server that pushes percentages and caps.

In: an `OffloadSpec` and its local endpoints; then a percentage and a cap whenever they change. Out: the files that
Envoy starts from and watches, and a runtime layer for every RTDS stream. May import: `controller`, `api`, `core`, grpc,
protobuf; no other package imports grpc.

Words used throughout: the *front* is the listener that clients connect to. A *hop* is an internal listener, with routes
and filters of its own, that a request passes on its way to the remote or to local. A *chain* is a composite cluster
with the servers that a request tries in order. A *mark* is a response header with which a hop tells the chain what
happened.
"""
