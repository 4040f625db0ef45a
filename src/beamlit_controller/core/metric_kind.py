"""The kind of a metric, as far as its samples tell: how it rises with the load, and whether it has a maximum.

A queue is empty and the time to first byte is flat until the servers are saturated, then both are steep. Busy slots,
cache usage and CPU are proportional to the load, and stop at a maximum. The duration of requests is between the two.
"""

from dataclasses import replace
from fractions import Fraction

from beamlit_controller.core.adaptive_state import Learned, Point, thousandths
from beamlit_controller.core.load_curve import fits, is_known

GRADUAL = Fraction(60, 100)
"""The ratio at a slightly lower load, relative to a straight line through zero, from which a metric counts as gradual."""
LOWEST, LOWER = Fraction(50, 100), Fraction(85, 100)
"""A load counts as slightly lower between these fractions of the load that it is compared with."""
RISING, FALLING = 12, 4
"""Divisors by which `height` follows higher and lower samples: an empty queue at a lower load is the stronger evidence."""
TELLING = Fraction(10, 100)
"""The ratio from which a metric counts as having a value at any load."""
NONE = Fraction(2, 100)
"""A ratio up to this means that nothing waits."""
SATURATED = Fraction(15, 10)
"""The highest ratio that a metric at its maximum can have, since nobody sets the target far below the maximum."""
FLAT = Fraction(2, 100)
"""The metric is at its maximum within this distance of it."""
SAME, DIFFERENT = Fraction(5, 1000), Fraction(10, 100)
"""Two samples show a maximum if they differ by no more than `SAME`, and their numbers in flight by `DIFFERENT`, a fraction."""
STRAIGHT = Fraction(25, 100)
"""A metric is proportional to the load if its height differs from 1 by no more than this."""
FLAT_FIRST = Fraction(30, 100)
"""The height up to which a metric is flat first and then steep."""
STEEP = Fraction(2)
"""A metric is steep if its ratio over the target is above a straight line through zero by more than this factor."""
SPARED = Fraction(9, 10)
"""The part of a number in flight, or of a ratio, that counts as clearly as much."""
SOME = 3
"""The number of samples from which a mean says something."""


def is_gradual(learned: Learned) -> bool:
    """Return whether the metric rises with every request, as far as observed."""
    if learned.height is None:
        return learned.base is not None and learned.base > TELLING
    return learned.height >= GRADUAL and (learned.base is None or learned.base > NONE)


def is_steep(learned: Learned) -> bool:
    """Return whether the metric is steep once the servers are saturated, and its curve is known."""
    return learned.height is not None and learned.height <= FLAT_FIRST and is_known(learned)


def idle(learned: Learned) -> Fraction:
    """Return the ratio up to which nothing waits: hardly more than at low loads."""
    base = learned.base or Fraction(0)
    return base + max(NONE, base / 4)


def with_maximum(learned: Learned, point: Point) -> Learned:
    """Note the maximum of a metric: over the target, its ratio stays the same though the number in flight changes.

    A metric that is then far below a straight line through zero is proportional to the load up to its maximum.
    """
    last, fair, maximum = learned.last, learned.fair, learned.maximum
    if maximum is not None and point.ratio > maximum + FLAT:
        maximum = None
    if last is not None and 1 < point.ratio <= SATURATED:
        differs = abs(point.in_flight - last.in_flight) >= DIFFERENT * point.in_flight
        if differs and abs(point.ratio - last.ratio) <= SAME:
            maximum = max(point.ratio, last.ratio)
    below = fair.count >= SOME and point.ratio * fair.in_flight < SPARED * fair.ratio * point.in_flight
    at = is_at_maximum(replace(learned, maximum=maximum), point)
    return replace(learned, maximum=maximum, height=Fraction(1) if at and below else learned.height)


def is_at_maximum(learned: Learned, point: Point) -> bool:
    """Return whether the metric is at its maximum."""
    return learned.maximum is not None and 1 < point.ratio >= learned.maximum - FLAT


def height(learned: Learned, point: Point, *, bound: bool) -> Fraction | None:
    """Return the ratio at a slightly lower load relative to a straight line through zero; 1 is proportional to the load.

    A metric that is flat first and then steep, such as the time to first byte, is far below the line there, and far
    above it over the target. `bound` is true if the cap was reached: only then the ratio belongs to this load.
    """
    if (bound or _is_reached(learned, point)) and _is_steep(learned, point):
        return Fraction(0)
    calm, cap = learned.calm, fits(learned)
    against = calm if cap is None or (calm is not None and calm.in_flight > cap) else Point(cap, Fraction(1))
    if against is None or against.ratio < TELLING or not point.in_flight or point.ratio > 1:
        return learned.height
    if point.in_flight > LOWER * against.in_flight:
        return learned.height
    found = (point.ratio / point.in_flight) / (against.ratio / against.in_flight)
    if point.in_flight < LOWEST * against.in_flight:
        return _followed(learned, found) if abs(found - 1) <= STRAIGHT else learned.height
    is_flat = against is calm and 2 * found > 1 + against.in_flight / point.in_flight
    return learned.height if is_flat else _followed(learned, found)


def _is_reached(learned: Learned, point: Point) -> bool:
    """Return whether as many requests are in flight as the cap allows."""
    return learned.cap is not None and abs(point.in_flight - learned.cap) <= learned.cap * DIFFERENT


def _is_steep(learned: Learned, point: Point) -> bool:
    """Return whether the ratio is so far above a straight line through zero that it can't be noise."""
    fair = learned.fair
    if fair.count < SOME or point.ratio <= 1:
        return False
    line = fair.ratio * point.in_flight / (fair.in_flight or 1)
    return point.ratio > STEEP * line + 3 * learned.jitter


def _followed(learned: Learned, height: Fraction) -> Fraction:
    found = min(Fraction(3, 2), height)
    known = found if learned.height is None else learned.height
    return thousandths(known + (found - known) / (RISING if found > known else FALLING))
