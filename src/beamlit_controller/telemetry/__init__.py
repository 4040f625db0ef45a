"""Shows what the controller does: logs, metrics, and the web endpoints.

In: the `Cycle` of every round. Out: log lines on changes, Prometheus metrics, `/healthz`, `/readyz`, `/metrics`,
`/models`. May import: `controller`, `api`, `core`, and the libraries for logging, metrics, HTTP and JSON.

Metric names are in `metrics.py` and `requests.py`; metrics of the process itself are added in `wiring/*_web.py`.
"""
