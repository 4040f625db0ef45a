"""Reads Pods metrics directly from the model servers' own `/metrics`.

In: endpoints and a Pods metric. Out: one `PodSample` per server that answered; the others are listed with the reason.
May import: `controller`, `api`, `core`, the HTTP client and the parser of the exposition formats.

- `source`: reads all metrics of a model in a round
- `fetch`: fetches one page; `access`: URL, credential and TLS
- `page`: finds the samples of one name on a page; `exposition`: aggregates them; `slots`: the slots that a server reports
- `histogram`: a quantile of the last scrapes; `windows`: the scrapes of all servers
"""
