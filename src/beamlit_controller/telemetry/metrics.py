"""The Prometheus metrics of every model: `beamlit_*` with the labels `namespace` and `name`.

The sink keeps the last `Cycle` and a few counters per model; series are created from them at each scrape. A round
therefore costs almost nothing, and no series outlives its value: what could not be read has no series. To add a metric,
add it to the function of its group (`_shares`, `_metrics`, `_counts`) and to docs/monitoring.md or the dashboards.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from beamlit_controller.core import demand, printable, wording
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.metric_spec import AverageValue, Utilization, Value
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import PodSamples
from beamlit_controller.core.spec import Mode, ModelKey
from beamlit_controller.core.traffic import Minute
from beamlit_controller.core.verdict import Assessed, Unread
from beamlit_controller.telemetry import requests, spending
from beamlit_controller.telemetry.exposition import MODEL_LABELS

LONGEST_LABEL = 80
DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(slots=True)
class _ModelMetrics:
    """The state kept for one model. `readable` is false after a failed round, when its last readings are outdated."""

    cycle: Cycle | None = None
    minute: Minute | None = None
    readable: bool = False
    failed: int = 0
    changes: Counter[Reason] = field(default_factory=Counter)
    errors: Counter[Reason] = field(default_factory=Counter)


class MetricsSink(Collector):
    """A `Sink` that counts, and a Prometheus collector."""

    def __init__(
        self, registry: CollectorRegistry, minute: Callable[[ModelKey], Minute | None] = lambda _: None
    ) -> None:
        self._minute = minute
        self._models: dict[ModelKey, _ModelMetrics] = {}
        self._duration = Histogram(
            "beamlit_evaluation_duration_seconds",
            "How long reading the signals of a round took.",
            registry=registry,
            buckets=DURATIONS,
        )
        self._lag = Histogram(
            "beamlit_evaluation_lag_seconds",
            "How late a round began.",
            registry=registry,
            buckets=DURATIONS,
        )
        registry.register(self)

    def record(self, cycle: Cycle) -> None:
        """Keep the cycle and update the counters."""
        model = self._known(cycle.spec.key)
        model.cycle, model.readable = cycle, True
        model.minute = self._minute(cycle.spec.key)
        if cycle.changed:
            model.changes[cycle.decision.reason] += 1
        for reason in _source_errors(cycle):
            model.errors[reason] += 1
        self._duration.observe(cycle.took.total_seconds())
        self._lag.observe(cycle.lag.total_seconds())

    def failed(self, key: ModelKey, error: Exception) -> None:  # noqa: ARG002 - the port's signature; logs tell the error
        """Count the failed round; older readings are not exposed any more."""
        model = self._known(key)
        model.failed += 1
        model.readable = False

    def forget(self, key: ModelKey) -> None:
        """Drop all series of the model."""
        self._models.pop(key, None)

    def collect(self) -> Iterable[Metric]:
        """Create the series. It runs in another thread, so it works on copies."""
        models = list(self._models.items())
        yield GaugeMetricFamily("beamlit_models", "Models that are being evaluated.", value=len(models))
        yield from _shares(models)
        yield from _metrics(models)
        yield from _counts(models)
        yield from requests.series((key, model.cycle, model.minute) for key, model in models if model.cycle)
        yield from spending.series((key, model.cycle) for key, model in models if model.cycle)

    def _known(self, key: ModelKey) -> _ModelMetrics:
        model = self._models.get(key)
        if model is None:
            model = self._models[key] = _ModelMetrics()
        return model


def _source_errors(cycle: Cycle) -> Iterator[Reason]:
    for reading in cycle.signals.readings:
        if isinstance(reading, PodSamples):
            for _, missing in reading.failures:
                yield missing.reason
    for metric in cycle.verdict.metrics:
        if isinstance(metric, Unread):
            yield metric.missing.reason


def _shares(models: list[tuple[ModelKey, _ModelMetrics]]) -> Iterator[Metric]:
    percentage = GaugeMetricFamily(
        "beamlit_offload_percentage",
        "Percentage of requests that go to the remote; in Adaptive mode its upper limit.",
        labels=MODEL_LABELS,
    )
    highest = GaugeMetricFamily(
        "beamlit_highest_metric_ratio",
        "Highest ratio of current value to target over all metrics.",
        labels=MODEL_LABELS,
    )
    ratio = GaugeMetricFamily(
        "beamlit_demand_ratio",
        "Highest ratio if nothing were offloaded; absent while it can't be measured.",
        labels=MODEL_LABELS,
    )
    replicas = GaugeMetricFamily(
        "beamlit_demand_replicas",
        "Ready replicas with which that ratio would be 1, for autoscaling; absent while it can't be measured.",
        labels=MODEL_LABELS,
    )
    would = GaugeMetricFamily(
        "beamlit_dry_run_percentage",
        "Percentage of requests that would go to the remote without dry run.",
        labels=MODEL_LABELS,
    )
    for key, model in models:
        cycle, labels = model.cycle, (key.namespace, key.name)
        if cycle is None:
            continue
        percentage.add_metric(labels, cycle.decision.sent)
        if cycle.decision.dry:
            would.add_metric(labels, cycle.decision.percentage)
        if model.readable and cycle.verdict.ratio is not None:
            highest.add_metric(labels, float(cycle.verdict.ratio))
        if model.readable and cycle.decision.demand is not None:
            ratio.add_metric(labels, float(cycle.decision.demand))
        in_replicas = _in_replicas(cycle)
        if model.readable and in_replicas is not None:
            replicas.add_metric(labels, float(in_replicas))
    return iter((percentage, would, highest, ratio, replicas))


def _in_replicas(cycle: Cycle) -> Fraction | None:
    decided = cycle.decision
    return demand.replicas(decided.demand, decided.learned.recent, ready=cycle.signals.local.ready)


def _metrics(models: list[tuple[ModelKey, _ModelMetrics]]) -> Iterator[Metric]:
    labels = (*MODEL_LABELS, "metric", "index")
    value = GaugeMetricFamily("beamlit_metric_value", "Current value, in the unit of the target.", labels=labels)
    target = GaugeMetricFamily("beamlit_metric_target", "Target value.", labels=labels)
    ratio = GaugeMetricFamily("beamlit_metric_ratio", "Current value over target.", labels=labels)
    wished = GaugeMetricFamily(
        "beamlit_metric_demand",
        "Value if nothing were offloaded, for autoscaling; absent while it can't be measured.",
        labels=labels,
    )
    for key, model in models:
        cycle = model.cycle
        if cycle is None or not model.readable:
            continue
        for index, (metric, seen) in enumerate(zip(cycle.verdict.metrics, _demands(cycle), strict=True)):
            if isinstance(metric, Assessed):
                row = (key.namespace, key.name, printable.short(wording.name(metric.metric), LONGEST_LABEL), str(index))
                current, wanted = _figures(metric)
                value.add_metric(row, current)
                target.add_metric(row, wanted)
                ratio.add_metric(row, float(metric.ratio))
                if seen is not None:
                    wished.add_metric(row, float(seen) * wanted)
    return iter((value, target, ratio, wished))


def _demands(cycle: Cycle) -> tuple[Fraction | None, ...]:
    """Return what each metric would be without offloading, where 1 is its target."""
    decided, metrics = cycle.decision, cycle.verdict.metrics
    match cycle.spec.behavior.mode:
        case Mode.ADAPTIVE if decided.cap != 0:
            return demand.under_caps(metrics, decided.learned, decided.by_metric, cycle.at)
        case Mode.FIXED | Mode.PROPORTIONAL | Mode.ADAPTIVE:
            seen = (demand.of(each, decided.shares) for each in metrics)
            worst = cycle.verdict.worst
            return tuple(
                decided.demand if found is None and each == worst else found
                for each, found in zip(metrics, seen, strict=True)
            )


def _figures(metric: Assessed) -> tuple[float, float]:
    """Return current value and target as numbers, in the target's unit."""
    current = metric.current
    match metric.metric.target:
        case Utilization(percent):
            return float(current.average_utilization or 0), float(percent)
        case AverageValue(milli):
            return (current.average_value or 0) / 1000, milli / 1000
        case Value(milli):
            return (current.value or 0) / 1000, milli / 1000


def _counts(models: list[tuple[ModelKey, _ModelMetrics]]) -> Iterator[Metric]:
    by_reason = (*MODEL_LABELS, "reason")
    changes = CounterMetricFamily(
        "beamlit_decision_changes", "Changes of the percentage or its reason, by the new reason.", labels=by_reason
    )
    errors = CounterMetricFamily(
        "beamlit_source_errors", "Metrics, or single pods of them, that could not be read.", labels=by_reason
    )
    failed = CounterMetricFamily(
        "beamlit_rounds_failed", "Rounds that ended in an unexpected error; the percentage stayed.", labels=MODEL_LABELS
    )
    for key, model in models:
        labels = (key.namespace, key.name)
        for reason, count in list(model.changes.items()):
            changes.add_metric((*labels, reason.value), count)
        for reason, count in list(model.errors.items()):
            errors.add_metric((*labels, reason.value), count)
        failed.add_metric(labels, model.failed)
    return iter((changes, errors, failed))
