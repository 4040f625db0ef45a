"""Builds the `/models` entry of one model from values of the core. `models_view` describes the JSON."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction

from beamlit_controller.api import headline, policy_text, spec_json, spending_view
from beamlit_controller.api.models_view import (
    ChangeView,
    DecisionView,
    FailureView,
    LatestView,
    LeftView,
    LocalView,
    MetricState,
    MetricView,
    MissingView,
    ModelView,
    PodFailureView,
    RemoteView,
    TimersView,
    TrafficView,
    TriggerView,
    VerdictView,
)
from beamlit_controller.core import preview, traffic_change, traffic_summary, wording
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.decision import Change
from beamlit_controller.core.metric_spec import MetricSpec, PodsMetric
from beamlit_controller.core.signals import PodSamples, Reading, Sample
from beamlit_controller.core.spec import Behavior
from beamlit_controller.core.traffic import Minute
from beamlit_controller.core.verdict import Assessed, Unread


@dataclass(frozen=True, slots=True)
class KnownModelState:
    """Everything known about a model at one moment."""

    cycle: Cycle
    failure: FailureView | None
    gateway: Mapping[str, object]
    notices: Sequence[str]
    minute: Minute | None = None
    just_missed: Collection[MetricSpec] = ()
    """Metrics that could be read until shortly before."""
    leaving_since: datetime | None = None
    """When the remote began to answer some of the requests, or none; None if unknown."""


def model(known: KnownModelState, now: datetime) -> ModelView:
    """Return the view of one model."""
    cycle, spec = known.cycle, known.cycle.spec
    local = cycle.signals.local
    changes = tuple(_change(change) for change in reversed(cycle.decision.history))
    shown = ModelView(
        namespace=spec.key.namespace,
        name=spec.key.name,
        model=spec.model,
        enabled=spec.enabled,
        dry_run=spec.behavior.dry_run,
        remote=spec_json.address(spec.remote) if spec.remote else None,
        local=LocalView(ready=local.ready, total=local.total),
        at=cycle.at,
        took_seconds=cycle.took.total_seconds(),
        lag_seconds=cycle.lag.total_seconds(),
        metrics=tuple(_metrics(known, now)),
        verdict=VerdictView(judgement=cycle.verdict.judgement, ratio=_number(cycle.verdict.ratio)),
        decision=_decision(cycle),
        timers=_timers(cycle, now),
        outlook=preview.sentences(cycle, now),
        trigger=_trigger(cycle),
        traffic=_traffic(known.minute, known) if known.minute else None,
        last_change=changes[0] if changes else None,
        changes=changes,
        failure=known.failure,
        gateway=dict(known.gateway) or None,
        notices=tuple(known.notices),
        policy=policy_text.sentences(spec),
        remotes=tuple(
            RemoteView(name=each.name, address=spec_json.address(each), weight=each.weight)
            for each in spec.remotes
            if each.name
        ),
        spending=tuple(spending_view.views(cycle, now)),
        spec=spec_json.spec(spec),
    )
    return shown.model_copy(update={"headline": headline.of(shown, now)})


def _traffic(minute: Minute, known: KnownModelState) -> TrafficView:
    seen, limit = traffic_summary.summarize(minute), traffic_summary.limit(known.cycle)
    return TrafficView(
        local_per_second=seen.local,
        remote_per_second=seen.remote,
        sent=seen.sent,
        left=LeftView(**dict(seen.left)),
        kept=seen.kept,
        unanswered=seen.unanswered,
        in_flight=seen.in_flight,
        in_flight_limit=_number(limit),
        local_first_byte_ms=seen.local_first_byte_ms,
        remote_first_byte_ms=seen.remote_first_byte_ms,
        text=traffic_summary.sentence(seen, limit),
        since=known.leaving_since,
        seconds=minute.span.total_seconds(),
        latest=_latest(minute, limit),
    )


def _latest(minute: Minute, limit: Fraction | None) -> LatestView | None:
    found = traffic_change.latest(minute)
    if found is minute:
        return None
    seen = traffic_summary.summarize(found)
    return LatestView(
        seconds=found.span.total_seconds(),
        local_per_second=seen.local,
        remote_per_second=seen.remote,
        sent=seen.sent,
        left=LeftView(**dict(seen.left)),
        unanswered=seen.unanswered,
        text=traffic_summary.sentence(seen, limit),
    )


def _trigger(cycle: Cycle) -> TriggerView | None:
    found = cycle.trigger
    if found is None:
        return None
    return TriggerView(reachable=found.reachable, reason=found.reason, message=found.message)


def _change(change: Change) -> ChangeView:
    return ChangeView(
        at=change.at,
        previous=change.previous,
        percentage=change.percentage,
        reason=change.reason,
        message=change.message,
        at_most=change.at_most,
        previous_at_most=change.previous_at_most,
    )


def _metrics(known: KnownModelState, now: datetime) -> Iterator[MetricView]:
    cycle = known.cycle
    for metric, reading in zip(cycle.verdict.metrics, cycle.signals.readings, strict=True):
        yield _metric(metric, reading, _missing(metric, known), behavior=cycle.spec.behavior, now=now)


def _metric(
    metric: Assessed | Unread, reading: Reading, missing: MissingView | None, *, behavior: Behavior, now: datetime
) -> MetricView:
    read = metric if isinstance(metric, Assessed) else None
    wanted = metric.metric
    return MetricView(
        name=wording.name(wanted),
        selector=spec_json.selector_of(wanted),
        type=spec_json.TYPES[type(wanted)],
        target_type=spec_json.TYPES[type(wanted.target)],
        target=wording.target(wanted.target),
        value=wording.current(read) if read else None,
        ratio=_number(read.ratio) if read else None,
        state=_state(read, behavior),
        age_seconds=max(now - read.until, timedelta(0)).total_seconds() if read else None,
        since=read.since if read else None,
        until=read.until if read else None,
        missing=missing,
        pod_failures=tuple(_pod_failures(reading)),
        aggregated=_aggregated(wanted, reading),
    )


def _missing(metric: Assessed | Unread, known: KnownModelState) -> MissingView | None:
    if isinstance(metric, Assessed):
        return None
    lasts = metric.metric not in known.just_missed
    return MissingView(reason=metric.missing.reason, message=metric.missing.message, lasts=lasts)


def _aggregated(metric: MetricSpec, reading: Reading) -> str:
    """Describe how several series were combined; "" for one."""
    match metric, reading:
        case PodsMetric(aggregation=how), PodSamples(samples=samples):
            most = max((each.series for each in samples), default=1)
            return f"{how.value.lower()} of {most} series per server" if most > 1 else ""
        case _, Sample(series=series) if series > 1:
            return f"sum of {series} series"
        case _:
            return ""


def _state(read: Assessed | None, behavior: Behavior) -> MetricState:
    if read is None:
        return "unreadable"
    if read.ratio > 1 + Fraction(behavior.engage.tolerance):
        return "over"
    return "under" if read.ratio <= 1 - Fraction(behavior.release.tolerance) else "between"


def _pod_failures(reading: Reading) -> Iterator[PodFailureView]:
    if isinstance(reading, PodSamples):
        for pod, missing in reading.failures:
            yield PodFailureView(pod=pod, reason=missing.reason, message=missing.message)


def _decision(cycle: Cycle) -> DecisionView:
    decided = cycle.decision
    return DecisionView(
        percentage=decided.percentage,
        reason=decided.reason,
        message=decided.message,
        since=decided.since,
        demand=_number(decided.demand),
        cap=_number(decided.cap),
        enough=decided.shortfall is None or not decided.shortfall.lasts,
    )


def _timers(cycle: Cycle, now: datetime) -> TimersView:
    left = preview.countdown(cycle, now)
    return TimersView(
        engages_in=_seconds(left.engage),
        releases_in=_seconds(left.release),
        trial_release_in=_seconds(left.trial_release),
        metrics_lost_in=_seconds(left.metrics_lost),
    )


def _number(ratio: Fraction | None) -> float | None:
    return None if ratio is None else float(ratio)


def _seconds(span: timedelta | None) -> float | None:
    return None if span is None else span.total_seconds()
