"""Runs the stages of a round in order, and records their results.

The stages are `verdict.assess`, `value_age.dated`, `decision.decide`, and updates of the observed demand and the ledger.
The resulting `Cycle` is what all sinks receive, so the status, logs, metrics and `/models` tell the same.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from beamlit_controller.core import clock_skew, decision, ledger, trigger, value_age, verdict
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.signals import Signals
from beamlit_controller.core.spec import OffloadSpec
from beamlit_controller.core.trigger import Trigger
from beamlit_controller.core.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Cycle:
    """One round of one model: its spec, signals, verdict and decision. `lag` is how late it started, `took` how long reading took."""

    spec: OffloadSpec
    signals: Signals
    verdict: Verdict
    decision: Decision
    previous: Decision | None
    at: datetime
    took: timedelta = timedelta(0)
    lag: timedelta = timedelta(0)

    @property
    def trigger(self) -> Trigger | None:
        """Return whether the metrics can make the model offload at all; None while it is disabled."""
        if not self.spec.enabled or self.decision.sight is None:
            return None
        return trigger.judge(self.spec, self.decision.sight, self.signals, self.verdict)

    @property
    def changed(self) -> bool:
        """Return whether the percentage or the reason changed."""
        return self.previous is None or (self.previous.percentage, self.previous.reason) != (
            self.decision.percentage,
            self.decision.reason,
        )


def run(
    spec: OffloadSpec,
    signals: Signals,
    *,
    previous: Decision | None,
    now: datetime,
    took: timedelta = timedelta(0),
    lag: timedelta = timedelta(0),
) -> Cycle:
    """Assess, decide, update the observed demand, and record the results."""
    signals = clock_skew.bounded(signals, now)
    ages = previous.ages if previous else ()
    ready, slots = signals.local.ready, signals.slots
    judged, ages = value_age.dated(verdict.assess(spec, signals), ages, signals.at, ready=ready)
    decided = decision.decide(spec, previous, judged, now, flow=signals.flow, ready=ready, slots=slots)
    before = previous or decided
    decided = replace(
        decided,
        sight=trigger.observe(before.sight, spec, judged, before.shares, now),
        ledger=ledger.entered(before.ledger, spec.remotes, signals.usage, now),
        ages=ages,
    )
    return Cycle(spec, signals, judged, decided, previous, now, took, lag)
