"""Runs in a cluster: watches, metrics APIs, leader election, gateway objects, Services and the status.

In: the API server. Out: implementations of `controller.ports` (provider, source, inventory, memory, sink), and writes.
May import: `controller`, `api`, `core`, lightkube and its HTTP client.

Start reading at `reconciler.py` (one worker per model) and `reconcile.py` (the steps of one pass). `store.py` is the
cache that the watches fill. `takeover.py`, `plan.py`, `desired.py` and `conditions.py` are pure. `api_server.py` makes
all requests.
"""
