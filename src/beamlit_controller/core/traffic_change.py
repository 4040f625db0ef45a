"""Finds since when requests have been answered as they are now: by which side and why, or by nobody.

A minute is long for a person who has to act: for most of it, its sum tells what was true before a server died. But few
requests tell little, so a change counts only if chance does not explain it, and without one the whole minute counts.
"""

import math
from collections.abc import Sequence
from datetime import timedelta

from beamlit_controller.core import traffic
from beamlit_controller.core.traffic import CountersAt, Minute

SHORTEST = timedelta(seconds=2)
"""Requests of a shorter time are not shown as the present: a server that restarts quickly is not down."""
FEWEST = 3
"""Number of requests from which a change can be seen."""
CLEAR = 10.0
"""Logarithm of how much more likely the counts have to be with a change than without one."""


def latest(minute: Minute) -> Minute:
    """Return the requests since the last clear change of how they are answered; the whole minute if there is none."""
    moments = minute.moments
    while begin := _clearest_change(moments):
        moments = moments[begin:]
    if len(moments) == len(minute.moments):
        return minute
    return traffic.between(moments[_settled(moments) :])


def _settled(moments: Sequence[CountersAt]) -> int:
    """Return the index from which no request is from before the change, which falls into the first interval.

    Some may end later: an interval also counts as before the change if an outcome in it does not occur any more.
    """
    last, begin = moments[-1], 0
    while _is_enough(moments[begin + 1], last):
        begin += 1
        of_interval = zip(_counts(moments[begin]), _counts(moments[begin + 1]), _counts(last), strict=True)
        if not any(before < after == final for before, after, final in of_interval):
            break
    return begin


def _clearest_change(moments: Sequence[CountersAt]) -> int:
    """Return the index of the moment at which the outcomes changed most clearly; 0 if they didn't."""
    if len(moments) < 3:  # noqa: PLR2004 - a time before and a time after
        return 0
    first, last = moments[0], moments[-1]
    if len(_outcomes(first, last)) < 2:  # noqa: PLR2004 - all had the same outcome
        return 0
    same = _likelihood(first, last)
    gains = (
        (_likelihood(first, moments[at]) + _likelihood(moments[at], last) - same, at)
        for at in range(1, len(moments) - 1)
        if _is_enough(moments[at], last)
    )
    gain, at = max(gains, default=(0.0, 0))
    return at if gain > CLEAR else 0


def _is_enough(first: CountersAt, last: CountersAt) -> bool:
    return last.at - first.at >= SHORTEST and sum(_outcomes(first, last)) >= FEWEST


def _likelihood(first: CountersAt, last: CountersAt) -> float:
    """Return the logarithm of the likelihood of the outcomes in between if their probabilities did not change."""
    counts = _outcomes(first, last)
    whole = sum(counts)
    return sum(count * math.log(count / whole) for count in counts)


def _outcomes(first: CountersAt, last: CountersAt) -> tuple[int, ...]:
    """Return how many requests had each outcome, without those that none had."""
    pairs = zip(_counts(first), _counts(last), strict=True)
    return tuple(after - before for before, after in pairs if after > before)


def _counts(moment: CountersAt) -> tuple[int, ...]:
    counted = moment.counted
    return counted.local, counted.share, counted.overflow, counted.unavailable, counted.forced, counted.unanswered
