"""Metrics that count the requests waiting in the servers' queues, in Adaptive mode.

The slope of such a metric follows from its target, so it need not be learned: the capacity of the servers is the number
of requests in flight less the number waiting.
"""

from dataclasses import replace
from fractions import Fraction

from beamlit_controller.core.adaptive_state import MOST, Learned, rounded
from beamlit_controller.core.load_curve import Observed

GOAL = Fraction(70, 100)
NONE = Fraction(2, 100)
SOME = 3


def from_slots(learned: Learned, slots: int, queue: Fraction) -> Learned:
    """Start with the cap that follows from the number of slots that the servers report, and from how many requests may wait."""
    full = slots + queue
    return replace(learned, cap=rounded(aim(full, 1 / max(queue, 1 / MOST))), full=rounded(full))


def aim(full: Fraction, slope: Fraction) -> Fraction:
    """Return the cap for an estimate: slightly below the number in flight at which the metric is at its target."""
    return full - min((1 - GOAL) / slope, full / 25)


def full(seen: Observed, slope: Fraction) -> Fraction:
    """Return the number in flight at which the metric is at its target, by a sample taken while the number in flight grows."""
    return max(least(slope), rounded(max(seen.levels) + (1 - seen.point.ratio) / slope))


def least(slope: Fraction) -> Fraction:
    """Return the lower bound of the estimate: one request in progress, plus the number that may wait by the target.

    With fewer in flight, the waiting requests must have bypassed the gateways.
    """
    return rounded(1 + 1 / slope)


def is_idle(noted: Learned) -> bool:
    """Return whether nothing waits although the cap is reached: several samples of an empty queue, not just one."""
    return noted.full_load.count >= SOME and noted.full_load.ratio <= NONE
