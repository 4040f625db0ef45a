"""Detects triggers that can't work: a metric that was never read, or a target that its metric can't reach or has never reached.

Observations are stored with the decision, so they survive a crash. A changed spec resets them.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from beamlit_controller.core import demand, pods, wording
from beamlit_controller.core.demand import Share
from beamlit_controller.core.metric_spec import (
    Aggregation,
    AverageValue,
    ContainerResourceMetric,
    ExternalMetric,
    MetricSpec,
    PodsMetric,
    ResourceMetric,
    SeriesSelector,
    Target,
    Utilization,
    Value,
)
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing, Pod, Signals
from beamlit_controller.core.spec import Behavior, OffloadSpec
from beamlit_controller.core.verdict import Assessed, Unread, Verdict

STARTUP_GRACE = timedelta(minutes=5)
"""How long a metric may take to become readable, while pods start and servers load."""
LONG = timedelta(days=1)
"""A target that was not reached for this long may be too high."""
MOST_RANKS = 16
"""Servers report fractions per rank; those of a pod are summed."""
FRACTIONS = frozenset(
    {
        "vllm:kv_cache_usage_perc",
        "vllm:gpu_cache_usage_perc",
        "vllm:cpu_cache_usage_perc",
        "sglang:token_usage",
        "sglang_token_usage",
        "sglang:cache_hit_rate",
        "llamacpp:kv_cache_usage_ratio",
        "lmdeploy:gpu_cache_usage_perc",
        "trtllm_kv_cache_utilization",
        "gpu_cache_usage_perc",
    }
)
"""Metrics of model servers that are between 0 and 1 per rank, whatever their names say."""
FRACTIONS_BY_LABEL = {"nv_trt_llm_kv_cache_block_metrics": ("kv_cache_block_type", "fraction")}
"""Metrics of which only the series with this label are fractions."""
_ONE = re.compile(r"\s*(?:avg|max|min)\s*\(\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{[^{}]*\}\s*)?\)\s*")
"""A query that reduces several series to one."""


@dataclass(frozen=True, slots=True)
class ObservedDemand:
    """One metric with its target, and its highest observed demand; None if it was never read."""

    name: str
    target: str
    highest: Fraction | None = None


@dataclass(frozen=True, slots=True)
class ObservedDemands:
    """The observed demand since a spec came into force."""

    since: datetime
    generation: int
    metrics: tuple[ObservedDemand, ...]


@dataclass(frozen=True, slots=True)
class Trigger:
    """Whether the metrics can make a model offload, and why: `reachable` is True, False, or None if unknown."""

    reason: Reason
    message: str
    reachable: bool | None


def observe(
    before: ObservedDemands | None, spec: OffloadSpec, verdict: Verdict, shares: Sequence[Share], now: datetime
) -> ObservedDemands | None:
    """Add the demand of a round. The shares determine what a metric would have been without offloading."""
    if not spec.enabled:
        return before
    new = tuple(ObservedDemand(wording.name(metric), _kind(metric.target)) for metric in spec.metrics)
    known = before
    if known is None or (known.generation, *_named(known.metrics)) != (spec.generation, *_named(new)):
        known = ObservedDemands(now, spec.generation, new)
    seen = tuple(_higher(each, metric, shares) for each, metric in zip(known.metrics, verdict.metrics, strict=True))
    return known if seen == known.metrics else ObservedDemands(known.since, known.generation, seen)


def _kind(target: Target) -> str:
    """Format a target as an identifier."""
    match target:
        case Utilization(percent):
            return f"{percent}%"
        case AverageValue(milli):
            return f"{milli}m per replica"
        case Value(milli):
            return f"{milli}m"


def _named(metrics: Sequence[ObservedDemand]) -> Iterator[tuple[str, str]]:
    return ((metric.name, metric.target) for metric in metrics)


def judge(spec: OffloadSpec, observed: ObservedDemands, signals: Signals, verdict: Verdict) -> Trigger:
    """Judge whether the triggers can work; the most certain findings take precedence."""
    now = signals.at
    if not spec.metrics:
        return Trigger(Reason.NO_METRICS, "no metric is given: no share is ever offloaded", reachable=False)
    all_pods = () if isinstance(signals.pods, Missing) else signals.pods
    limited = (_limited(metric, all_pods, spec.behavior) for metric in spec.metrics)
    impossible = out_of_reach(spec) or next(filter(None, limited), None)
    if impossible is not None:
        return Trigger(Reason.TARGET_OUT_OF_REACH, impossible, reachable=False)
    since = f"since {observed.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    unseen = _unseen(observed, verdict) if now - observed.since >= STARTUP_GRACE else None
    if unseen is not None:
        others = any(each.highest is not None for each in observed.metrics)
        message = f"never read {since}: {wording.loss(unseen)}"
        return Trigger(Reason.METRIC_NEVER_SEEN, message, reachable=None if others else False)
    return _reached(spec.behavior, observed, since, lasting=now - observed.since)


def _unseen(observed: ObservedDemands, verdict: Verdict) -> Unread | None:
    for each, metric in zip(observed.metrics, verdict.metrics, strict=True):
        if each.highest is None and isinstance(metric, Unread):
            return metric
    return None


def _reached(behavior: Behavior, observed: ObservedDemands, since: str, *, lasting: timedelta) -> Trigger:
    read = [(each.highest, each.name) for each in observed.metrics if each.highest is not None]
    if not read:
        return Trigger(Reason.METRIC_NEVER_SEEN, "nothing has been read yet", reachable=None)
    highest, name = max(read)
    said = f"the highest {since} was {wording.percent(highest)} of the target ({name})"
    if highest > 1 + Fraction(behavior.engage.tolerance):
        return Trigger(Reason.TARGET_REACHED, said, reachable=True)
    if lasting >= LONG:
        doubt = f"{said}: if the servers were full in that time, the target is too high"
        return Trigger(Reason.TARGET_NEVER_REACHED, doubt, reachable=None)
    return Trigger(Reason.METRICS_READ, said, reachable=True)


def out_of_reach(spec: OffloadSpec) -> str | None:
    """Describe a target that its metric can never exceed; None if every target is possible."""
    found = [said for metric in spec.metrics if (said := beyond(metric))]
    return "; ".join(found) or None


def is_fraction(name: str, labels: Sequence[tuple[str, str]]) -> bool:
    """Return whether the series of a model server with this name and labels are between 0 and 1."""
    return name in FRACTIONS or (name in FRACTIONS_BY_LABEL and FRACTIONS_BY_LABEL[name] in labels)


def beyond(metric: MetricSpec) -> str | None:
    """Describe the target of one metric, if the metric can never exceed it."""
    name, most = _fraction(metric)
    milli = metric.target.milli if isinstance(metric, PodsMetric | ExternalMetric) else 0
    if not name or milli <= 1000 * most:
        return None
    return f"{name} is a fraction from 0 to 1: expected a target such as 0.8, got {wording.thousandths(milli)}"


def _fraction(metric: MetricSpec) -> tuple[str, int]:
    """Return the name of a metric that is a fraction, and the highest value that is compared with its target; "" for others."""
    match metric:
        case PodsMetric(metric=selected) if _is_fraction(selected):
            return selected.name, MOST_RANKS if metric.aggregation is Aggregation.SUM else 1
        case ExternalMetric(metric=selected, target=AverageValue()) if _is_fraction(selected):
            return selected.name, MOST_RANKS
        case ExternalMetric(metric=SeriesSelector(name=name)) if (one := _ONE.fullmatch(name)) and one[1] in FRACTIONS:
            return one[1], 1
        case _:
            return "", 1


def _is_fraction(selected: SeriesSelector) -> bool:
    return is_fraction(selected.name, selected.selector.match_labels)


def _limited(metric: MetricSpec, all_pods: Sequence[Pod], behavior: Behavior) -> str | None:
    """Describe a utilization that the pods' limits keep at or below its target, such as limits equal to requests."""
    if not isinstance(metric, ResourceMetric | ContainerResourceMetric) or not isinstance(metric.target, Utilization):
        return None
    most = _most(metric, all_pods)
    if most is None or most > metric.target.percent * (1 + Fraction(behavior.engage.tolerance)):
        return None
    name = wording.name(metric)
    return f"{name} can't be above {int(most)}% of what is requested, because of the limits; its target is {metric.target.percent}%"


def _most(metric: ResourceMetric | ContainerResourceMetric, all_pods: Sequence[Pod]) -> Fraction | None:
    """Return the highest utilization that the limits allow, in percent; None if a container has no limit."""
    requested = limit = 0
    for pod in all_pods:
        if pod.requests:
            return None
        for container in pods.kept_running(pod):
            if isinstance(metric, ContainerResourceMetric) and container.name != metric.container:
                continue
            amounts = dict(container.requests).get(metric.name), dict(container.limits).get(metric.name)
            if not all(amounts):
                return None
            requested += amounts[0] or 0
            limit += amounts[1] or 0
    return Fraction(100 * limit, requested) if requested else None


def _higher(seen: ObservedDemand, metric: Assessed | Unread, shares: Sequence[Share]) -> ObservedDemand:
    if isinstance(metric, Unread):
        return seen
    ratio = metric.ratio
    if any(share.percentage for share in shares):
        ratio = max(ratio, demand.of(metric, shares) or ratio)
    return seen if seen.highest is not None and ratio <= seen.highest else replace(seen, highest=ratio)
