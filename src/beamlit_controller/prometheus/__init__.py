"""Reads External metrics from the HTTP API of Prometheus.

In: an External metric. Out: a `Sample`, or `Missing` with the reason; it never raises. May import: `controller`, `api`,
`core`, and the HTTP client.

`query.py` writes the PromQL, `source.py` sends it, `answer.py` parses the response.
"""
