"""What earlier releases taught: how long to wait before the next one, how far it may go, and when one was too early."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from beamlit_controller.core.spec import Behavior

FALL = 10
"""The first step down in Proportional mode; each that follows may be twice as large."""
FIRST_TRIAL = timedelta(seconds=600)
LONGEST_TRIAL_WAIT = timedelta(seconds=3600)
QUIET = timedelta(seconds=900)
"""After so long without a return, the release window is the configured one again."""


class Phase(StrEnum):
    """What the last change of the share was."""

    HELD = "Held"
    """A metric, a person or the spec put the share where it is."""
    RELEASED = "Released"
    """Demand was low."""
    ON_TRIAL = "OnTrial"
    """Only a try could tell whether demand is still there."""


@dataclass(frozen=True, slots=True)
class Restraint:
    """The last change, when the last release was, how long to wait before the next, how far it may fall."""

    released_at: datetime | None = None
    phase: Phase = Phase.HELD
    release_window: timedelta = timedelta(0)
    trial_wait: timedelta = FIRST_TRIAL
    fall: int = FALL
    top: int = 0
    """The share that the last fall began at: if that was too soon, it is returned to in one go."""


UNRESTRAINED = Restraint()
"""No release taught anything."""


@dataclass(frozen=True, slots=True)
class ReleaseBackoff:
    """How a release that came too early delays the next: a return within `soon` multiplies the window by `factor`."""

    soon: timedelta
    factor: int
    longest: timedelta


def held(restraint: Restraint) -> Restraint:
    """Note a change that was no release."""
    return replace(restraint, phase=Phase.HELD)


def released(restraint: Restraint, share: int, now: datetime, *, trial: bool) -> Restraint:
    """Note a release from a share; those that follow one another fall further and further from the same top."""
    top = share if restraint.phase is Phase.HELD else restraint.top
    phase = Phase.ON_TRIAL if trial else Phase.RELEASED
    return replace(restraint, released_at=now, phase=phase, fall=min(restraint.fall * 2, 100), top=top)


def returned(restraint: Restraint, behavior: Behavior, backoff: ReleaseBackoff, now: datetime) -> Restraint:
    """Wait longer before the next release when the last one came back too soon; each teaches once."""
    learned = replace(restraint, released_at=None, phase=Phase.HELD, fall=FALL)
    if not regretted(restraint, behavior, backoff, now):
        return replace(learned, top=0)
    if restraint.phase is Phase.ON_TRIAL:
        return replace(learned, trial_wait=min(restraint.trial_wait * 2, LONGEST_TRIAL_WAIT))
    longest = max(backoff.longest, behavior.release.stabilization_window)
    return replace(learned, release_window=min(patience(restraint, behavior) * backoff.factor, longest))


def rested(restraint: Restraint, now: datetime) -> Restraint:
    """Forget what earlier releases taught when the last one has held for a quiet time."""
    match restraint.phase, restraint.released_at:
        case ((Phase.RELEASED | Phase.ON_TRIAL), datetime() as at) if now - at >= QUIET:
            return UNRESTRAINED
        case _:
            return restraint


def patience(restraint: Restraint, behavior: Behavior) -> timedelta:
    """Give the time that demand has to stay low: the configured one, or the longer one that a too early release taught."""
    return max(behavior.release.stabilization_window, restraint.release_window)


def regretted(restraint: Restraint, behavior: Behavior, backoff: ReleaseBackoff, now: datetime) -> bool:
    """Tell whether a return now shows that the last release came too soon."""
    if restraint.released_at is None:
        return False
    return now - restraint.released_at <= max(2 * patience(restraint, behavior), backoff.soon)
