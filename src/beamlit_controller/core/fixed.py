"""Fixed mode: the share is `percentage`, reached at once or in steps."""

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
        """Return how long to wait after a premature release."""
        return BACKOFF

    @property
    def highest(self) -> int:
        """Return the share that is aimed at."""
        return self.behavior.percentage

    @property
    def in_steps(self) -> bool:
        """Return whether it is reached in more than one step."""
        return self.behavior.engage.step_percentage < self.behavior.percentage

    @property
    def rise(self) -> int:
        """Return the points that the share rises by in one step."""
        return self.behavior.engage.step_percentage

    def may_rise(self, trend: Trend | None) -> bool:  # noqa: ARG002 - the other strategy needs it
        """Rise however the metric moves."""
        return True

    def raised(self, share: int, demand: Fraction, *, known: int) -> int:  # noqa: ARG002 - the other strategy needs them
        """Return the next step, whatever demand is."""
        return min(share + self.rise, self.behavior.percentage)

    def lowered(self, share: int, demand: Fraction, *, fall: int) -> int:  # noqa: ARG002 - the other strategy needs it
        """Return the next step down if demand is low, else the same share."""
        low = demand <= 1 - Fraction(self.behavior.release.tolerance)
        return max(share - self.behavior.release.step_percentage, 0) if low else share

    def tried(self, share: int, *, fall: int) -> int:  # noqa: ARG002 - the other strategy needs them
        """Return the share of a trial release: nothing leaves."""
        return 0

    def between_steps(self, share: int, restraint: Restraint) -> bool:
        """Return whether a release in steps has begun."""
        match restraint.phase:
            case Phase.HELD:
                return False
            case Phase.RELEASED | Phase.ON_TRIAL:
                return 0 < share < self.behavior.percentage

    def release_window(self, restraint: Restraint) -> timedelta:
        """Return the time that demand has to stay low before the first step."""
        return release_backoff.release_window(restraint, self.behavior)

    def lowers(self, target: int) -> str:  # noqa: ARG002 - the other strategy needs it
        """Say what happens when demand stays low."""
        return "releases"

    def stays(self, demand: str) -> str:
        """Say why the share stays."""
        release_at = wording.percent(1 - Fraction(self.behavior.release.tolerance))
        return f"{demand}; releases at {release_at} or less"
