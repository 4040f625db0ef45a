"""`/metrics`: rendered on demand, one scrape at a time, off the event loop.

Metrics that other parts keep are added with `gauge` and `counter`, whose `read` is called at each scrape.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from beamlit_controller.core.spec import ModelKey

MODEL_LABELS = ("namespace", "name")

Values = float | Mapping[ModelKey, float] | Mapping[tuple[str, ...], float]
Read = Callable[[], Values]
"""Returns one number, or one per model or other labels."""


class Exposition:
    """All metrics of the registry, and values read from other parts at each scrape."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._figures: list[_CallbackMetric] = []
        self._one_at_a_time = asyncio.Lock()

    def gauge(self, name: str, documentation: str, read: Read, *, labels: Sequence[str] = MODEL_LABELS) -> None:
        """Add a gauge; `read` returns its value at every scrape, on the event loop."""
        self._add(_CallbackMetric(GaugeMetricFamily, name, documentation, read, labels))

    def counter(self, name: str, documentation: str, read: Read, *, labels: Sequence[str] = MODEL_LABELS) -> None:
        """Add a counter; `read` returns its value at every scrape, on the event loop."""
        self._add(_CallbackMetric(CounterMetricFamily, name, documentation, read, labels))

    async def render(self, accept: str) -> tuple[bytes, str]:
        """Return the exposition and its content type, OpenMetrics or text depending on the Accept header."""
        async with self._one_at_a_time:
            for figure in self._figures:
                figure.refresh()
            return await asyncio.to_thread(_rendered, self._registry, accept)

    def _add(self, figure: "_CallbackMetric") -> None:
        self._figures.append(figure)
        self._registry.register(figure)


class _CallbackMetric(Collector):
    """A metric whose value belongs to another part, as read at the last refresh."""

    def __init__(
        self,
        family: type[GaugeMetricFamily | CounterMetricFamily],
        name: str,
        documentation: str,
        read: Read,
        labels: Sequence[str],
    ) -> None:
        self._family = family
        self._name = name
        self._documentation = documentation
        self._read = read
        self._labels = labels
        self._values: Values = {}

    def refresh(self) -> None:
        values = self._read()
        self._values = dict(values) if isinstance(values, Mapping) else values

    def collect(self) -> Iterable[Metric]:
        if not isinstance(self._values, Mapping):
            return (self._family(self._name, self._documentation, value=self._values),)
        family = self._family(self._name, self._documentation, labels=self._labels)
        for key, value in self._values.items():
            family.add_metric((key.namespace, key.name) if isinstance(key, ModelKey) else key, value)
        return (family,)


def _rendered(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # the header has an invalid version
        encode, content_type = generate_latest, CONTENT_TYPE_PLAIN_0_0_4
    return encode(registry), content_type
