"""Edge to the cluster: the only importer of a Kubernetes client.

In: the API server. Out: what `controller.ports` asks of a provider, a source, an inventory, a memory and a sink.
May import: `controller`, `api`, `core`, lightkube and its HTTP client. `api_server` speaks to the API server; everything
else here is parsing, rendering, or a loop around it.
"""
