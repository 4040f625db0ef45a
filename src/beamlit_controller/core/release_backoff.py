"""The backoff of releases: how long to wait before the next one, how far it may go, and which ones were premature.

A release was premature if a metric exceeds its target again soon after it. Then the next release waits longer, and the
share before the release is restored in one step. After a quiet time the backoff is reset.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from beamlit_controller.core.spec import Behavior

FALL = 10
"""First step down in Proportional mode, in percentage points; each further step may be twice as large."""
FIRST_TRIAL = timedelta(seconds=600)
LONGEST_TRIAL_WAIT = timedelta(seconds=3600)
QUIET = timedelta(seconds=900)
"""After this time without a premature release, the release window is reset to the configured one."""


class Phase(StrEnum):
    """The kind of the last change of the share."""

    HELD = "Held"
    """A metric, a person or the spec put the share where it is."""
    RELEASED = "Released"
    """Demand was low."""
    ON_TRIAL = "OnTrial"
    """A trial release, because demand could not be measured."""


@dataclass(frozen=True, slots=True)
class Restraint:
    """The last change, the time of the last release, the wait before the next one, and how far the share may fall."""

    released_at: datetime | None = None
    phase: Phase = Phase.HELD
    release_window: timedelta = timedelta(0)
    trial_wait: timedelta = FIRST_TRIAL
    fall: int = FALL
    top: int = 0
    """The share before the last release: after a premature release, it is restored in one step."""


UNRESTRAINED = Restraint()
"""No backoff."""


@dataclass(frozen=True, slots=True)
class ReleaseBackoff:
    """The backoff after a premature release: engaging again within `soon` multiplies the release window by `factor`."""

    soon: timedelta
    factor: int
    longest: timedelta


def after_other_change(restraint: Restraint) -> Restraint:
    """Record a change that was not a release."""
    return replace(restraint, phase=Phase.HELD)


def after_release(restraint: Restraint, share: int, now: datetime, *, trial: bool) -> Restraint:
    """Record a release from a share. Consecutive releases fall by increasing steps, and `top` is the share before the first."""
    top = share if restraint.phase is Phase.HELD else restraint.top
    phase = Phase.ON_TRIAL if trial else Phase.RELEASED
    return replace(restraint, released_at=now, phase=phase, fall=min(restraint.fall * 2, 100), top=top)


def after_engaging(restraint: Restraint, behavior: Behavior, backoff: ReleaseBackoff, now: datetime) -> Restraint:
    """Record that offloading was engaged; if the last release was premature, the release window grows, once per release."""
    learned = replace(restraint, released_at=None, phase=Phase.HELD, fall=FALL)
    if not was_premature(restraint, behavior, backoff, now):
        return replace(learned, top=0)
    if restraint.phase is Phase.ON_TRIAL:
        return replace(learned, trial_wait=min(restraint.trial_wait * 2, LONGEST_TRIAL_WAIT))
    longest = max(backoff.longest, behavior.release.stabilization_window)
    return replace(learned, release_window=min(release_window(restraint, behavior) * backoff.factor, longest))


def reset_if_quiet(restraint: Restraint, now: datetime) -> Restraint:
    """Reset the backoff once the last release has held for `QUIET`."""
    match restraint.phase, restraint.released_at:
        case ((Phase.RELEASED | Phase.ON_TRIAL), datetime() as at) if now - at >= QUIET:
            return UNRESTRAINED
        case _:
            return restraint


def release_window(restraint: Restraint, behavior: Behavior) -> timedelta:
    """Return the release window: the configured one, or a longer one after a premature release."""
    return max(behavior.release.stabilization_window, restraint.release_window)


def was_premature(restraint: Restraint, behavior: Behavior, backoff: ReleaseBackoff, now: datetime) -> bool:
    """Return whether engaging now shows that the last release was premature."""
    if restraint.released_at is None:
        return False
    return now - restraint.released_at <= max(2 * release_window(restraint, behavior), backoff.soon)
