"""Envoy's configuration (pure), and the RTDS server that pushes percentages and caps.

The only package that imports grpc. In: an `OffloadSpec` and its local endpoints; then a percentage and a cap whenever they change.
Out: the files that Envoy starts from and watches, and a runtime layer for every RTDS stream.
May import: `controller`, `api`, `core`, grpc, protobuf.
"""
