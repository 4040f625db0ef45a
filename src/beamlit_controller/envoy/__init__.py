"""Edge to Envoy: its configuration (pure) and the server that pushes the share (RTDS). The only importer of grpc.

In: an `OffloadSpec` and where its local endpoints are; then a percentage whenever it changes.
Out: the files that Envoy boots from, and a runtime layer on every stream that asks for it.
May import: `controller`, `api`, `core`, grpc, protobuf.
"""
