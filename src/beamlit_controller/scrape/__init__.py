"""Reads Pods metrics directly from the model servers' own `/metrics`.

In: endpoints and a Pods metric. Out: one `PodSample` per server that answered; the others are listed with the reason.
May import: `controller`, `api`, `core`, the HTTP client and the parser of the exposition formats.

- `source`: fetches the pages
- `access`: URL, credential and TLS
- `exposition`: finds the metric on a page; `histogram`: a quantile; `slots`: the slots that a server reports
"""
