"""One decision: the share of requests for the remote, the limit of local requests in flight, and why.

`decide` is a pure function of the spec, the previous decision, the verdict on the metrics and the time. It handles what
takes precedence over metrics: a disabled model, an override, a model without metrics. The rest depends on the mode:
Adaptive mode decides a cap (`core.adaptive_decision`), the other two a share (`core.share_decision`), and so does Adaptive
mode if no gateway reports its request counts (`core.uncounted`).
"""

from dataclasses import replace
from datetime import UTC, datetime

from beamlit_controller.core import adaptive_decision, demand, ledger, load, release_backoff, share_decision, uncounted
from beamlit_controller.core.adaptive_state import NOTHING
from beamlit_controller.core.decision_state import REMEMBERED, Change, Decision, Timers, begin, moved, recorded
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.release_backoff import UNRESTRAINED, Restraint
from beamlit_controller.core.signals import NOT_ASKED, Missing
from beamlit_controller.core.spec import Behavior, Mode, OffloadSpec, Override
from beamlit_controller.core.trend import Trend
from beamlit_controller.core.verdict import Verdict

__all__ = ["REMEMBERED", "Change", "Decision", "Restraint", "Timers", "Trend", "begin", "decide"]


def after_stop(last: Decision, now: datetime) -> Decision:
    """Return the initial state after the gateways were stopped: everything local, with the history, observed demand and ledger kept."""
    stopped = recorded(last, replace(moved(last, 0, now, Reason.RELEASED, "the controller was stopped"), cap=None), now)
    return replace(begin(now), history=stopped.history, sight=last.sight, ledger=ledger.stopped(last.ledger))


def decide(
    spec: OffloadSpec,
    previous: Decision | None,
    verdict: Verdict,
    now: datetime,
    *,
    flow: Flow | Missing = NOT_ASKED,
    ready: int = 1,
    slots: int | None = None,
) -> Decision:
    """Decide the percentage of requests for the remote and, in Adaptive mode, the cap on local requests in flight."""
    before = _in_dry_run(previous or begin(now), now, dry=spec.behavior.dry_run)
    return recorded(
        before, _decided(spec, before, verdict, now, local=adaptive_decision.Local(flow, ready, slots)), now
    )


def _decided(
    spec: OffloadSpec, before: Decision, verdict: Verdict, now: datetime, *, local: adaptive_decision.Local
) -> Decision:
    before = _with_counts(_in_current_mode(before, spec.behavior, now), spec.behavior, local)
    if not spec.enabled:
        return _reset(before, now, Reason.DISABLED, "spec.enabled is false: everything is served locally")
    if spec.override is not None and _is_active(spec.override, now):
        by_hand = _overridden(spec.override, before, now)
        return adaptive_decision.forced(by_hand) if spec.behavior.mode is Mode.ADAPTIVE else by_hand
    if not spec.metrics:
        return _reset(before, now, Reason.NO_METRICS, "no metric is given, so the percentage stays at 0")
    match spec.behavior.mode:
        case Mode.ADAPTIVE:
            if uncounted.applies(spec, before, verdict, now, flow=local.flow):
                return uncounted.decide(spec, before, verdict, now)
            return adaptive_decision.decide(spec, replace(before, shortfall=None), verdict, now, local=local)
        case Mode.FIXED | Mode.PROPORTIONAL:
            return share_decision.decide(spec, before, verdict, now)


def _with_counts(before: Decision, behavior: Behavior, local: adaptive_decision.Local) -> Decision:
    """Add the gateways' counts to the known load; Adaptive mode keeps counts of its own."""
    if isinstance(local.flow, Missing) or behavior.mode is Mode.ADAPTIVE:
        return before
    return replace(before, load=load.saw(before.load, local.flow, ready=local.ready))


# Overrides and dry run.


def _is_active(override: Override, now: datetime) -> bool:
    return override.until is None or now < override.until


def _overridden(override: Override, before: Decision, now: datetime) -> Decision:
    """Apply an override. What was learned from the metrics is reset, so that it starts afresh afterwards."""
    until = f" until {override.until.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if override.until else ""
    why = "".join(f", {said}" for said in (override.author and f"by {override.author}", override.reason) if said)
    message = f"set to {override.percentage} % by hand{until}{why}"
    again = before.reason is Reason.OVERRIDDEN
    overridden = moved(before, override.percentage, now, Reason.OVERRIDDEN, message)
    return replace(
        overridden,
        timers=Timers(),
        restraint=UNRESTRAINED,
        demand=None,
        shortfall=None,
        before_override=before.before_override if again else before.percentage,
    )


def _in_dry_run(before: Decision, now: datetime, *, dry: bool) -> Decision:
    """Convert a decision when a dry run begins or ends."""
    if before.dry == dry:
        return before
    turned = replace(before, dry=dry, restraint=release_backoff.after_other_change(before.restraint))
    return replace(turned, since=now, shares=demand.remember(before.shares, now, turned.sent), timers=Timers())


# A changed spec.


def _in_current_mode(before: Decision, behavior: Behavior, now: datetime) -> Decision:
    """Discard the Adaptive state in the other modes."""
    if behavior.mode is Mode.ADAPTIVE or (before.cap is None and before.learned == NOTHING):
        return before
    left = moved(before, 0, now, before.reason, "behavior.mode is no longer Adaptive")
    return replace(left, cap=None, learned=NOTHING, by_metric=(), before_override=0)


def _reset(before: Decision, now: datetime, reason: Reason, why: str) -> Decision:
    return replace(
        moved(before, 0, now, reason, why),
        timers=Timers(),
        restraint=UNRESTRAINED,
        demand=None,
        shortfall=None,
        cap=None,
        learned=NOTHING,
        by_metric=(),
        before_override=None,
    )
