"""Detects the start of an overload by the gateways' counters, before a lagging metric shows it.

By Little's law, the number of requests in flight is the completion rate times the duration of a request. If the number
in flight keeps growing while the completion rate does not, the servers are saturated and the additional requests wait.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from itertools import islice, pairwise

from beamlit_controller.core.adaptive_state import rounded, thousandths
from beamlit_controller.core.in_flight_span import InFlightSpan

ENOUGH = 20
"""The minimum number of completions under a cap from which it is corrected."""
SHORTEST = 5
"""The minimum time under a cap after which it is corrected, in seconds."""
FLOOD = Fraction(140, 100)
"""A flood: at least this many requests arrive for each completion."""
BACKLOG = 3
"""A backlog: at least this many times the servers' capacity is in flight."""
EXCESS = 10
"""And at least this many requests above the capacity."""
SPARE, MOST_SPARE = Fraction(10, 100), Fraction(2)
"""Allowance on top of the estimated capacity: a fraction of it, and at most this many requests per replica."""
SATURATED = Fraction(80, 100)
"""The servers are saturated from this fraction of the completion rate during the backlog."""
MOST_RISE = Fraction(4)
ALSO = Fraction(150, 100)
"""Further requests per replica: at its target, a metric allows slightly more in flight than the capacity."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What has to be observed before a backlog is believed.

    The completion rate is compared in two consecutive stretches of at least `shortest` seconds and `ended` completions. It is
    flat if the later rate is between `slower` and `faster` times the earlier one. `calm` is true if a time before the backlog
    has to show how long a request takes.
    """

    shortest: Fraction
    ended: int
    slower: Fraction
    faster: Fraction
    calm: bool = False


FIRST = Evidence(Fraction(2), 12, Fraction(60, 100), Fraction(140, 100))
"""For a first cap: a growing backlog costs more than a cap that is slightly off."""
FIRST_AFTER_CALM = replace(FIRST, calm=True)
"""For a first cap where the metric is hardly late and may soon tell more."""
LOWER = Evidence(Fraction(5), 20, Fraction(70, 100), Fraction(125, 100))
"""For lowering a cap that is in force."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time long enough to measure: in it, enough requests finished. The levels (requests in flight) are those of all replicas."""

    seconds: Fraction
    first_level: Fraction
    last_level: Fraction
    area: Fraction
    served: int
    overflowed: int

    @property
    def rate(self) -> Fraction:
        """Return the completions per second."""
        return self.served / self.seconds

    @property
    def pace(self) -> Fraction:
        """Return the seconds that a request takes."""
        return self.area / self.served

    @property
    def least_pace(self) -> Fraction:
        """Return the seconds that a request takes, counting half of those that are still in flight: lower than `pace` while their number grows."""
        return self.area / (self.served + max(Fraction(0), self.last_level - self.first_level) / 2)

    @property
    def arrived(self) -> Fraction:
        """Return how many requests arrived."""
        return self.served + self.overflowed + self.last_level - self.first_level

    @property
    def floods(self) -> bool:
        """Return whether clearly more requests arrived than finished."""
        return self.arrived >= FLOOD * self.served


@dataclass(frozen=True, slots=True)
class Backlog:
    """The cap per replica that a backlog suggests, and the completions per second and replica that it was estimated from."""

    cap: Fraction
    rate: Fraction


def found(recent: Sequence[InFlightSpan], evidence: Evidence) -> Backlog | None:
    """Return a backlog if there is one that grows or persists under a cap that is far too high; else None."""
    if not recent or any(each.sent > each.overflowed for each in recent):
        return None
    stretches = tuple(_stretches(recent, evidence, evidence.shortest))
    if len(stretches) < 2 or (evidence.calm and all(each.floods for each in stretches)):  # noqa: PLR2004 - one is held against the other
        return None
    pace, at_most = _pace(stretches)
    compared = tuple(islice(_stretches(recent, evidence, max(evidence.shortest, (pace + at_most) / 2)), 2))
    if len(compared) < 2:  # noqa: PLR2004 - one is held against the other
        return None
    latest, earlier = compared
    fit = latest.rate * pace
    flat = evidence.slower * earlier.rate <= latest.rate <= evidence.faster * earlier.rate
    full = latest.last_level >= max(BACKLOG * fit, fit + EXCESS)
    if not (flat and full and earlier.floods and latest.floods) or _is_young(stretches, earlier, latest, pace):
        return None
    each = fit / recent[-1].ready
    cap = rounded(each + min(SPARE * each, MOST_SPARE) + ALSO)
    return Backlog(cap, thousandths(latest.rate / recent[-1].ready))


def corrected(recent: Sequence[InFlightSpan], cap: Fraction, rate: Fraction, since: datetime) -> Fraction | None:
    """Return a higher cap if fewer requests end under this one than during the backlog: slots are free. None if as many do.

    The completion rate grows with the number in flight until the servers are saturated, so it is lower in proportion, and
    more slowly where requests share the servers' capacity.
    """
    seconds, ended = Fraction(0), 0
    for span in reversed(recent):
        if span.since < since or span.in_flight > cap * Fraction(115, 100) + 1:
            break
        if not span.overflowed:
            break
        seconds += Fraction((span.until - span.since).total_seconds())
        ended += span.served
    if ended < ENOUGH or seconds < SHORTEST:
        return None
    under = ended / seconds / recent[-1].ready
    return rounded(cap * min(MOST_RISE, rate / under)) if under < SATURATED * rate else None


def _is_young(stretches: Sequence[Stretch], earlier: Stretch, latest: Stretch, pace: Fraction) -> bool:
    """Return whether the flood began less than a request's duration before the latest stretch.

    Requests of equal durations then end at the rate at which they arrived before the flood, however many slots are free.
    """
    calm = sorted(each.arrived / each.seconds for each in stretches if not each.floods)
    if not calm:
        return False
    before, now = calm[len(calm) // 2], latest.arrived / latest.seconds
    return earlier.arrived - before * earlier.seconds < (now - before) * pace


def _pace(stretches: Sequence[Stretch]) -> tuple[Fraction, Fraction]:
    """Return the seconds that a request takes when none waits, and the most that it may take.

    That is the median of the calm stretches. If there was none, the number in flight has been growing since the first
    request, and the pace lies between two bounds.
    """
    calm = sorted(each.pace for each in stretches if not each.floods)
    if calm:
        return calm[len(calm) // 2], calm[len(calm) // 2]
    return min(each.least_pace for each in stretches), min(each.pace for each in stretches)


def _stretches(recent: Sequence[InFlightSpan], evidence: Evidence, shortest: Fraction) -> Iterator[Stretch]:
    """Yield the stretches of at least `shortest` seconds in which enough requests finished, the latest first."""
    seconds = area = Fraction(0)
    served, overflowed, last_level = 0, 0, recent[-1].in_flight * recent[-1].ready
    levels = (Fraction(0), *(each.in_flight * each.ready for each in recent))
    for span, (first_level, level) in zip(reversed(recent), reversed(tuple(pairwise(levels))), strict=True):
        lasted = Fraction((span.until - span.since).total_seconds())
        seconds, served, overflowed = seconds + lasted, served + span.served, overflowed + span.overflowed
        area += lasted * (first_level + level) / 2
        if served >= evidence.ended and seconds >= shortest:
            yield Stretch(seconds, first_level, last_level, area, served, overflowed)
            seconds, area, last_level = Fraction(0), Fraction(0), first_level
            served, overflowed = 0, 0
