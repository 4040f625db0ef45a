"""Reads Pods metrics directly from the model servers' own `/metrics`.

In: endpoints and a Pods metric. Out: one `PodSample` per server that answered; the others are listed with the reason.
May import: `controller`, `api`, `core`, the HTTP client and the parser of the exposition formats.

`source.py` fetches the pages, `access.py` builds URL, credential and TLS, `exposition.py` finds the metric on a page.
"""
