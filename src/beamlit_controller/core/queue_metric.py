"""Metrics that count the requests waiting in the servers' queues, in Adaptive mode.

The slope of such a metric follows from its target, so it need not be learned: the capacity of the servers is the number
of requests in flight less the number waiting.
"""

from dataclasses import replace
from fractions import Fraction

from beamlit_controller.core import first_byte_metric, metric_kind
from beamlit_controller.core.adaptive_state import COUNTED, MOST, Learned, RatioSample, rounded
from beamlit_controller.core.load_curve import Observed
from beamlit_controller.core.metric_kind import NONE, SOME

GOAL = Fraction(85, 100)
"""The ratio that the cap aims at."""


def from_slots(learned: Learned, slots: int, queue: Fraction) -> Learned:
    """Start with the cap that follows from the number of slots that the servers report, and from how many requests may wait."""
    full = slots + queue
    return replace(learned, cap=rounded(aim(full, 1 / max(queue, 1 / MOST))), full=rounded(full))


def slots_in_use(learned: Learned, slots: int | None) -> Fraction:
    """Return the number of slots that the servers report: no single sample leaves one free.

    0 once several samples in a row showed too long a queue, since requests then come past the gateways.
    """
    shown = learned.full_load.count >= SOME and learned.full_load.ratio > 1
    return Fraction(0 if slots is None or shown else slots)


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


def noted(learned: Learned, sample: RatioSample, seen: Observed) -> Learned:
    """Count how many samples in a row found nothing waiting although the cap was reached."""
    has_base = sample.waited is not None or metric_kind.is_steep(learned)
    waits = seen.point.ratio > (metric_kind.idle(learned) if has_base else NONE)
    if waits and not first_byte_metric.hardly_waits(sample, seen, learned):
        return replace(learned, idle=0)
    return replace(learned, idle=min(learned.idle + 1, COUNTED)) if seen.bound else learned


def is_idle(noted: Learned) -> bool:
    """Return whether nothing waits although the cap is reached: several samples of an empty queue, not just one."""
    return noted.idle >= SOME
