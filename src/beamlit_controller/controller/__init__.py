"""Runs the decisions: one sequential loop per model.

In and out: the Protocols in `ports`, which the other packages implement and `wiring` connects. `supervisor.py` starts
one loop per model; `loop.py` is one round: read the spec, read the signals (`sensor.py`), decide (`core.cycle`), notify
the sinks. May import: `core` and asyncio.
"""
