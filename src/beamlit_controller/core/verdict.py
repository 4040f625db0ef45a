"""Compares signals with targets, as the HorizontalPodAutoscaler computes them.

The ratio is the HPA's first one, over the pods that count, without counting pods that are still starting as zero: while
they start, the others are overloaded. It is exact, and computed from the truncated current value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from fractions import Fraction

from beamlit_controller.core import pods
from beamlit_controller.core.metric_spec import (
    Aggregation,
    AverageValue,
    ContainerResourceMetric,
    ExternalMetric,
    GatewayMetric,
    MetricSpec,
    ObjectMetric,
    PodsMetric,
    ResourceMetric,
    Utilization,
    Value,
)
from beamlit_controller.core.pods import DEFAULT_GRACE, Grace, Groups
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing, Pod, PodSample, PodSamples, Reading, Sample, Scale, Signals
from beamlit_controller.core.spec import Behavior, OffloadSpec


class Judgement(StrEnum):
    """The combined result of all metrics."""

    OVER = "over"
    BETWEEN = "between"
    UNDER = "under"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Current:
    """The current value, as in autoscaling/v2 MetricValueStatus; values in thousandths, utilization in percent."""

    value: int | None = None
    average_value: int | None = None
    average_utilization: int | None = None


@dataclass(frozen=True, slots=True)
class Assessed:
    """One metric that could be read: `ratio` is current over target, and its samples, in sum `milli`, lie between `since` and `until`.

    `slope`, for a metric that counts waiting requests, is by how much one more on each pod raises the ratio. The rest is as in `Sample`.
    """

    metric: MetricSpec
    current: Current
    ratio: Fraction
    since: datetime
    until: datetime
    slope: Fraction | None = None
    milli: int = 0
    undated: bool = False
    averaged: timedelta = timedelta(0)
    scattered: bool = False


@dataclass(frozen=True, slots=True)
class Unread:
    """One metric that could not be read or computed."""

    metric: MetricSpec
    missing: Missing


@dataclass(frozen=True, slots=True)
class Verdict:
    """The combined result; `ratio` is the highest of the metrics that could be read."""

    judgement: Judgement
    ratio: Fraction | None
    metrics: tuple[Assessed | Unread, ...]

    @property
    def worst(self) -> Assessed | None:
        """Return the metric with the highest ratio, if any could be read."""
        read = [each for each in self.metrics if isinstance(each, Assessed)]
        return max(read, key=lambda each: each.ratio, default=None)

    @property
    def present(self) -> tuple[Assessed | Unread, ...]:
        """Return the metrics without the optional ones that this server version lacks."""
        return tuple(each for each in self.metrics if isinstance(each, Assessed) or not _is_absent(each))


def assess(spec: OffloadSpec, signals: Signals, grace: Grace = DEFAULT_GRACE) -> Verdict:
    """Compare every reading with its metric's target, and combine the results.

    Raises TypeError if a reading does not fit its metric's type, and ValueError if their numbers differ.
    """
    metrics = tuple(
        _assess(metric, reading, signals, grace=grace)
        for metric, reading in zip(spec.metrics, signals.readings, strict=True)
    )
    ratio = max((metric.ratio for metric in metrics if isinstance(metric, Assessed)), default=None)
    return Verdict(_judge(metrics, ratio, spec.behavior), ratio, metrics)


def _judge(metrics: Sequence[Assessed | Unread], highest: Fraction | None, behavior: Behavior) -> Judgement:
    """Judge OVER if any metric is above its target, else UNKNOWN if one can't be read. UNDER and BETWEEN differ only for display; demand releases."""
    if highest is not None and highest > 1 + Fraction(behavior.engage.tolerance):
        return Judgement.OVER
    if highest is None or any(isinstance(metric, Unread) and not _is_absent(metric) for metric in metrics):
        return Judgement.UNKNOWN
    if highest <= 1 - Fraction(behavior.release.tolerance):
        return Judgement.UNDER
    return Judgement.BETWEEN


def _is_absent(unread: Unread) -> bool:
    """Return whether this is an optional metric that this version of the server lacks."""
    metric = unread.metric
    return isinstance(metric, PodsMetric) and metric.optional and unread.missing.reason is Reason.NO_SERIES


def _assess(metric: MetricSpec, reading: Reading, signals: Signals, *, grace: Grace) -> Assessed | Unread:
    match metric, reading:
        case _, Missing():
            return Unread(metric, reading)
        case ((ResourceMetric() | ContainerResourceMetric() | PodsMetric()), PodSamples()):
            return _assess_pods(metric, reading, signals, grace=grace)
        case ((ObjectMetric() | ExternalMetric()), Sample()):
            return _assess_value(metric, reading, signals.scale)
        case GatewayMetric(), Sample():
            ready = signals.local.ready
            return _assess_value(metric, reading, Scale(ready, ready) if ready else _NO_LOCAL)
        case _:
            raise TypeError(f"{type(metric).__name__} was given a reading of type {type(reading).__name__}")


def _assess_pods(
    metric: ResourceMetric | ContainerResourceMetric | PodsMetric,
    reading: PodSamples,
    signals: Signals,
    *,
    grace: Grace,
) -> Assessed | Unread:
    if isinstance(signals.pods, Missing):
        return Unread(metric, signals.pods)
    resource = None if isinstance(metric, PodsMetric) else metric.name
    counted = _counted(reading, signals.pods, signals.at, resource=resource, grace=grace)
    if isinstance(counted, Missing):
        return Unread(metric, counted)
    match metric:
        case PodsMetric():
            average = _average(metric, counted, milli=metric.target.milli)
            return replace(average, slope=_slope(metric, counted)) if metric.waiting else average
        case ResourceMetric():
            return _assess_resource(metric, counted, signals.pods, container=None)
        case ContainerResourceMetric():
            return _assess_resource(metric, counted, signals.pods, container=metric.container)


def _counted(
    reading: PodSamples, all_pods: Sequence[Pod], now: datetime, *, resource: str | None, grace: Grace
) -> dict[str, PodSample] | Missing:
    """Return the samples that count, by pod, including those of pods that are no longer listed."""
    if not reading.samples:
        return _no_values(reading)
    if not all_pods:
        return Missing(Reason.NO_PODS, "expected the model's pods, its selector matches none")
    samples = {sample.pod: sample for sample in reading.samples}
    groups = pods.group(all_pods, samples, resource=resource, now=now, grace=grace)
    left_out = {*groups.unready, *groups.ignored}
    counted = {name: sample for name, sample in samples.items() if name not in left_out}
    return counted or _none_counts(groups, reading)


def _assess_resource(
    metric: ResourceMetric | ContainerResourceMetric,
    counted: Mapping[str, PodSample],
    all_pods: Sequence[Pod],
    *,
    container: str | None,
) -> Assessed | Unread:
    match metric.target:
        case AverageValue(milli):
            return _average(metric, counted, milli=milli)
        case Utilization(percent):
            # A pod without a request makes the percentage undefined, even if the pod itself does not count.
            requested = pods.requests(all_pods, metric.name, container)
            return _utilization(metric, counted, requested, percent=percent)


def _utilization(
    metric: ResourceMetric | ContainerResourceMetric,
    counted: Mapping[str, PodSample],
    requested: dict[str, int] | Missing,
    *,
    percent: int,
) -> Assessed | Unread:
    """Compare total usage with total requests, rather than averaging percentages."""
    if isinstance(requested, Missing):
        return Unread(metric, requested)
    known = [sample for name, sample in counted.items() if name in requested]
    reserved = sum(requested[sample.pod] for sample in known)
    if not reserved:
        return Unread(metric, _nothing_reserved(metric.name, known))
    used = sum(sample.milli for sample in known)
    utilization = _divide(100 * used, reserved)
    current = Current(average_value=_divide(used, len(known)), average_utilization=utilization)
    return _assessed(metric, current, Fraction(utilization, percent), known)


def _average(
    metric: ResourceMetric | ContainerResourceMetric | PodsMetric, counted: Mapping[str, PodSample], *, milli: int
) -> Assessed:
    samples = tuple(counted.values())
    average = _divide(sum(sample.milli for sample in samples), len(samples))
    return _assessed(metric, Current(average_value=average), Fraction(average, milli), samples)


def _slope(metric: PodsMetric, counted: Mapping[str, PodSample]) -> Fraction:
    """Return by how much one more waiting request on each pod raises the ratio; less for a server that averages its engines."""
    engines = Fraction(sum(each.series for each in counted.values()), len(counted))
    return Fraction(1000, metric.target.milli) / (engines if metric.aggregation is Aggregation.MEAN else 1)


def _assessed(metric: MetricSpec, current: Current, ratio: Fraction, samples: Sequence[PodSample]) -> Assessed:
    since, until = min(sample.at - sample.window for sample in samples), max(sample.at for sample in samples)
    milli, undated = sum(sample.milli for sample in samples), any(sample.undated for sample in samples)
    scattered = undated or not min(sample.window for sample in samples)
    return Assessed(metric, current, ratio, since, until, None, milli, undated, scattered=scattered)


_NO_REPLICAS = Missing(
    Reason.NO_REPLICAS, "averageValue is per replica, and there are none (status.replicas is 0): use value instead"
)
_NO_LOCAL = Missing(Reason.NO_READY_PODS, "averageValue is per ready local replica, and none is ready")


def _assess_value(
    metric: ObjectMetric | ExternalMetric | GatewayMetric, sample: Sample, scale: Scale | Missing
) -> Assessed | Unread:
    """Assess one value, as it is or divided by the number of replicas."""
    since, current = sample.at - sample.window, Current(value=sample.milli)
    told = sample.milli, sample.undated, sample.averaged, sample.undated or sample.scattered
    read = Assessed(metric, current, Fraction(0), since, sample.at, None, *told)
    match metric.target:
        case Value(milli):
            return replace(read, ratio=Fraction(sample.milli, milli))
        case AverageValue() if isinstance(scale, Missing):
            return Unread(metric, scale)
        case AverageValue(milli):
            if not (replicas := scale.status_replicas):
                return Unread(metric, _NO_REPLICAS)
            current = Current(average_value=-(-sample.milli // replicas))  # only what is displayed is rounded (up)
            return replace(read, current=current, ratio=Fraction(sample.milli, milli * replicas))


def _divide(dividend: int, divisor: int) -> int:
    """Divide and truncate toward zero, as Go does."""
    quotient = abs(dividend) // abs(divisor)
    return quotient if (dividend < 0) == (divisor < 0) else -quotient


def _no_values(reading: PodSamples) -> Missing:
    if not reading.failures:
        return Missing(Reason.NO_SERIES, "expected a value of each pod, got an empty list")
    (pod, first), *others = reading.failures
    none = f"none of {len(reading.failures)} pods has a value; " if others else ""
    return Missing(first.reason, f"{none}{pod}: {first.message}")


def _none_counts(groups: Groups, reading: PodSamples) -> Missing:
    """Describe why no pod with a value counts."""
    because = {
        "not ready yet": groups.unready,
        "without a value": groups.missing,
        "terminating or failed": groups.ignored,
    }
    counts = ", ".join(f"{len(names)} {why} ({_some(names)})" for why, names in because.items() if names)
    failure = next((f"; {pod}: {missing.message}" for pod, missing in reading.failures), "")
    return Missing(Reason.NO_READY_PODS, f"expected a value of a ready pod, there is none: {counts}{failure}")


def _some(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _nothing_reserved(resource: str, known: Sequence[PodSample]) -> Missing:
    if not known:
        return Missing(Reason.NO_PODS, "expected values of the model's pods, got only those of others")
    return Missing(
        Reason.NO_REQUESTS,
        f"averageUtilization needs pods that request {resource}; {_some([sample.pod for sample in known])} request 0: "
        "set resources.requests, or use averageValue",
    )
