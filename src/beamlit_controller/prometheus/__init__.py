"""Reads External metrics from the HTTP API of Prometheus.

In: an External metric. Out: a `Sample`, or `Missing` with the reason; it never raises. May import: `controller`, `api`,
`core`, and the HTTP client.

- `query`: writes the PromQL
- `source`: sends it; `answer` parses the response, `notes` its warnings
- `connection`: address, credentials and TLS; `clouds`: credentials of a cloud's identity; `sigv4`: AWS signatures
"""
