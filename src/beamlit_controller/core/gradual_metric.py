"""Metrics that show every request, such as slots in use, a cache, a CPU or the time that requests take.

A queue is empty until everything is busy, so its curve has to be learned to tell where it rises. These metrics have a value
at any load, and a mean of it that is above or below the target by so much tells at once by how much the cap is off. A
single sample may be far from that mean: only as many samples as outweigh the noise move the cap.
"""

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from math import isqrt

from beamlit_controller.core.adaptive_state import GRAIN, LEAST, MOST, MOST_FALLS, Learned, Mean, Point, thousandths
from beamlit_controller.core.load_curve import Observed

GRADUAL = Fraction(35, 100)
"""From so much of what a straight line from zero to the target has at a lower load, a metric shows every request."""
LOWER = Fraction(60, 100)
"""A load is lower up to this part of the one that it is held against."""
RISING, FALLING = 12, 4
"""One of so many samples decides. A queue that is empty at a lower load says more than one that is not."""
LOUDEST = Fraction(2)
"""A higher ratio counts as this one: a single request that takes very long says little of the others."""
TELLING = Fraction(10, 100)
AIM = Fraction(97, 100)
BAND = Fraction(4, 100)
"""The cap stays while the mean is this near to the aim."""
LONGEST_RISE = Fraction(15, 10)
LEAST_FALL = Fraction(106, 100)
MOST_PACE = timedelta(seconds=60)
FEW, SOME = 2, 3
FLAT = Fraction(2, 100)
"""Samples that differ by less are at the metric's maximum."""
STRAIGHT = Fraction(25, 100)
SPARED = Fraction(9, 10)


def pace(learned: Learned) -> timedelta:
    """Return the time that a request takes, by what was in flight and finished lately (Little's law)."""
    served = sum(each.served for each in learned.recent)
    held = sum(
        float(each.in_flight) * each.ready * (each.until - each.since).total_seconds() for each in learned.recent
    )
    return min(MOST_PACE, timedelta(seconds=held / served)) if served else timedelta(0)


def noted(learned: Learned, seen: Observed) -> Learned:
    """Add a sample to what is known of the metric: whether it shows every request, its noise, and its mean under this cap."""
    point = replace(seen.point, ratio=min(LOUDEST, seen.point.ratio))
    return replace(
        learned,
        height=_height(learned, point),
        latest=point.ratio,
        jitter=_jitter(learned, point),
        any_load=learned.any_load.with_(point),
        full_load=learned.full_load.with_(point) if seen.bound else learned.full_load,
        streak=learned.streak.with_(point) if point.ratio > 1 else Mean(),
        fair=learned.fair.with_(point) if TELLING <= point.ratio <= 1 else learned.fair,
    )


def _jitter(learned: Learned, point: Point) -> Fraction:
    """Return by how much samples differ that were taken at about the same load."""
    known, mean = learned.jitter, learned.any_load
    alike = abs(point.in_flight - mean.in_flight) <= max(Fraction(1), mean.in_flight / 2)
    if learned.latest is None or (mean.count >= SOME and not alike):
        return known
    off = abs(point.ratio - (mean.ratio if mean.count >= SOME else learned.latest))
    return min(MOST, thousandths(known + (off * Fraction(8, 10) - known) / 8))


def is_gradual(learned: Learned) -> bool:
    """Return whether the metric shows every request, as far as was seen."""
    return learned.height is not None and learned.height >= GRADUAL


def _height(learned: Learned, point: Point) -> Fraction | None:
    """Return how high the metric is at a lower load, 1 being a straight line from zero."""
    calm, cap = learned.calm, learned.cap
    against = calm if cap is None or (calm is not None and calm.in_flight > cap) else Point(cap, Fraction(1))
    if against is None or against.ratio < TELLING or not 0 < point.in_flight <= LOWER * against.in_flight:
        return learned.height
    if point.ratio > 1:
        return learned.height
    height = min(Fraction(3, 2), (point.ratio / point.in_flight) / (against.ratio / against.in_flight))
    known = learned.height or Fraction(0)
    return thousandths(known + (height - known) / (RISING if height > known else FALLING))


def is_over(learned: Learned) -> bool:
    """Return whether the samples over the target since the last one that was not outweigh the noise."""
    return learned.streak.count * (learned.streak.ratio - 1) > 2 * learned.jitter


def first(cap: Fraction, learned: Learned) -> Fraction:
    """Return the first cap: not much below what was well, and where a metric in proportion to the load meets its target."""
    least = Fraction(0) if learned.calm is None else learned.calm.in_flight * SPARED
    return max(min(cap, _straight(learned, learned.streak) or cap), least)


def wanted(cap: Fraction, learned: Learned, seen: Observed) -> tuple[Fraction, Learned]:
    """Return the cap that the mean suggests, if it is clearly off."""
    if not seen.bound:
        clearly = learned.streak.count >= SOME and learned.streak.ratio > 1 + 3 * _spread(learned, seen.point)
        return _lowered(cap, learned, learned.streak) if clearly else (cap, learned)
    mean = learned.full_load
    unsure = max(BAND, 2 * _unsure(mean, learned))
    if mean.ratio > AIM + unsure and mean.count >= FEW:
        return _lowered(cap, learned, mean)
    taught = replace(learned, over=None, falls=0)
    if mean.ratio >= AIM - unsure:
        return cap, taught if mean.ratio <= 1 else learned
    rise = LONGEST_RISE if not mean.ratio else min(LONGEST_RISE, AIM / mean.ratio)
    return max(cap, min(cap, mean.in_flight + Fraction(1, 2)) * rise), taught


def _spread(learned: Learned, point: Point) -> Fraction:
    """Return by how much the samples over the target may be off: little, if one is as high as the other, as at a metric's maximum."""
    flat = abs(point.ratio - learned.streak.ratio) <= FLAT
    return FLAT if flat else _unsure(learned.streak, learned)


def _lowered(cap: Fraction, learned: Learned, mean: Mean) -> tuple[Fraction, Learned]:
    """Lower the cap in proportion; further if the last fall changed nothing: a metric that is at its maximum stays there."""
    stays = learned.over is not None and mean.ratio >= learned.over * Fraction(98, 100)
    falls = min(learned.falls + 1, MOST_FALLS) if stays else 0
    least = max(mean.ratio / AIM, LEAST_FALL) ** min(2**falls, 4)
    level = min(cap, mean.in_flight)
    lowered = max(level / min(least, Fraction(2)), _between(learned, mean))
    lowered = min(lowered, _straight(learned, mean) or level)
    taught = replace(learned, climbs=0, falls=falls, over=min(mean.ratio, MOST))
    return min(cap, max(LEAST, lowered)), taught


def _between(learned: Learned, mean: Mean) -> Fraction:
    """Return where a metric that rises ever faster meets its target at the least, by what was well before; 0 if that may be no longer true."""
    fair = learned.fair
    if learned.over is not None or fair.count < SOME or not fair.in_flight < mean.in_flight or mean.ratio <= 1:
        return Fraction(0)
    return fair.in_flight + (1 - fair.ratio) / (mean.ratio - fair.ratio) * (mean.in_flight - fair.in_flight)


def _straight(learned: Learned, mean: Mean) -> Fraction | None:
    """Return where a metric meets its target that is in proportion to the load and now at its maximum, such as slots in use."""
    fair, height = learned.fair, learned.height or Fraction(0)
    if fair.count < SOME or not fair.in_flight or abs(height - 1) > STRAIGHT:
        return None
    chord = fair.ratio / fair.in_flight
    return 1 / chord if mean.ratio < chord * mean.in_flight * SPARED else None


def _unsure(mean: Mean, learned: Learned) -> Fraction:
    """Return by how much a mean may be off because of the noise."""
    return learned.jitter / _root(_apart(mean.count, learned))


def _apart(count: int, learned: Learned) -> Fraction:
    """Return how many of the samples tell something of their own: requests that take long are seen in several."""
    lasted = learned.recent[-1].until - learned.recent[0].since if learned.recent else GRAIN
    spacing = max(GRAIN, lasted / max(1, len(learned.recent)))
    return max(
        Fraction(1), count * min(Fraction(1), Fraction(spacing / (spacing + pace(learned))).limit_denominator(1000))
    )


def _root(number: Fraction) -> Fraction:
    return Fraction(isqrt(round(1_000_000 * number)), 1000)
