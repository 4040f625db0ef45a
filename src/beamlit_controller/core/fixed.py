"""Fixed mode: the share is `percentage`, reached at once or in steps.

It falls to 0, at once or in steps, when demand has stayed low for the release window. A premature release doubles that
window (`core.release_backoff`).
"""

from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction

from beamlit_controller.core import release_backoff, wording
from beamlit_controller.core.release_backoff import Phase, ReleaseBackoff, Restraint
from beamlit_controller.core.spec import Behavior
from beamlit_controller.core.trend import Trend

BACKOFF = ReleaseBackoff(soon=timedelta(seconds=300), factor=2, longest=timedelta(seconds=900))


@dataclass(frozen=True, slots=True)
class Fixed:
    """The strategy of Fixed mode."""

    behavior: Behavior

    @property
    def backoff(self) -> ReleaseBackoff:
        """Return the backoff after a premature release."""
        return BACKOFF

    @property
    def highest(self) -> int:
        """Return the share that offloading goes up to."""
        return self.behavior.percentage

    @property
    def in_steps(self) -> bool:
        """Return whether this share is reached in more than one step."""
        return self.behavior.engage.step_percentage < self.behavior.percentage

    @property
    def rise(self) -> int:
        """Return by how many percentage points the share rises in one step."""
        return self.behavior.engage.step_percentage

    def may_rise(self, trend: Trend | None) -> bool:  # noqa: ARG002 - the other strategy needs it
        """Return True: the share rises whatever the trend of the metric is."""
        return True

    def raised(self, share: int, demand: Fraction, *, known: int) -> int:  # noqa: ARG002 - the other strategy needs them
        """Return the next higher share, whatever the demand is."""
        return min(share + self.rise, self.behavior.percentage)

    def lowered(self, share: int, demand: Fraction, *, fall: int) -> int:  # noqa: ARG002 - the other strategy needs it
        """Return the next lower share if demand is low, else the same share."""
        low = demand <= 1 - Fraction(self.behavior.release.tolerance)
        return max(share - self.behavior.release.step_percentage, 0) if low else share

    def tried(self, share: int, *, fall: int) -> int:  # noqa: ARG002 - the other strategy needs them
        """Return the share of a trial release: 0."""
        return 0

    def between_steps(self, share: int, restraint: Restraint) -> bool:
        """Return whether a release in steps is in progress."""
        match restraint.phase:
            case Phase.HELD:
                return False
            case Phase.RELEASED | Phase.ON_TRIAL:
                return 0 < share < self.behavior.percentage

    def release_window(self, restraint: Restraint) -> timedelta:
        """Return how long demand has to stay low before the first step down."""
        return release_backoff.release_window(restraint, self.behavior)

    def lowers(self, target: int) -> str:  # noqa: ARG002 - the other strategy needs it
        """Describe what happens when demand stays low."""
        return "releases"

    def stays(self, demand: str) -> str:
        """Describe why the share stays."""
        release_at = wording.percent(1 - Fraction(self.behavior.release.tolerance))
        return f"{demand}; releases at {release_at} or less"
