"""What share of the requests goes to the remote, and why.

`decide` is a pure function of what the user asked for, what was decided before, what the metrics say and the time.
The rules: a raw metric over its target engages; only *demand* (`core.demand`) may release, and only as seen in samples
that lie wholly after the last change. What can't be read changes nothing. When nothing but a try can tell whether
offloading is still needed, there is a trial release, rarely.

In Fixed mode the share is `percentage` or on its way there; in Proportional mode it is what `core.proportional` says.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from beamlit_controller.core import capped, demand, proportional, wording
from beamlit_controller.core.decided import REMEMBERED, Change, Decision, Restraint, Timers, Trend, begin, moved
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.learned import NOTHING
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import NOT_ASKED, Missing
from beamlit_controller.core.spec import Behavior, Mode, OffloadSpec, OnMetricsLoss, Override
from beamlit_controller.core.verdict import Assessed, Judgement, Unread, Verdict

__all__ = ["REMEMBERED", "Change", "Decision", "Restraint", "Timers", "Trend", "begin", "decide"]

LONGEST_RELEASE_WINDOW = timedelta(seconds=900)
LONGEST_FALL_WINDOW = timedelta(seconds=1800)
"""The same for the first step down in Proportional mode."""
SOON = timedelta(seconds=300)
"""A return within two windows, or so soon, shows that a release came too early; after a fall, one within `QUIET`."""
LONGER_FALL = 3
"""By so much it grows; a fall goes in steps, so a too early one costs more changes than a too early release."""
LESS = Fraction(98, 100)
"""A sample of less than so much of the one before is falling."""
QUIET = timedelta(seconds=900)
"""So long without a return after a release, and the release window is what the user wrote again."""
LONGEST_TRIAL_WAIT = timedelta(seconds=3600)
IDLE_LOOKING = frozenset({Reason.NO_SERIES, Reason.NOT_A_NUMBER})
"""What a query may answer just because no request is served locally."""


def rested(last: Decision, now: datetime) -> Decision:
    """Give the state to begin with after a stop that ended the gateways: local, with the history and what was seen."""
    stopped = moved(last, 0, now, Reason.RELEASED, "the controller was stopped")
    return replace(begin(now), history=stopped.history, sight=last.sight)


def decide(
    spec: OffloadSpec,
    previous: Decision | None,
    verdict: Verdict,
    now: datetime,
    *,
    flow: Flow | Missing = NOT_ASKED,
    ready: int = 1,
) -> Decision:
    """Decide the percentage of requests for the remote, and in Adaptive mode the cap of what local has in flight."""
    before = _as_sent(previous or begin(now), now, dry=spec.behavior.dry_run)
    before = _in_mode(before, spec.behavior, now)
    if not spec.enabled:
        return _reset(before, now, Reason.DISABLED, "spec.enabled is false: everything is served locally")
    if spec.override is not None and _in_force(spec.override, now):
        by_hand = _by_hand(spec.override, before, now)
        return capped.forced(by_hand) if spec.behavior.mode is Mode.ADAPTIVE else by_hand
    if not spec.metrics:
        return _reset(before, now, Reason.NO_METRICS, "no metric is given: the share stays at 0")
    if spec.behavior.mode is Mode.ADAPTIVE:
        return capped.decide(spec, before, verdict, now, local=capped.Local(flow, ready))
    return _shared(spec, before, verdict, now)


def _shared(spec: OffloadSpec, before: Decision, verdict: Verdict, now: datetime) -> Decision:
    """Decide the share of Fixed and Proportional mode."""
    known = replace(
        before,
        demand=demand.seen(verdict, before.shares),
        restraint=_rested(before, now),
        trend=_followed(before.trend, verdict),
    )
    before = _bounded(_after_override(known, spec.behavior, now), spec.behavior, now)
    match verdict.judgement:
        case Judgement.OVER:
            return _over(before, spec.behavior, verdict, now)
        case Judgement.UNKNOWN:
            return _unknown(before, spec.behavior, verdict, now)
        case Judgement.BETWEEN | Judgement.UNDER:
            return _not_over(before, spec.behavior, verdict, now)


def settled(metrics: tuple[Assessed | Unread, ...], change: datetime) -> bool:
    """Tell whether every sample lies wholly after the change."""
    return all(isinstance(metric, Assessed) and metric.since >= change for metric in metrics)


def release_window(before: Decision, behavior: Behavior) -> timedelta:
    """Give the time that demand has to stay low: the user's, or the longer one that a too early release taught.

    A step down in Proportional mode that nothing spoke against is followed by the next after the user's.
    """
    following = behavior.mode is Mode.PROPORTIONAL and before.restraint.released_at == before.since
    return behavior.release.stabilization_window if following else _patience(before, behavior)


def highest(behavior: Behavior) -> int:
    """Give the highest percentage that may be decided."""
    return proportional.most(behavior) if behavior.mode is Mode.PROPORTIONAL else behavior.percentage


def returns_to(before: Decision, behavior: Behavior, now: datetime) -> int:
    """Give the share that is gone back to in one go if the last fall turns out to have been too early; else 0."""
    released_at = before.restraint.released_at
    soon = released_at is not None and now - released_at <= _regret(before, behavior)
    return before.restraint.top if soon else 0


def next_step(before: Decision, demanded: Fraction, behavior: Behavior) -> int:
    """Give the percentage that follows while a metric is over its target."""
    if behavior.mode is Mode.PROPORTIONAL:
        return proportional.raised(before.percentage, demanded, behavior, known=before.restraint.top)
    return min(before.percentage + behavior.engage.step_percentage, behavior.percentage)


def relaxed(before: Decision, behavior: Behavior) -> int:
    """Give the percentage that the demand would let this one fall to; the same one if it doesn't."""
    if before.demand is None:
        return before.percentage
    if behavior.mode is Mode.PROPORTIONAL:
        return proportional.lowered(before.percentage, before.demand, behavior, fall=before.restraint.fall)
    low = before.demand <= 1 - Fraction(behavior.release.tolerance)
    return max(before.percentage - behavior.release.step_percentage, 0) if low else before.percentage


# By hand, or dry.


def _in_force(override: Override, now: datetime) -> bool:
    return override.until is None or now < override.until


def _by_hand(override: Override, before: Decision, now: datetime) -> Decision:
    """Do what a person says; what is remembered of the metrics begins anew afterwards."""
    until = f" until {override.until.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if override.until else ""
    why = "".join(f", {said}" for said in (override.author and f"by {override.author}", override.reason) if said)
    message = f"set to {override.percentage} % by hand{until}{why}"
    overridden = moved(before, override.percentage, now, Reason.OVERRIDDEN, message)
    return replace(overridden, timers=Timers(), restraint=Restraint(), demand=None)


def _after_override(before: Decision, behavior: Behavior, now: datetime) -> Decision:
    """Take back at once what only a person's word kept away, if demand is seen to be low; else as ever."""
    if before.reason is not Reason.OVERRIDDEN:
        return before
    ended = replace(before, message="the override has ended")
    low = before.demand is not None and before.demand <= 1 - Fraction(behavior.release.tolerance)
    return moved(ended, 0, now, Reason.METRIC_BELOW_TARGET, ended.message) if low else ended


def _as_sent(before: Decision, now: datetime, *, dry: bool) -> Decision:
    """Go on from a decision that was in force, or only shown, as one that is the other from now on."""
    if before.dry == dry:
        return before
    turned = replace(before, dry=dry)
    return replace(turned, since=now, shares=demand.remember(before.shares, now, turned.sent), timers=Timers())


def _in_mode(before: Decision, behavior: Behavior, now: datetime) -> Decision:
    """Leave what was decided in Adaptive mode behind in the others."""
    if behavior.mode is Mode.ADAPTIVE or (before.cap is None and before.learned == NOTHING):
        return before
    left = moved(before, 0, now, before.reason, "behavior.mode is no longer Adaptive")
    return replace(left, cap=None, learned=NOTHING)


def _followed(trend: Trend | None, verdict: Verdict) -> Trend | None:
    if verdict.ratio is None:
        return trend
    ratio, until = verdict.ratio, _worst(verdict).until
    if trend is None:
        return Trend(ratio, until)
    return Trend(ratio, until, ratio < LESS * trend.ratio) if until > trend.until else trend


# Over: engage, or take the next step.


def _over(before: Decision, behavior: Behavior, verdict: Verdict, now: datetime) -> Decision:
    over_since = before.timers.over_since or now
    held = replace(before, timers=Timers(over_since=over_since))
    worst = _worst(verdict)
    why = wording.comparison(worst)
    if before.percentage >= highest(behavior):
        return replace(held, reason=Reason.METRIC_ABOVE_TARGET, message=why)
    if before.percentage == 0:
        waited, window = now - over_since, behavior.engage.stabilization_window
        if waited < window:
            left = wording.seconds(window - waited)
            return replace(held, reason=Reason.STABILIZING, message=f"{why}; offloads in {left} if it stays so")
    elif not _may_step(before, behavior, worst, now):
        return replace(held, reason=Reason.METRIC_ABOVE_TARGET, message=f"{why}; the next step follows")
    held = replace(held, restraint=_taught(before, behavior, now))
    demanded = demand.of(worst, before.shares) or worst.ratio
    return moved(held, next_step(held, demanded, behavior), now, Reason.METRIC_ABOVE_TARGET, why)


def _may_step(before: Decision, behavior: Behavior, worst: Assessed, now: datetime) -> bool:
    """Tell whether the last step has had its time, is seen in the metric, and isn't enough: a backlog takes time to shrink."""
    enough = behavior.mode is Mode.PROPORTIONAL and before.trend is not None and before.trend.falling
    return now - before.since >= behavior.engage.period and settled((worst,), before.since) and not enough


def _taught(before: Decision, behavior: Behavior, now: datetime) -> Restraint:
    """Wait longer before the next release when the last one came back too soon; each teaches once."""
    restraint = replace(before.restraint, released_at=None, trial=False, fall=proportional.FALL)
    released_at, backoff = before.restraint.released_at, _patience(before, behavior)
    if released_at is None or now - released_at > _regret(before, behavior):
        return replace(restraint, top=0)
    if before.restraint.trial:
        return replace(restraint, trial_wait=min(restraint.trial_wait * 2, LONGEST_TRIAL_WAIT))
    longest = LONGEST_FALL_WINDOW if behavior.mode is Mode.PROPORTIONAL else LONGEST_RELEASE_WINDOW
    longer = backoff * (LONGER_FALL if behavior.mode is Mode.PROPORTIONAL else 2)
    return replace(restraint, release_window=min(longer, max(longest, behavior.release.stabilization_window)))


def _patience(before: Decision, behavior: Behavior) -> timedelta:
    return max(behavior.release.stabilization_window, before.restraint.release_window)


def _regret(before: Decision, behavior: Behavior) -> timedelta:
    """Give the time after a release within which a return shows that it came too soon."""
    twice = 2 * _patience(before, behavior)
    return max(twice, QUIET if behavior.mode is Mode.PROPORTIONAL else SOON)


def _rested(before: Decision, now: datetime) -> Restraint:
    """Forget what earlier releases taught when the last one has held for a quiet time."""
    released_at = before.restraint.released_at
    calm = released_at is not None and now - released_at >= QUIET
    return Restraint() if calm and before.since == released_at else before.restraint


# Not over: nothing to do, or demand decides about the release.


def _not_over(before: Decision, behavior: Behavior, verdict: Verdict, now: datetime) -> Decision:
    why = wording.readings(verdict.metrics)
    if before.percentage == 0:
        reason = Reason.PROBING if _on_trial(before, behavior, now) else Reason.METRIC_BELOW_TARGET
        return replace(before, reason=reason, message=why, timers=Timers())
    if not settled(verdict.present, before.since):
        timers = Timers(stuck_since=before.timers.stuck_since or now)
        message = f"{why}; waits for metrics measured after the last change"
        return _or_trial(replace(before, timers=timers, reason=Reason.SETTLING, message=message), behavior, now)
    target = relaxed(before, behavior)
    if target < before.percentage:
        return _low(before, behavior, why, now, target=target)
    return _demanded(before, behavior, why, now)


def _on_trial(before: Decision, behavior: Behavior, now: datetime) -> bool:
    restraint = before.restraint
    if not restraint.trial or restraint.released_at is None:
        return False
    return now - restraint.released_at <= _regret(before, behavior)


def _low(before: Decision, behavior: Behavior, why: str, now: datetime, *, target: int) -> Decision:
    """Go to the target, which is lower, when demand has been low for long enough."""
    under_since = before.timers.under_since or now
    timers = Timers(under_since=under_since, stuck_since=before.timers.stuck_since)
    held = replace(before, timers=timers)
    stepping = _between_steps(before, behavior)
    waited, window = now - under_since, release_window(before, behavior)
    if not stepping and waited < window:
        left = wording.seconds(window - waited)
        what = f"falls to {target} %" if behavior.mode is Mode.PROPORTIONAL else "releases"
        return replace(held, reason=Reason.STABILIZING, message=f"{why}; {what} in {left} if demand stays low")
    if stepping and now - before.since < behavior.release.period:
        return replace(held, reason=Reason.METRIC_BELOW_TARGET, message=f"{why}; the next step back follows")
    return moved(held, target, now, Reason.METRIC_BELOW_TARGET, why, trial=False)


def _between_steps(before: Decision, behavior: Behavior) -> bool:
    """Tell whether a release in steps has begun: the window is waited for once, before the first step."""
    if behavior.mode is Mode.PROPORTIONAL:
        return False
    released_at = before.restraint.released_at
    return released_at is not None and released_at == before.since and 0 < before.percentage < behavior.percentage


def _demanded(before: Decision, behavior: Behavior, why: str, now: datetime) -> Decision:
    timers = Timers(stuck_since=before.timers.stuck_since or now)
    release_at = wording.percent(1 - Fraction(behavior.release.tolerance))
    if before.demand is None:
        said = "too little is served locally to see demand"
    elif behavior.mode is Mode.PROPORTIONAL:
        said = f"demand is {wording.percent(before.demand)} of the target, and the share fits it"
    else:
        said = f"demand is {wording.percent(before.demand)} of the target; releases at {release_at} or less"
    held = replace(before, timers=timers, reason=Reason.DEMAND_ABOVE_TARGET, message=f"{why}; {said}")
    return _or_trial(held, behavior, now)


def _or_trial(held: Decision, behavior: Behavior, now: datetime) -> Decision:
    """Release on trial, in Proportional mode by a step, when nothing else has been possible for long."""
    stuck_since, wait = held.timers.stuck_since, held.restraint.trial_wait
    if stuck_since is None or now - stuck_since < wait:
        return held
    why = (
        f"not over target for {wording.seconds(now - stuck_since)}: a trial release shows whether demand is still there"
    )
    tried = max(held.percentage - held.restraint.fall, 0) if behavior.mode is Mode.PROPORTIONAL else 0
    return moved(held, tried, now, Reason.PROBING, why, trial=True)


# Unknown: hold.


def _unknown(before: Decision, behavior: Behavior, verdict: Verdict, now: datetime) -> Decision:
    unread = tuple(metric for metric in verdict.metrics if isinstance(metric, Unread))
    nothing_read = len(unread) == len(verdict.metrics)
    idle = before.percentage > 0 and all(metric.missing.reason in IDLE_LOOKING for metric in unread)
    timers = replace(
        before.timers,
        unread_since=(before.timers.unread_since or now) if nothing_read else None,
        stuck_since=(before.timers.stuck_since or now) if idle else None,
    )
    why = "; ".join(wording.loss(metric) for metric in unread)
    held = replace(before, timers=timers, reason=Reason.METRICS_UNAVAILABLE, message=f"{why}; holds the share")
    lost_for = now - timers.unread_since if timers.unread_since else timedelta(0)
    if nothing_read and lost_for >= behavior.metrics_loss:
        held = _lost(held, behavior, why, now)
    return _or_trial(held, behavior, now) if held.percentage > 0 else held


def _lost(held: Decision, behavior: Behavior, why: str, now: datetime) -> Decision:
    match behavior.on_metrics_loss:
        case OnMetricsLoss.HOLD:
            return replace(held, reason=Reason.METRICS_LOST, message=f"{why}; onMetricsLoss is Hold")
        case OnMetricsLoss.RELEASE:
            return moved(held, 0, now, Reason.METRICS_LOST, f"{why}; onMetricsLoss is Release")
        case OnMetricsLoss.OFFLOAD:
            return moved(held, highest(behavior), now, Reason.METRICS_LOST, f"{why}; onMetricsLoss is Offload")


# Following a changed spec.


def _bounded(before: Decision, behavior: Behavior, now: datetime) -> Decision:
    """Follow a changed `percentage` while offloading; what is reached in steps, or was set by hand, only ever falls here."""
    if before.percentage == 0:
        return before
    in_steps = behavior.mode is Mode.PROPORTIONAL or behavior.engage.step_percentage < behavior.percentage
    wanted = min(before.percentage, highest(behavior)) if in_steps else behavior.percentage
    by_hand = bool(before.history) and before.history[-1].reason is Reason.OVERRIDDEN
    if by_hand or _between_steps(before, behavior):
        wanted = min(before.percentage, wanted)
    return moved(before, wanted, now, before.reason, before.message)


def _reset(before: Decision, now: datetime, reason: Reason, why: str) -> Decision:
    return replace(
        moved(before, 0, now, reason, why),
        timers=Timers(),
        restraint=Restraint(),
        demand=None,
        cap=None,
        learned=NOTHING,
    )


def _worst(verdict: Verdict) -> Assessed:
    read = [metric for metric in verdict.metrics if isinstance(metric, Assessed)]
    return max(read, key=lambda metric: metric.ratio)
