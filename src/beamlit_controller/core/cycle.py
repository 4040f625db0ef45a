"""The stages in order, and the record of them."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from beamlit_controller.core import decision, verdict
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.signals import Signals
from beamlit_controller.core.spec import OffloadSpec
from beamlit_controller.core.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Cycle:
    """One round of one model: what was asked, read, judged and decided. `lag` is how late it began, `took` how long reading took."""

    spec: OffloadSpec
    signals: Signals
    verdict: Verdict
    decision: Decision
    previous: Decision | None
    at: datetime
    took: timedelta = timedelta(0)
    lag: timedelta = timedelta(0)

    @property
    def changed(self) -> bool:
        """Tell whether the percentage or the reason is another than before."""
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
    """Assess, decide, and record both."""
    judged = verdict.assess(spec, signals)
    decided = decision.decide(spec, previous, judged, now)
    return Cycle(spec, signals, judged, decided, previous, now, took, lag)
