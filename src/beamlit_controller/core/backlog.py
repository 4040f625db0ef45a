"""Detects the beginning of an overload from the gateways' counters, before a delayed metric shows it.

Little's law: the number of requests in flight is the number finished per second times the seconds that a request takes. If
more and more are in flight but the completion rate does not grow, the servers are full, and the additional requests
wait.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise

from beamlit_controller.core.adaptive_state import InFlightSpan, rounded

ENOUGH = 20
"""The least number of requests finished in a stretch that says anything."""
SHORTEST = 5
"""The length of the shortest stretch, in seconds."""
FASTER, SLOWER = Fraction(125, 100), Fraction(70, 100)
"""No more are finished: the rate is between these multiples of the earlier one."""
FLOOD = Fraction(140, 100)
"""A flood: at least this many requests arrive for each one that is finished."""
BACKLOG = 3
"""A backlog: at least this many times as many requests are in flight as fit."""
EXCESS = 10
"""And at least this many more requests than fit."""
SPARE, MOST_SPARE = Fraction(10, 100), Fraction(2)
"""The part of what fits that is allowed on top, and at most so many requests per replica: what fits is known roughly."""
ALSO = Fraction(150, 100)
"""A metric that is at its target allows a little more in flight than fits without waiting."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which enough was finished; the levels are those of all replicas."""

    seconds: Fraction
    first_level: Fraction
    last_level: Fraction
    area: Fraction
    served: int
    overflowed: int

    @property
    def rate(self) -> Fraction:
        """Return how many are finished in a second."""
        return self.served / self.seconds

    @property
    def pace(self) -> Fraction:
        """Return the seconds that a request takes."""
        return self.area / self.served

    @property
    def floods(self) -> bool:
        """Return whether clearly more came than was finished."""
        return self.served + self.overflowed + self.last_level - self.first_level >= FLOOD * self.served


def cap(recent: Sequence[InFlightSpan]) -> Fraction | None:
    """Return the cap per replica that a backlog suggests which grows, or is held by a cap far too high; None without such a backlog."""
    if not recent or any(each.sent > each.overflowed for each in recent):
        return None
    stretches = tuple(_stretches(recent, Fraction(SHORTEST)))
    if len(stretches) < 2:  # noqa: PLR2004 - one is held against the other
        return None
    pace = _pace(stretches)
    compared = tuple(islice(_stretches(recent, max(Fraction(SHORTEST), pace)), 2))
    if len(compared) < 2:  # noqa: PLR2004 - one is held against the other
        return None
    latest, earlier = compared
    fit = latest.rate * pace
    flat = SLOWER * earlier.rate <= latest.rate <= FASTER * earlier.rate
    full = latest.last_level >= max(BACKLOG * fit, fit + EXCESS)
    if not (flat and full and earlier.floods and latest.floods):
        return None
    each = fit / recent[-1].ready
    return rounded(each + min(SPARE * each, MOST_SPARE) + ALSO)


def _pace(stretches: Sequence[Stretch]) -> Fraction:
    """Return the seconds that a request takes while none waits: the median of the calm stretches, else the shortest."""
    calm = sorted(each.pace for each in stretches if not each.floods)
    return calm[len(calm) // 2] if calm else min(each.pace for each in stretches)


def _stretches(recent: Sequence[InFlightSpan], shortest: Fraction) -> Iterator[Stretch]:
    """Yield the stretches in which enough was finished and that are not too short, the latest first."""
    seconds = area = Fraction(0)
    served, overflowed, last_level = 0, 0, recent[-1].in_flight * recent[-1].ready
    levels = (Fraction(0), *(each.in_flight * each.ready for each in recent))
    for span, (first_level, level) in zip(reversed(recent), reversed(tuple(pairwise(levels))), strict=True):
        lasted = Fraction((span.until - span.since).total_seconds())
        seconds, served, overflowed = seconds + lasted, served + span.served, overflowed + span.overflowed
        area += lasted * (first_level + level) / 2
        if served >= ENOUGH and seconds >= shortest:
            yield Stretch(seconds, first_level, last_level, area, served, overflowed)
            seconds, area, last_level = Fraction(0), Fraction(0), first_level
            served, overflowed = 0, 0
