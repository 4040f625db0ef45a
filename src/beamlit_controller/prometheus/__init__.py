"""Reads External metrics from the HTTP API of Prometheus.

In: an External metric. Out: a `Sample`, or `Missing` with the reason; it never raises. May import: `controller`, `api`,
`core`, and the HTTP client.

- `query`: writes the PromQL; `sample_times`: when the samples of a series were scraped
- `source`: sends it; `http_answer` parses the response, `answer` the result in it, `notes` its warnings
- `connection`: address, credentials and TLS; `clouds`: credentials of a cloud's identity; `sigv4`: AWS signatures
"""
