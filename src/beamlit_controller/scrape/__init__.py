"""Edge to the model servers: Pods metrics read straight from their own `/metrics`.

In: endpoints and a Pods metric. Out: one `PodSample` per endpoint that answered, the others named as missing.
May import: `controller`, `api`, `core`, the HTTP client and the parser of the exposition formats.
"""
