"""The decision in Adaptive mode: a cap on the local requests in flight, and the share of requests that may leave above it.

The share is `percentage` as soon as there is a cap, and only requests above the cap leave. If requests have to leave
even though local could serve them (an override, lost metrics), the cap is 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction

from beamlit_controller.core import (
    adaptive,
    demand,
    first_byte_match,
    first_byte_metric,
    first_cap,
    lowest_cap,
    metric_names,
    queue_metric,
    wording,
)
from beamlit_controller.core import adaptive_state as state
from beamlit_controller.core.adaptive_state import Learned, RatioSample
from beamlit_controller.core.backlog import FIRST, FIRST_AFTER_CALM, LOWER, Evidence
from beamlit_controller.core.decision_state import Decision, Restraint, Timers, moved
from beamlit_controller.core.demand import Share
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.metric_spec import GatewayMetric, PodsMetric
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.core.spec import Behavior, OffloadSpec, OnMetricsLoss
from beamlit_controller.core.verdict import Assessed, Judgement, Unread, Verdict

NO_ROOM = Fraction(0)
"""A cap of 0: all requests that may leave do."""
LATE, RATHER_LATE = timedelta(seconds=10), timedelta(seconds=3)
"""Ages from which a sample is too old to show a backlog that is growing now: in any case, and after a calm time.

After a calm time that also holds for one that began `LATE` ago: the value of a query may be from any time since then. If a
sample is over its target, the backlog tells that this is not by chance.
"""


@dataclass(frozen=True, slots=True)
class Local:
    """The local servers: their requests as counted by the gateways, the number of ready ones, and the slots of each if known."""

    flow: Flow | Missing
    ready: int
    slots: int | None = None


def decide(spec: OffloadSpec, before: Decision, verdict: Verdict, now: datetime, *, local: Local) -> Decision:
    """Adjust the cap by the metric with the highest ratio; keep the cap while any metric can't be read."""
    by_metric = tuple(state.trusted(each) for each in before.by_metric)
    held = replace(before, learned=_with_counts(spec, before.learned, local), by_metric=by_metric)
    shares = isinstance(local.flow, Missing) and held.learned.cap is None  # see `core.uncounted`
    held = replace(held, restraint=held.restraint if shares else Restraint(), trend=None)
    if verdict.judgement is Judgement.UNKNOWN:
        return _unreadable(held, spec, verdict, now)
    held = replace(held, timers=replace(held.timers, unread_since=None, under_since=None, stuck_since=None))
    return _by_metric(held, spec, verdict, now, local=local)


def forced(decision: Decision) -> Decision:
    """Send the whole share to the remote, regardless of what was learned."""
    return replace(decision, cap=NO_ROOM)


def _with_counts(spec: OffloadSpec, learned: Learned, local: Local) -> Learned:
    """Add the gateways' counts; start from the slots that the servers report or from the user's limit, which is never exceeded."""
    known = state.trusted(learned)
    if isinstance(local.flow, Flow):
        known = state.saw(known, local.flow, ready=local.ready)
    waits = bool(spec.behavior.engage.stabilization_window)
    if known.cap is None and local.slots is not None and not waits:
        known = queue_metric.from_slots(known, local.slots, _queue(spec))
    return _limited(spec, known, known)


def _queue(spec: OffloadSpec) -> Fraction:
    """Return the target of the queue of the server that reports its slots: how many requests may wait in it."""
    targets = (each.target.milli for each in spec.metrics if isinstance(each, PodsMetric) and each.slots is not None)
    return Fraction(next(targets, 1000), 1000) * (1 + Fraction(spec.behavior.engage.tolerance))


def _limited(spec: OffloadSpec, learned: Learned, before: Learned) -> Learned:
    most = spec.overflow.max_in_flight_per_replica
    if most is None:
        return learned
    return (
        replace(learned, cap=Fraction(most)) if learned.cap is None else state.bounded(learned, Fraction(most), before)
    )


def _by_metric(held: Decision, spec: OffloadSpec, verdict: Verdict, now: datetime, *, local: Local) -> Decision:
    behavior, worst = spec.behavior, _worst(verdict.metrics)
    over = verdict.judgement is Judgement.OVER
    over_since = (held.timers.over_since or now) if over else None
    seen = demand.highest_under_cap(verdict.metrics, held.learned, held.by_metric, now)
    held = replace(held, timers=replace(held.timers, over_since=over_since), demand=seen)
    window = behavior.engage.stabilization_window
    if over_since is not None and held.learned.cap is None and now - over_since < window:
        left = wording.seconds(window - (now - over_since))
        message = f"{wording.comparison(worst)}; limits the requests in flight in {left} if it stays above the target"
        return _in_force(held, behavior, now, reason=Reason.STABILIZING, message=message)
    held = _for_metrics(held, spec)
    rule = _Rule(spec, worst, now, over=over, slots=local.slots)
    samples = [rule.sample(each) if isinstance(each, Assessed) else None for each in verdict.metrics]
    learned, by_metric = lowest_cap.follow(held.learned, held.by_metric, samples, rule.learned, now)
    reason = Reason.METRIC_ABOVE_TARGET if over else Reason.METRIC_BELOW_TARGET
    why = wording.comparison(worst) if over else wording.readings(verdict.metrics)
    held = replace(held, learned=learned, by_metric=by_metric)
    # Without them nothing can be learned, however far the metric is over its target; see `core.uncounted`.
    lacks = "; no gateway reports its request counts" if over and isinstance(local.flow, Missing) else ""
    return _in_force(held, behavior, now, reason=reason, message=f"{why}; {_describe(spec, held)}{lacks}")


def _for_metrics(held: Decision, spec: OffloadSpec) -> Decision:
    """Adopt the metrics of the spec, which may have changed."""
    before = metric_names.upgraded(held.learned_from, spec.metrics)
    names = metric_names.of(spec.metrics, before)
    learned, by_metric = lowest_cap.matched(held.learned, held.by_metric, before, names)
    return replace(held, learned=learned, by_metric=by_metric, learned_from=names)


@dataclass(frozen=True, slots=True)
class _Rule:
    """How a round's samples are judged. The worst metric is the one with the highest ratio."""

    spec: OffloadSpec
    worst: Assessed
    now: datetime
    over: bool
    slots: int | None

    def sample(self, read: Assessed) -> RatioSample:
        """Return the sample of a metric, in multiples of the target that it has with the tolerance; a negative value counts as 0."""
        target = 1 + Fraction(self.spec.behavior.engage.tolerance)
        slope = None if read.slope is None else read.slope / target
        seconds = first_byte_metric.target(read.metric)
        waited = None if seconds is None else seconds * target
        worst = read is self.worst
        at_end = isinstance(read.metric, GatewayMetric)
        return RatioSample(
            max(Fraction(0), read.ratio) / target,
            read.since,
            read.until,
            slope=slope,
            slots=self.slots,
            waited=waited,
            at_end=at_end,
            scattered=read.scattered,
            worst=worst,
        )

    def learned(self, known: Learned, sample: RatioSample) -> Learned:
        """Learn from a sample; the worst metric may also be behind a backlog that it does not show yet."""
        known = first_byte_match.compared(known, sample)
        latest = first_byte_match.latest(known, sample)
        known, sample = replace(known, by_gateways=latest != sample), latest
        learned, evidence = adaptive.follow(known, sample, self.now), self._evidence(known, sample)
        if evidence is not None:
            learned = _by_backlog(learned, self.spec.behavior, self.now, slots=self.slots, evidence=evidence)
        if sample.ratio <= 1:
            learned = first_cap.reconsidered(learned, self.now)
        if self.slots is not None and learned.cap is not None:
            learned = state.bounded(learned, self.slots + _queue(self.spec), known)
        return _limited(self.spec, learned, known)

    def _evidence(self, known: Learned, sample: RatioSample) -> Evidence | None:
        """Return what a backlog has to show to set the cap before the metric does; None if the metric tells more."""
        if not sample.worst:
            return None
        if known.cap is not None:
            counts = sample.slope is not None or sample.waited is not None
            return LOWER if self.over and not counts and adaptive.stood(known, sample, self.now) else None
        if self.now - sample.until >= LATE:
            return FIRST
        may_be_late = self.now - sample.until >= RATHER_LATE or self.now - sample.since >= LATE
        return FIRST_AFTER_CALM if self.over or may_be_late else None


def _in_force(held: Decision, behavior: Behavior, now: datetime, *, reason: Reason, message: str) -> Decision:
    cap = held.learned.cap
    decided = moved(held, 0 if cap is None else behavior.percentage, now, reason, message)
    return replace(decided, cap=cap, shares=_shares(held, now))


def _shares(held: Decision, now: datetime) -> tuple[Share, ...]:
    """Return the shares in force. What leaves above a cap is no share; one that was forced before has ended."""
    return demand.remember(held.shares, now, 0) if held.shares[-1].percentage else held.shares


def _describe(spec: OffloadSpec, held: Decision) -> str:
    learned = held.learned
    if learned.cap is None:
        return "nothing limits the requests in flight yet"
    source = _metric_of_cap(held)
    if learned.by_gateways:
        source += ", by the time to first byte that the gateways count, which is of later requests than the metric"
    if learned.guessed:
        source = ", estimated from a backlog at the gateways"
    if learned.changed_at is None and learned.cap != spec.overflow.max_in_flight_per_replica:
        source = ", from the number of slots that the servers report"
    return f"at most {float(learned.cap):.4g} requests in flight per ready replica{source}"


def _metric_of_cap(held: Decision) -> str:
    """Name the one of several metrics whose cap is in force; "" if it is not the cap of exactly one."""
    of_metrics = zip(held.learned_from, held.by_metric, strict=False)
    lowest = [name for name, own in of_metrics if own.cap == held.learned.cap]
    return f", the cap of {metric_names.shown(lowest[0])}" if len(lowest) == 1 else ""


def _unreadable(held: Decision, spec: OffloadSpec, verdict: Verdict, now: datetime) -> Decision:
    behavior = spec.behavior
    unread = tuple(metric for metric in verdict.metrics if isinstance(metric, Unread))
    nothing_read = len(unread) == len(verdict.metrics)
    unread_since = (held.timers.unread_since or now) if nothing_read else None
    least = demand.highest_under_cap(verdict.metrics, held.learned, held.by_metric, now)
    # Without all metrics, demand is at least this: enough to add replicas, but not to remove any.
    high = least if least is not None and least > 1 else None
    held = replace(held, timers=Timers(unread_since=unread_since), demand=high)
    if nothing_read or (held.learned.judged_until is None and held.learned.pending is None):
        held = _by_counts(held, spec, now)
    why = "; ".join(wording.loss(metric) for metric in unread)
    if unread_since is not None and now - unread_since >= behavior.metrics_loss:
        return _lost(held, behavior, why, now)
    until = "it is" if len(unread) == 1 else "they are"
    message = f"{why}; {_describe(spec, held)} until {until} read again"
    return _in_force(held, behavior, now, reason=Reason.METRICS_UNAVAILABLE, message=message)


def _by_counts(held: Decision, spec: OffloadSpec, now: datetime) -> Decision:
    """Set the first cap, or correct it, by a backlog that the gateways report, since no metric can show it. A cap that was learned stays."""
    before = held.learned
    begins = before.cap is None
    learned = _by_backlog(before, spec.behavior, now) if begins else first_cap.reconsidered(before, now)
    learned = _limited(spec, learned, before)
    if learned.cap == before.cap:
        return held
    return replace(held, learned=learned, by_metric=lowest_cap.resumed(held.by_metric, learned))


def _by_backlog(
    learned: Learned, behavior: Behavior, now: datetime, *, slots: int | None = None, evidence: Evidence = FIRST
) -> Learned:
    """Set the first cap by a backlog before the metric shows one, unless the user configured a stabilization window."""
    if behavior.engage.stabilization_window:
        return learned
    return first_cap.guessed(learned, now, slots=slots, evidence=evidence)


def _lost(held: Decision, behavior: Behavior, why: str, now: datetime) -> Decision:
    message = f"{why}; onMetricsLoss is {behavior.on_metrics_loss.value}"
    match behavior.on_metrics_loss:
        case OnMetricsLoss.HOLD:
            return _in_force(held, behavior, now, reason=Reason.METRICS_LOST, message=message)
        case OnMetricsLoss.RELEASE:
            released = moved(held, 0, now, Reason.METRICS_LOST, message)
            return replace(released, cap=None, shares=_shares(held, now))
        case OnMetricsLoss.OFFLOAD:
            return forced(moved(held, behavior.percentage, now, Reason.METRICS_LOST, message))


def _worst(metrics: Sequence[Assessed | Unread]) -> Assessed:
    read = [metric for metric in metrics if isinstance(metric, Assessed)]
    return max(read, key=lambda metric: metric.ratio)
