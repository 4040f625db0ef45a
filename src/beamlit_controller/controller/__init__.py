"""When we decide: one sequential loop per model, fed and drained through the Protocols in `ports`.

In: specs from a provider, readings from sources. Out: one `Cycle` per round, to every sink.
May import: `core`, asyncio and the standard library. It knows no cluster, no Prometheus and no Envoy.
"""
