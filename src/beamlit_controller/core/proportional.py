"""Proportional mode: the share that keeps a metric at its target, in whole percent, computed from the measured demand.

When it rises, it goes slightly beyond the computed share, so that a slowly growing load does not cause a change for
every point. It falls carefully at first, and faster while the metric stays low: below saturation a queue is as empty as
without load, so only a lower share shows the difference.
"""

import math
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction

from beamlit_controller.core import release_backoff
from beamlit_controller.core.release_backoff import FALL, QUIET, Phase, ReleaseBackoff, Restraint
from beamlit_controller.core.spec import Behavior
from beamlit_controller.core.trend import Trend

WHOLE = 100
MOST = 95
"""The highest share. Some requests stay local, because demand could not be measured otherwise."""
SPARE = 5
"""Percentage points added to the computed share when it rises."""
BACKOFF = ReleaseBackoff(soon=QUIET, factor=3, longest=timedelta(seconds=1800))
"""The factor is larger than in Fixed mode: a release goes in steps, so a premature one causes more changes."""


@dataclass(frozen=True, slots=True)
class Proportional:
    """The strategy of Proportional mode."""

    behavior: Behavior

    @property
    def backoff(self) -> ReleaseBackoff:
        """Return the backoff after a premature step down."""
        return BACKOFF

    @property
    def highest(self) -> int:
        """Return the highest share."""
        return min(self.behavior.percentage, MOST)

    @property
    def in_steps(self) -> bool:
        """Return True: any share is reached step by step."""
        return True

    @property
    def rise(self) -> int:
        """Return by how many percentage points the share may rise in one step."""
        step = self.behavior.engage.step_percentage
        return step if step < WHOLE else self.behavior.most_rise

    def may_rise(self, trend: Trend | None) -> bool:
        """Return whether the share may rise: not while the metric falls by itself, because a backlog takes time to drain."""
        return trend is None or not trend.falling

    def raised(self, share: int, demand: Fraction, *, known: int) -> int:
        """Return the next higher share for a demand above the target. Up to the `known` share it rises in one step."""
        wanted = math.ceil(100 * (1 - 1 / demand)) + SPARE
        step = min(max(self.rise, known - share), self.behavior.engage.step_percentage)
        return min(max(wanted, share + 1), share + step, self.highest)

    def lowered(self, share: int, demand: Fraction, *, fall: int) -> int:
        """Return the share that suffices for the demand, lower by at most `fall`; the same share if the difference is small."""
        enough = _enough(demand, 1 - Fraction(self.behavior.release.tolerance))
        if enough and share - enough < FALL:
            return share
        return max(enough, share - min(fall, self.behavior.release.step_percentage))

    def tried(self, share: int, *, fall: int) -> int:
        """Return the share of a trial release: one step down."""
        return max(share - fall, 0)

    def between_steps(self, share: int, restraint: Restraint) -> bool:  # noqa: ARG002 - the other strategy needs it
        """Return False: each step down waits for its own window."""
        return False

    def release_window(self, restraint: Restraint) -> timedelta:
        """Return how long demand has to stay low. After a step down that was not premature, the configured window applies."""
        match restraint.phase:
            case Phase.HELD:
                return release_backoff.release_window(restraint, self.behavior)
            case Phase.RELEASED | Phase.ON_TRIAL:
                return self.behavior.release.stabilization_window

    def lowers(self, target: int) -> str:
        """Describe what happens when demand stays low."""
        return f"falls to {target} %"

    def stays(self, demand: str) -> str:
        """Describe why the share stays."""
        return f"{demand}, and the share fits it"


def _enough(demand: Fraction, aim: Fraction) -> int:
    """Return the share at which the metric would be at `aim`, 1 being the target."""
    return max(0, math.ceil(100 * (1 - aim / demand))) if demand > 0 else 0
