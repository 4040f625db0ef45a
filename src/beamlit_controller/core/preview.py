"""Forecasts what would change the decision, and when."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction

from beamlit_controller.core import printable, release_backoff, share_decision, wording
from beamlit_controller.core import strategy as strategies
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.metric_spec import AverageValue, MetricSpec
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.spec import Mode, OnMetricsLoss, Overflow, Override
from beamlit_controller.core.verdict import Judgement, Unread

WHOLE = 100
LONGEST = 60
"""Maximum length of a query in a sentence."""


@dataclass(frozen=True, slots=True)
class Countdown:
    """The time until each event if nothing changes; None for events that are not pending."""

    engage: timedelta | None
    release: timedelta | None
    trial_release: timedelta | None
    metrics_lost: timedelta | None


def countdown(cycle: Cycle, now: datetime) -> Countdown:
    """Return the pending events."""
    decided, behavior = cycle.decision, cycle.spec.behavior
    timers, offloading = decided.timers, decided.percentage > 0
    window = strategies.of(behavior).release_window(decided.restraint)
    return Countdown(
        engage=None if offloading else _left(timers.over_since, behavior.engage.stabilization_window, now),
        release=_left(timers.under_since, window, now) if offloading else None,
        trial_release=_left(timers.stuck_since, decided.restraint.trial_wait, now) if offloading else None,
        metrics_lost=_left(timers.unread_since, behavior.metrics_loss, now),
    )


def sentences(cycle: Cycle, now: datetime) -> tuple[str, ...]:
    """Describe what would change the decision, the most likely first."""
    spec = cycle.spec
    if not spec.enabled:
        return ("nothing, while spec.enabled is false",)
    if cycle.decision.reason is Reason.OVERRIDDEN and spec.override is not None:
        return (_ends(spec.override, now),)
    if not spec.metrics:
        return tuple(_without_metrics(spec.overflow))
    if spec.behavior.percentage == 0 and not cycle.decision.percentage:
        return ("nothing, while behavior.percentage is 0",)
    left = countdown(cycle, now)
    return (*_next(cycle, left), *_loss(cycle, left))


def _without_metrics(overflow: Overflow) -> Iterator[str]:
    yield "no share is offloaded until spec.offloadingConfig.metrics names a metric"
    if overflow.max_in_flight_per_replica is not None:
        yield f"requests above {overflow.max_in_flight_per_replica} in flight per replica leave at once (overflow.maxInFlightPerReplica)"


def _next(cycle: Cycle, left: Countdown) -> Iterator[str]:
    if cycle.spec.behavior.mode is Mode.ADAPTIVE:
        yield from _uncapped(cycle, left) if cycle.decision.cap is None else _capped(cycle, left)
    elif cycle.decision.percentage > 0:
        yield from _further(cycle)
        yield from _release(cycle, left)
    else:
        yield from _engage(cycle, left)


def _uncapped(cycle: Cycle, left: Countdown) -> Iterator[str]:
    """Adaptive mode offloads nothing until there is a cap, and then only requests above it."""
    behavior = cycle.spec.behavior
    window = behavior.engage.stabilization_window
    if cycle.verdict.judgement is Judgement.OVER:
        when = f"in {wording.seconds(left.engage)}" if left.engage else "with the next samples"
        when += " if a metric stays above its target"
    else:
        when = f"when {_limits(cycle, 1 + Fraction(behavior.engage.tolerance))}"
        when += f" for {wording.seconds(window)}" if window else ""
    most = "" if behavior.percentage == WHOLE else f", at most {behavior.percentage} % of all,"
    yield f"limits the requests in flight {when}; requests above the limit{most} go to the remote"


def _capped(cycle: Cycle, left: Countdown) -> Iterator[str]:
    """Adaptive mode has no release: while local stays below the cap, nothing is offloaded. Only a share is released."""
    verdict, most = cycle.verdict, cycle.spec.overflow.max_in_flight_per_replica
    unread = [wording.name(each.metric) for each in verdict.metrics if isinstance(each, Unread)]
    if cycle.decision.cap == 0:
        if unread:
            yield "a cap limits the requests in flight again when the metrics can be read"
        else:
            yield "a cap limits the requests in flight once a gateway reports its request counts"
            yield from _release(cycle, left)
        return
    if len(unread) == len(verdict.metrics):
        return
    yield f"the cap falls when {_limits(cycle, 1 + Fraction(cycle.spec.behavior.engage.tolerance))}"
    if unread:
        names = ", ".join(printable.short(each, LONGEST) for each in unread)
        yield f"it does not rise until every metric can be read: {names}"
    elif most is not None and cycle.decision.cap is not None and cycle.decision.cap >= most:
        yield f"it does not rise above overflow.maxInFlightPerReplica, which is {most}"
    else:
        yield "it rises when requests are offloaded although the metrics are low"


def _limits(cycle: Cycle, ratio: Fraction) -> str:
    return " or ".join(_limit(metric, ratio) for metric in cycle.spec.metrics)


def _ends(override: Override, now: datetime) -> str:
    if override.until is None:
        return "nothing, until the override is cleared"
    return f"the override ends in {wording.lasting(max(override.until - now, timedelta(0)))}; the metrics decide then"


def _left(since: datetime | None, span: timedelta, now: datetime) -> timedelta | None:
    return None if since is None else max(since + span - now, timedelta(0))


def _engage(cycle: Cycle, left: Countdown) -> Iterator[str]:
    engage = cycle.spec.behavior.engage
    share = _first_share(cycle)
    if left.engage is not None:
        yield f"offloads {share} in {wording.seconds(left.engage)} if a metric stays over its target"
        return
    limits = _limits(cycle, 1 + Fraction(engage.tolerance))
    window = engage.stabilization_window
    lasting = f" for {wording.seconds(window)}" if window else ""
    yield f"offloads {share} when {limits}{lasting}"


def _first_share(cycle: Cycle) -> str:
    behavior = cycle.spec.behavior
    strategy = strategies.of(behavior)
    step = min(behavior.engage.step_percentage, strategy.highest)
    if behavior.mode is Mode.PROPORTIONAL:
        rise = max(strategy.rise, share_decision.restored_share(cycle.decision, strategy, cycle.at))
        return f"what keeps the metric at its target, {min(step, rise)} % at most at first,"
    return f"{step} %"


def _limit(metric: MetricSpec, ratio: Fraction) -> str:
    unit = " per pod" if isinstance(metric.target, AverageValue) else ""
    target = wording.target(metric.target)
    beyond = target if ratio == 1 else f"{wording.percent(ratio)} of {target}"
    return f"{printable.short(wording.name(metric), LONGEST)} > {beyond}{unit}"


def _further(cycle: Cycle) -> Iterator[str]:
    percentage, behavior = cycle.decision.percentage, cycle.spec.behavior
    strategy = strategies.of(behavior)
    highest = strategy.highest
    if percentage < highest:
        known = share_decision.restored_share(cycle.decision, strategy, cycle.at) - percentage
        rise = max(known, strategy.rise) if behavior.mode is Mode.PROPORTIONAL else highest
        step = min(percentage + min(rise, behavior.engage.step_percentage), highest)
        most = "at most " if behavior.mode is Mode.PROPORTIONAL else ""
        yield f"rises to {most}{step} % if a metric measured after the last change is over its target"
    elif cycle.verdict.judgement is Judgement.OVER:
        why = "limited by behavior.percentage"
        if highest < behavior.percentage:
            why = "the rest stays local, so that demand can be measured"
        yield f"no more than {percentage} % is offloaded: {why}"
        yield from _not_enough(cycle)


def _not_enough(cycle: Cycle) -> Iterator[str]:
    decided, behavior = cycle.decision, cycle.spec.behavior
    if decided.shortfall is None or not decided.shortfall.lasts:
        return
    more = "a higher behavior.percentage, " if decided.percentage == behavior.percentage < WHOLE else ""
    yield (
        f"{decided.percentage} % is not enough: {more}mode Adaptive or overflow.maxInFlightPerReplica offloads requests as soon as local is full"
    )


def _release(cycle: Cycle, left: Countdown) -> Iterator[str]:
    decided, behavior = cycle.decision, cycle.spec.behavior
    if behavior.mode is Mode.PROPORTIONAL:
        yield from _fall(cycle, left)
        return
    if decided.demand is None and left.release is not None:
        yield f"in {wording.seconds(left.release)} a trial release shows whether the local servers can handle the load"
        return
    low = f"demand stays at {wording.percent(1 - Fraction(behavior.release.tolerance))} of the target or less"
    stepping = behavior.release.step_percentage < decided.percentage
    steps = f", by {behavior.release.step_percentage} points a step" if stepping else ""
    if left.release is not None:
        yield f"releases in {wording.seconds(left.release)} if {low}{steps}"
    else:
        window = wording.seconds(strategies.of(behavior).release_window(decided.restraint))
        seen = "can't be measured now" if decided.demand is None else f"is {wording.percent(decided.demand)} now"
        yield f"releases when {low} for {window}{steps}; it {seen}"
    if left.trial_release is not None:
        yield f"in {wording.seconds(left.trial_release)} a trial release shows whether demand is still there"


def _fall(cycle: Cycle, left: Countdown) -> Iterator[str]:
    decided, behavior = cycle.decision, cycle.spec.behavior
    seen = (
        "can't be measured now" if decided.demand is None else f"is {wording.percent(decided.demand)} of the target now"
    )
    if left.release is not None:
        target = share_decision.lowered_share(decided, strategies.of(behavior))
        yield f"falls to {target} % in {wording.seconds(left.release)} if demand stays this low; it {seen}"
    else:
        window = wording.seconds(strategies.of(behavior).release_window(decided.restraint))
        yield f"falls when {release_backoff.FALL} points less are enough for {window}; demand {seen}"
    if left.trial_release is not None:
        tried = max(decided.percentage - decided.restraint.fall, 0)
        yield f"in {wording.seconds(left.trial_release)} a trial with {tried} % shows whether demand is still there"


def _loss(cycle: Cycle, left: Countdown) -> Iterator[str]:
    if left.metrics_lost is None:
        return
    behavior = cycle.spec.behavior
    when = f"in {wording.seconds(left.metrics_lost)}, if still no metric can be read"
    match behavior.on_metrics_loss:
        case OnMetricsLoss.HOLD:
            yield "stays unchanged while no metric can be read (onMetricsLoss is Hold)"
        case OnMetricsLoss.RELEASE:
            yield f"releases {when} (onMetricsLoss is Release)"
        case OnMetricsLoss.OFFLOAD:
            yield f"offloads {strategies.of(behavior).highest} % {when} (onMetricsLoss is Offload)"
