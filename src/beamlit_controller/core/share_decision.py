"""The decision in Fixed and Proportional mode: the share of requests for the remote.

A raw metric over its target engages. Only *demand* (`core.demand`) can release, and only by samples that were measured
entirely after the last change. Where too few requests are served locally to measure demand, the gateways' request
counts show it (`core.load`). A metric that can't be read changes nothing. If nothing else can show whether offloading
is still needed, a trial release is made. How far the share goes is up to the mode's strategy (`core.strategy`).
"""

from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction

from beamlit_controller.core import demand, release_backoff, trend, wording
from beamlit_controller.core import load as loads
from beamlit_controller.core import shortfall as shortfalls
from beamlit_controller.core import strategy as strategies
from beamlit_controller.core.decision_state import Decision, Timers, moved
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.release_backoff import Phase
from beamlit_controller.core.spec import OffloadSpec, OnMetricsLoss
from beamlit_controller.core.strategy import Strategy
from beamlit_controller.core.verdict import Assessed, Judgement, Unread, Verdict

IDLE_LOOKING = frozenset({Reason.NO_SERIES, Reason.NOT_A_NUMBER})
"""Reasons for a missing value that can mean that no request is served locally."""


def decide(spec: OffloadSpec, before: Decision, verdict: Verdict, now: datetime) -> Decision:
    """Decide the share by the combined metrics."""
    strategy = strategies.of(spec.behavior)
    before = _measured(before, verdict, now)
    before = _within_spec(_after_override(before, strategy, verdict, now), strategy, now)
    match verdict.judgement, verdict.worst:
        case Judgement.OVER, Assessed() as worst:
            return _when_over(before, strategy, worst, now)
        case ((Judgement.BETWEEN | Judgement.UNDER), _):
            return _when_not_over(before, strategy, verdict, now)
        case _:
            return _unreadable(before, strategy, verdict, now)


def _measured(before: Decision, verdict: Verdict, now: datetime) -> Decision:
    """Update demand, load and the trend of the metric from this round."""
    since = before.since if before.sent else None
    load = loads.learned(before.load, verdict, now, offloading_since=since)
    seen = demand.seen(verdict, before.shares)
    return replace(
        before,
        load=load,
        demand=loads.demand(load, now) if seen is None and _all_idle(before, verdict) else seen,
        shortfall=before.shortfall if verdict.judgement is Judgement.OVER else None,
        restraint=release_backoff.reset_if_quiet(before.restraint, now),
        trend=trend.followed(before.trend, verdict.worst),
    )


def _all_idle(before: Decision, verdict: Verdict) -> bool:
    """Return whether demand can't be measured only because little or nothing is served locally."""
    unread = [metric for metric in verdict.present if isinstance(metric, Unread)]
    offloading = before.percentage > 0 and verdict.judgement is not Judgement.OVER
    return offloading and all(metric.missing.reason in IDLE_LOOKING for metric in unread)


def lowered_share(before: Decision, strategy: Strategy) -> int:
    """Return the percentage that the current demand allows; the same one if it allows no lower one."""
    if before.demand is None:
        return before.percentage
    return strategy.lowered(before.percentage, before.demand, fall=before.restraint.fall)


def restored_share(before: Decision, strategy: Strategy, now: datetime) -> int:
    """Return the share that is restored in one step if the last release turns out to have been premature; else 0."""
    early = release_backoff.was_premature(before.restraint, strategy.behavior, strategy.backoff, now)
    return before.restraint.top if early else 0


# A changed spec, or the end of an override.


def _after_override(before: Decision, strategy: Strategy, verdict: Verdict, now: datetime) -> Decision:
    """End offloading that only an override caused, unless demand is high; the share before it returns if demand can't be read."""
    if before.reason is not Reason.OVERRIDDEN:
        return before
    ended = replace(before, message="the override has ended", before_override=None)
    if before.demand is not None:
        low = before.demand <= 1 - Fraction(strategy.behavior.release.tolerance)
        return moved(ended, 0, now, Reason.METRIC_BELOW_TARGET, ended.message) if low else ended
    if verdict.judgement is Judgement.UNKNOWN:
        share = before.percentage if before.before_override is None else before.before_override
        return moved(ended, share, now, Reason.METRICS_UNAVAILABLE, ended.message)
    quiet = verdict.judgement is not Judgement.OVER and _may_try(before, now)
    return moved(ended, 0, now, Reason.PROBING, ended.message, trial=True) if quiet else ended


def _within_spec(before: Decision, strategy: Strategy, now: datetime) -> Decision:
    """Apply a changed `percentage` while offloading. A share that changes in steps, or was set by hand, can only fall here."""
    if before.percentage == 0:
        return before
    wanted = min(before.percentage, strategy.highest) if strategy.in_steps else strategy.behavior.percentage
    by_hand = bool(before.history) and before.history[-1].reason is Reason.OVERRIDDEN
    if by_hand or strategy.between_steps(before.percentage, before.restraint):
        wanted = min(before.percentage, wanted)
    return moved(before, wanted, now, before.reason, before.message)


# Over: engage, or take the next step.


def _when_over(before: Decision, strategy: Strategy, worst: Assessed, now: datetime) -> Decision:
    over_since = before.timers.over_since or now
    held = replace(before, timers=Timers(over_since=over_since), shortfall=None)
    why = wording.comparison(worst)
    if before.percentage >= strategy.highest:
        return _at_highest(replace(held, shortfall=before.shortfall), worst, now)
    if before.percentage == 0:
        waited, window = now - over_since, strategy.behavior.engage.stabilization_window
        if waited < window:
            left = wording.seconds(window - waited)
            return replace(
                held,
                reason=Reason.STABILIZING,
                message=f"{why}; offloads in {left} if it stays above the target",
            )
    elif not _may_step(before, strategy, worst, now):
        return replace(held, reason=Reason.METRIC_ABOVE_TARGET, message=f"{why}; the next step follows")
    return _raised(held, strategy, worst, now)


def _at_highest(held: Decision, worst: Assessed, now: datetime) -> Decision:
    """Keep the highest share, and report if it is not enough."""
    why = wording.comparison(worst)
    seen = held.sent > 0 and _settled((worst,), held.since)
    held = replace(held, shortfall=shortfalls.followed(held.shortfall, worst.ratio, now) if seen else None)
    if held.shortfall is not None and held.shortfall.lasts:
        lasting = wording.lasting(now - held.shortfall.since)
        why = f"{why}; {held.percentage} % is not enough: over the target for {lasting} with the highest share allowed"
    return replace(held, reason=Reason.METRIC_ABOVE_TARGET, message=why)


def _may_step(before: Decision, strategy: Strategy, worst: Assessed, now: datetime) -> bool:
    """Return whether the next step may follow: the period is over, the metric reflects the last step, and it is not falling."""
    rested = now - before.since >= strategy.behavior.engage.period
    return rested and _settled((worst,), before.since) and strategy.may_rise(before.trend)


def _raised(held: Decision, strategy: Strategy, worst: Assessed, now: datetime) -> Decision:
    early = release_backoff.was_premature(held.restraint, strategy.behavior, strategy.backoff, now)
    load = replace(held.load, borne=None) if early else held.load
    restraint = release_backoff.after_engaging(held.restraint, strategy.behavior, strategy.backoff, now)
    held = replace(held, restraint=restraint, load=load)
    demanded = demand.of(worst, held.shares) or worst.ratio
    share = strategy.raised(held.percentage, demanded, known=held.restraint.top)
    return moved(held, share, now, Reason.METRIC_ABOVE_TARGET, wording.comparison(worst))


# Not over: nothing to do, or demand decides about the release.


def _when_not_over(before: Decision, strategy: Strategy, verdict: Verdict, now: datetime) -> Decision:
    why = wording.readings(verdict.metrics)
    if before.percentage == 0:
        reason = Reason.PROBING if _on_trial(before, strategy, now) else Reason.METRIC_BELOW_TARGET
        return replace(before, reason=reason, message=why, timers=Timers())
    if not _settled(verdict.present, before.since):
        timers = Timers(stuck_since=before.timers.stuck_since or now)
        message = f"{why}; waiting for metrics measured after the last change"
        return _try_if_stuck(replace(before, timers=timers, reason=Reason.SETTLING, message=message), strategy, now)
    held = replace(before, timers=replace(before.timers, unread_since=None))
    return _release_or_try(held, strategy, f"{why}{_by_requests(before, verdict, now)}", now)


def _settled(metrics: tuple[Assessed | Unread, ...], change: datetime) -> bool:
    """Return whether every sample was measured entirely after the change."""
    return all(isinstance(metric, Assessed) and metric.since >= change for metric in metrics)


def _on_trial(before: Decision, strategy: Strategy, now: datetime) -> bool:
    tried = before.restraint.phase is Phase.ON_TRIAL
    return tried and release_backoff.was_premature(before.restraint, strategy.behavior, strategy.backoff, now)


def _release_or_try(before: Decision, strategy: Strategy, why: str, now: datetime) -> Decision:
    """Release if demand is low, or try a release if it is unknown but probably low."""
    if before.demand is None and _may_try(before, now):
        return _try_soon(before, strategy, f"{why}; {loads.said(before.load, now)}", now)
    target = lowered_share(before, strategy)
    if target < before.percentage:
        return _lower(before, strategy, why, now, target=target)
    return _hold(before, strategy, why, now)


def _by_requests(before: Decision, verdict: Verdict, now: datetime) -> str:
    """Describe demand as shown by the number of requests, if that is the only evidence."""
    by_requests = before.demand is not None and demand.seen(verdict, before.shares) is None
    return f"; {loads.said(before.load, now)}" if by_requests else ""


def _may_try(before: Decision, now: datetime) -> bool:
    """Return whether to try a release before the full wait: fewer requests arrive than when local was full, or no trial has failed yet."""
    counted = loads.arriving(before.load, now) is not None
    return loads.is_less(before.load, now) or (counted and before.restraint.trial_wait == release_backoff.FIRST_TRIAL)


def _try_soon(before: Decision, strategy: Strategy, why: str, now: datetime) -> Decision:
    """Try a release if there has been no sign of demand for a release window."""
    under_since = before.timers.under_since or now
    timers = replace(
        before.timers, under_since=under_since, over_since=None, stuck_since=before.timers.stuck_since or now
    )
    held = replace(before, timers=timers)
    waited, window = now - under_since, strategy.release_window(before.restraint)
    if waited < window:
        message = f"{why}; a trial release in {wording.seconds(window - waited)} shows whether the local servers can handle it"
        return replace(held, reason=Reason.DEMAND_UNKNOWN, message=message)
    tried = strategy.tried(held.percentage, fall=held.restraint.fall)
    return moved(
        held,
        tried,
        now,
        Reason.PROBING,
        f"{why}: a trial release shows whether the local servers can handle it",
        trial=True,
    )


def _lower(before: Decision, strategy: Strategy, why: str, now: datetime, *, target: int) -> Decision:
    """Lower the share to `target` once demand has been low for long enough."""
    under_since = before.timers.under_since or now
    held = replace(before, timers=replace(before.timers, under_since=under_since, over_since=None))
    stepping = strategy.between_steps(before.percentage, before.restraint)
    waited, window = now - under_since, strategy.release_window(before.restraint)
    if not stepping and waited < window:
        left = wording.seconds(window - waited)
        message = f"{why}; {strategy.lowers(target)} in {left} if demand stays low"
        return replace(held, reason=Reason.STABILIZING, message=message)
    if stepping and now - before.since < strategy.behavior.release.period:
        return replace(held, reason=Reason.METRIC_BELOW_TARGET, message=f"{why}; the next step back follows")
    return moved(held, target, now, Reason.METRIC_BELOW_TARGET, why, trial=False)


def _hold(before: Decision, strategy: Strategy, why: str, now: datetime) -> Decision:
    timers = replace(before.timers, under_since=None, over_since=None, stuck_since=before.timers.stuck_since or now)
    if before.demand is None:
        reason, said = Reason.DEMAND_UNKNOWN, loads.said(before.load, now)
    else:
        reason, said = (
            Reason.DEMAND_ABOVE_TARGET,
            strategy.stays(f"demand is {wording.percent(before.demand)} of the target"),
        )
    held = replace(before, timers=timers, reason=reason, message=f"{why}; {said}")
    return _try_if_stuck(held, strategy, now)


def _try_if_stuck(held: Decision, strategy: Strategy, now: datetime) -> Decision:
    """Make a trial release (in Proportional mode by one step) if no other decision was possible for long."""
    stuck_since, wait = held.timers.stuck_since, held.restraint.trial_wait
    if stuck_since is None or now - stuck_since < wait:
        return held
    lasting = wording.seconds(now - stuck_since)
    why = f"not over target for {lasting}: a trial release shows whether demand is still there"
    return moved(held, strategy.tried(held.percentage, fall=held.restraint.fall), now, Reason.PROBING, why, trial=True)


# Unknown: hold.


def _unreadable(before: Decision, strategy: Strategy, verdict: Verdict, now: datetime) -> Decision:
    unread = tuple(metric for metric in verdict.metrics if isinstance(metric, Unread))
    nothing_read = len(unread) == len(verdict.metrics)
    idle = before.percentage > 0 and all(metric.missing.reason in IDLE_LOOKING for metric in unread)
    timers = replace(
        before.timers,
        unread_since=(before.timers.unread_since or now) if nothing_read else None,
        stuck_since=(before.timers.stuck_since or now) if idle else None,
    )
    why = "; ".join(wording.loss(metric) for metric in unread)
    held = replace(before, timers=timers, reason=Reason.METRICS_UNAVAILABLE, message=f"{why}; the percentage stays")
    lost_for = now - timers.unread_since if timers.unread_since else timedelta(0)
    if nothing_read and lost_for >= strategy.behavior.metrics_loss:
        held = _lost(held, strategy, why, now)
    if not idle or held.percentage == 0:
        return held
    counted = (
        loads.arriving(held.load, now) is not None and strategy.behavior.on_metrics_loss is not OnMetricsLoss.OFFLOAD
    )
    return (
        _release_or_try(held, strategy, f"{why}{_by_requests(held, verdict, now)}", now)
        if counted
        else _try_if_stuck(held, strategy, now)
    )


def _lost(held: Decision, strategy: Strategy, why: str, now: datetime) -> Decision:
    match strategy.behavior.on_metrics_loss:
        case OnMetricsLoss.HOLD:
            return replace(held, reason=Reason.METRICS_LOST, message=f"{why}; onMetricsLoss is Hold")
        case OnMetricsLoss.RELEASE:
            return moved(held, 0, now, Reason.METRICS_LOST, f"{why}; onMetricsLoss is Release")
        case OnMetricsLoss.OFFLOAD:
            return moved(held, strategy.highest, now, Reason.METRICS_LOST, f"{why}; onMetricsLoss is Offload")
