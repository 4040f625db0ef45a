"""The estimate of how many requests in flight bring a metric to its target (`Learned.full`), in Adaptive mode.

Each sample over the target, or under a cap that is reached, updates it: by more the more it differs from what was expected,
and by less the noisier the metric is.
"""

from dataclasses import replace
from fractions import Fraction

from beamlit_controller.core import load_curve
from beamlit_controller.core.adaptive_state import LEAST, MOST, Learned, rounded
from beamlit_controller.core.queue_metric import GOAL

FLAT = Fraction(15, 100)
"""A ratio up to this is treated as zero: it only shows that there is spare capacity."""
NEARLY = Fraction(5, 100)
LOUDEST = Fraction(1)
"""The largest deviation that counts as noise; beyond it, the estimate is wrong."""
DRAINING = Fraction(13, 10)
"""A multiple of the cap that is in flight only while the cap is not enforced."""


def updated(learned: Learned, seen: load_curve.Observed, *, drains: bool = False) -> Learned:
    """Update the estimate by a sample; `drains` also accepts one during which a backlog drained."""
    unclear = is_idle(learned, seen) or (seen.point.ratio <= 1 and not seen.bound)
    if learned.slope is None or unclear or (is_draining(learned, seen) and not drains):
        return learned
    slope, base = load_curve.slope(learned, seen), min(learned.base or Fraction(0), GOAL)
    found = load_curve.knee(seen.levels, max(Fraction(0), seen.point.ratio - base) / slope) + (1 - base) / slope
    if learned.full is None:
        return replace(learned, full=min(MOST, max(LEAST, rounded(found))))
    off = min(MOST, max(-MOST, rounded((learned.full - found) * slope)))
    full = learned.full + _weight(learned, seen, abs(off)) * (found - learned.full)
    noise = rounded(learned.noise + (min(LOUDEST, abs(off - learned.off)) - learned.noise) / 8)
    return replace(learned, full=min(MOST, max(LEAST, rounded(full))), off=off, noise=noise)


def _weight(learned: Learned, seen: load_curve.Observed, surprise: Fraction) -> Fraction:
    """Return the weight of a point: higher the more it differs from the estimate, and lower the noisier the metric is."""
    least = Fraction(1, 4) / (1 + 4 * learned.noise)
    if not seen.steady:
        return least / 2
    return min(Fraction(1), max(least, surprise - 2 * learned.noise))


def is_idle(learned: Learned, seen: load_curve.Observed) -> bool:
    """Return whether the ratio is no higher than with an empty queue."""
    return seen.point.ratio <= idle(learned)


def idle(learned: Learned) -> Fraction:
    """Return the highest ratio that an empty queue may have."""
    return max(FLAT, min(learned.base or Fraction(0), GOAL - NEARLY) + NEARLY)


def is_draining(learned: Learned, seen: load_curve.Observed) -> bool:
    """Return whether far more is in flight than the cap allows: a backlog drains, or nothing can leave. Such samples say little about the cap."""
    return learned.cap is not None and seen.point.in_flight > DRAINING * learned.cap + 1
