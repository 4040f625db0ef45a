"""Shows what the controller does: logs, metrics, and the web endpoints.

In: the `Cycle` of every round. Out: log lines on changes, Prometheus metrics, `/healthz`, `/readyz`, `/metrics`,
`/models`. May import: `controller`, `api`, `core`, and the libraries for logging, metrics, HTTP and JSON.

- `logs`: log lines, one per change
- `metrics`: the metrics of a model; `requests`: of its requests; `spending`: of its remotes' cost
- `exposition`: renders `/metrics`
- `models`: `/models`; `history`: the data of the page's chart; `page`: the page
- `liveness`: `/healthz` and `/readyz`
- `web`: serves all of them; `connections` bounds the connections

Metrics of the process itself are added in `wiring`: `cluster_web` and `standalone_web`.
"""
