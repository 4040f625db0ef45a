"""Metrics that count the requests that wait in the servers: what is in flight without those that wait, is what fits.

How steep such a metric is follows from its target. Of others it has to be learned.
"""

from dataclasses import replace
from fractions import Fraction

from beamlit_controller.core.adaptive_state import MOST, Learned, rounded
from beamlit_controller.core.load_curve import Observed

GOAL = Fraction(70, 100)
NONE = Fraction(2, 100)
SOME = 3


def told(learned: Learned, slots: int, queue: Fraction) -> Learned:
    """Begin with the cap that fits servers which tell their slots and may have so many requests waiting."""
    full = slots + queue
    return replace(learned, cap=rounded(aim(full, 1 / max(queue, 1 / MOST))), full=rounded(full))


def aim(full: Fraction, slope: Fraction) -> Fraction:
    """Return the number in flight that is a little below the one at which the metric is at its target."""
    return full - min((1 - GOAL) / slope, full / 25)


def full(seen: Observed, slope: Fraction) -> Fraction:
    """Return the number in flight at which the metric is at its target, while what is in flight grows."""
    return max(least(slope), rounded(max(seen.levels) + (1 - seen.point.ratio) / slope))


def least(slope: Fraction) -> Fraction:
    """Return the lowest number that can be right: a server works on one at least, and as many as the target may wait.

    With fewer in flight, those that wait came past the gateways.
    """
    return rounded(1 + 1 / slope)


def is_idle(noted: Learned) -> bool:
    """Return whether nothing waits under a cap that is reached: the queue is empty, and not only low for a moment."""
    return noted.full_load.count >= SOME and noted.full_load.ratio <= NONE
