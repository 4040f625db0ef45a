"""The composition roots: each mode's parts, built, connected and run. Nothing below imports from here.

`standalone` runs on a machine without a cluster: read its `_serve`. `cluster` runs in one: read `cluster_parts.compose` for
what is connected, and `cluster` for what runs. Every replica watches, serves the gateways and answers probes; the leader also
reads metrics, decides, records the decisions in `.status` and reconciles the gateways. `common` is what both modes share;
`release`, `restore` and `override` are what people run once.
"""
