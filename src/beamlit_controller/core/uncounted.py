"""Adaptive mode without the gateways' request counts: a share is sent, as in Fixed mode, because no cap can be learned."""

from dataclasses import replace
from datetime import datetime, timedelta

from beamlit_controller.core import adaptive_decision, fixed, release_backoff, share_decision
from beamlit_controller.core.decision_state import Decision
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.signals import NOT_ASKED, Missing
from beamlit_controller.core.spec import OffloadSpec
from beamlit_controller.core.verdict import Judgement, Verdict

PATIENCE = timedelta(seconds=30)
"""How long a metric has to be over its target without counts, and so without a cap, before a share is sent.

Not if it is over it soon after a release: that was premature, and the share returns as in Fixed mode.
"""
LACK = "no gateway reports its request counts"


def applies(spec: OffloadSpec, before: Decision, verdict: Verdict, now: datetime, *, flow: Flow | Missing) -> bool:
    """Return whether a share is sent for lack of counts: the metric stays over its target, or a share is in force already.

    A cap that is known or given keeps limiting the requests in flight. A replay, which asks no gateway, has no share.
    """
    limited = before.learned.cap is not None or spec.overflow.max_in_flight_per_replica is not None
    if isinstance(flow, Flow) or flow == NOT_ASKED or limited:
        return False
    if before.percentage > 0:
        return True
    over, over_since = verdict.judgement is Judgement.OVER, before.timers.over_since
    again = release_backoff.was_premature(before.restraint, spec.behavior, fixed.BACKOFF, now)
    wait = spec.behavior.engage.stabilization_window + (timedelta(0) if again else PATIENCE)
    return over and over_since is not None and now - over_since >= wait


def decide(spec: OffloadSpec, before: Decision, verdict: Verdict, now: datetime) -> Decision:
    """Decide the share as Fixed mode does. The cap is 0 while there is one: all of the share leaves."""
    decided = share_decision.decide(spec, before, verdict, now)
    decided = replace(decided, cap=None, shortfall=None)
    if not decided.percentage:
        return decided
    message = f"{decided.message}; {LACK}, so the share is that of Fixed mode"
    return adaptive_decision.forced(replace(decided, message=message))
