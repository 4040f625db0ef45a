"""The composition root of the cluster mode. Read `run` to see what talks to what.

Every replica watches, serves the gateways and answers probes. One, the leader, reads metrics, decides, records the
decisions in `.status` and keeps the gateways as they should be. What the gateways are told is always what the watch
brings back of `.status`, so that a new leader and all replicas tell the same.
"""
