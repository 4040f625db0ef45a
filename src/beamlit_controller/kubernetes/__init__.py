"""Edge to the cluster: the only importer of a Kubernetes client.

In: the API server. Out: what `controller.ports` asks of a provider, a source and a sink.
May import: `controller`, `api`, `core`. Nothing stands here yet: the program runs without a cluster so far.
"""
