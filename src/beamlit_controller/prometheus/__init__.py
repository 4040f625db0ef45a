"""Edge to Prometheus: External metrics asked of its HTTP API.

In: an External metric. Out: a `Sample`, or `Missing` with the reason; never an exception, never a guess.
May import: `controller`, `api`, `core`, and the HTTP client.
"""
