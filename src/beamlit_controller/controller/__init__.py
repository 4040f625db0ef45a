"""Runs the decisions: one sequential loop per model.

In and out: the Protocols in `ports`, which the other packages implement and `wiring` connects.
May import: `core` and asyncio.

- `supervisor`: starts and ends one loop per model, and recalls its last decision
- `loop`: a round: read the spec, read the signals, decide (`core.cycle`), notify the sinks. Errors of a round end here
- `sensor`: reads all signals of a round; `containment`: an unexpected error takes only what it concerns
- `ports`: the Protocols: Provider, Source, Inventory, Memory, Sink, Clock
- `meters`, `usage_meters`: the gateways' counters of requests and usage; `gateway_metrics`: metrics computed from them
- `latest`, `changes`: pass on the newest value, and changed keys
- `clock`: the time; `deadline`: deadlines for I/O; `held_bytes`: the memory of responses; `response_body`: reads them; `garbage_collection`: garbage collection pauses
"""
