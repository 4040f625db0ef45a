"""Serve a model on your own machines first, and a share of its requests elsewhere when a metric says so.

The flow is one way: manifests become an `OffloadSpec`, metrics become `Signals`, both are assessed to a `Verdict`,
decided to a `Decision`, and the record of all of it, a `Cycle`, is handed to the sinks: Envoy, logs, metrics, status.
Read `controller/loop.py` first; `docs/architecture.md` draws the rest.
"""
