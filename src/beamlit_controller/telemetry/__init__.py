"""Edge to the people and machines that watch us: logs, our own metrics, and the web endpoints.

In: the `Cycle` of every round. Out: log lines on changes, Prometheus metrics, `/healthz`, `/readyz`, `/metrics`, `/models`.
May import: `controller`, `api`, `core`, and the libraries for logging, metrics, HTTP and JSON.
"""
