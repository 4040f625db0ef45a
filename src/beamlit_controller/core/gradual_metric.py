"""Metrics that rise with every request, in Adaptive mode: busy slots, cache usage, CPU, or the duration of requests.

A queue is empty until the servers are saturated, so its curve has to be learned. A gradual metric has a value at any
load, so the ratio of its mean to the target tells directly by how much the cap is off. Single samples are noisy: the
cap is changed only once the number of samples outweighs the noise.
"""

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from math import isqrt

from beamlit_controller.core import metric_kind
from beamlit_controller.core.adaptive_state import LEAST, MOST, MOST_FALLS, Learned, Mean, Point, thousandths
from beamlit_controller.core.in_flight_span import GRAIN
from beamlit_controller.core.load_curve import Observed
from beamlit_controller.core.metric_kind import FLAT, SOME, SPARED, STRAIGHT, TELLING

LOUDEST = Fraction(2)
"""Higher ratios are clamped to this one: a single very long request says little about the others."""
AIM = Fraction(97, 100)
BAND = Fraction(3, 100)
"""The cap stays while the mean is within this distance of the aim."""
LONGEST_RISE = Fraction(15, 10)
LEAST_FALL = Fraction(106, 100)
MOST_PACE = timedelta(seconds=120)
FEW = 2
KNOWN = 8
"""The number of samples from which a metric may count as proportional to the number in flight."""
CLOSE, CLOSER = Fraction(15, 100), Fraction(60, 100)
"""It is if samples differ from that by no more than `CLOSE`, and by no more than `CLOSER` of the difference to anything else."""
CHANGED = 4
"""After so many samples in a row that differ from the mean on the same side, the servers changed."""
FARTHER = Fraction(12, 100)
"""The cap follows at once if it is off by more than this fraction."""
STUCK = 2
"""After this many reductions that did not lower the mean, the cap may fall below what was within the target before."""


def pace(learned: Learned) -> timedelta:
    """Return the duration of a request, from the requests lately in flight and finished (Little's law)."""
    served = sum(each.served for each in learned.recent)
    held = sum(
        float(each.in_flight) * each.ready * (each.until - each.since).total_seconds() for each in learned.recent
    )
    return min(MOST_PACE, timedelta(seconds=held / served)) if served else timedelta(0)


def noted(learned: Learned, seen: Observed, *, counts: bool = False) -> Learned:
    """Add a sample to the statistics: whether the metric is gradual, its noise, and its mean under this cap.

    A metric that `counts` waiting requests is empty for a while now and then, so a few such samples show no other servers.
    """
    point = replace(seen.point, ratio=min(LOUDEST, seen.point.ratio))
    apart = _apart(learned, point) if seen.bound and not counts else learned.apart
    full_load = learned.full_load.with_(point) if seen.bound else learned.full_load
    if apart.count >= CHANGED:
        apart, full_load = Mean(), apart
    return replace(
        learned,
        height=metric_kind.height(learned, seen.point, bound=seen.bound),
        latest=point.ratio,
        jitter=learned.jitter if apart.count else _jitter(learned, point),
        any_load=learned.any_load.with_(point),
        full_load=full_load,
        apart=apart,
        streak=learned.streak.with_(point) if point.ratio > 1 else Mean(),
        fair=learned.fair.with_(point) if TELLING <= point.ratio <= 1 else learned.fair,
    )


def _apart(learned: Learned, point: Point) -> Mean:
    """Count the samples in a row that differ from the mean by more than the noise: the servers changed."""
    mean, apart = learned.full_load, learned.apart
    off = point.ratio - mean.ratio
    if mean.count < 2 * SOME or abs(off) <= max(2 * BAND, 3 * learned.jitter):
        return Mean()
    same = apart.count and (apart.ratio > mean.ratio) == (off > 0)
    return apart.with_(point) if same else Mean().with_(point)


def _jitter(learned: Learned, point: Point) -> Fraction:
    """Return by how much samples taken at about the same load differ."""
    known, mean = learned.jitter, learned.any_load
    alike = abs(point.in_flight - mean.in_flight) <= max(Fraction(1), mean.in_flight / 2)
    if learned.latest is None or (mean.count >= SOME and not alike):
        return known
    if mean.count < SOME or not mean.in_flight:
        off = abs(point.ratio - (mean.ratio if mean.count >= SOME else learned.latest))
    else:
        off = min(abs(point.ratio - mean.ratio), abs(point.ratio - mean.ratio * point.in_flight / mean.in_flight))
    return min(MOST, thousandths(known + (off * Fraction(10, 8) - known) / 8))


def is_over(learned: Learned) -> bool:
    """Return whether the current streak of samples over the target outweighs the noise."""
    return learned.streak.count * (learned.streak.ratio - 1) > 2 * learned.jitter


def first(cap: Fraction, learned: Learned) -> Fraction:
    """Return the first cap: not much below what was within the target before, and no higher than where a straight line reaches it."""
    least = Fraction(0) if learned.calm is None else learned.calm.in_flight * SPARED
    return max(min(cap, _proportional(learned, learned.streak) or cap), least)


def wanted(cap: Fraction, learned: Learned, seen: Observed) -> tuple[Fraction, Learned]:
    """Return the cap that the mean suggests, and the updated state. The cap stays if the difference is within the noise."""
    if not seen.bound:
        clearly = learned.streak.count >= SOME and learned.streak.ratio > 1 + 3 * _spread(learned, seen.point)
        return _lower(cap, learned, learned.streak) if clearly else (cap, learned)
    mean = learned.full_load
    level = _level(cap, learned)
    if level is not None and mean.count >= FEW and abs(level - cap) > cap * FARTHER:
        return max(cap / 2, min(cap * LONGEST_RISE, level)), replace(learned, over=None, falls=0)
    unsure, aim = max(BAND, 2 * uncertainty(mean, learned)), _aim(learned)
    if mean.ratio > aim + unsure and mean.count >= FEW:
        return _lower(cap, learned, mean)
    taught = replace(learned, over=None, falls=0)
    if mean.ratio >= aim - unsure:
        return cap, taught if mean.ratio <= 1 else learned
    rise = LONGEST_RISE if not mean.ratio else min(LONGEST_RISE, aim / mean.ratio)
    return max(cap, min(cap, mean.in_flight + Fraction(1, 2)) * rise), taught


def _aim(learned: Learned) -> Fraction:
    """Return the ratio that the cap aims at: the target itself if the metric can hardly exceed it, else slightly less."""
    return Fraction(1) if is_straight(learned) or learned.maximum is not None else AIM


def is_straight(learned: Learned) -> bool:
    """Return whether the metric is proportional to the load, until it reaches its maximum."""
    return learned.height is not None and abs(learned.height - 1) <= STRAIGHT


def _level(cap: Fraction, learned: Learned) -> Fraction | None:
    """Return the cap for a metric that is proportional to the number in flight; None for others.

    The mean number in flight is slightly lower than the cap.
    """
    known, others = learned.by_level, (learned.by_duration, learned.by_nothing)
    if known.count < KNOWN or known.off > CLOSE or any(known.off > CLOSER * each.off for each in others):
        return None
    mean = learned.full_load
    below = min(max(Fraction(0), cap - mean.in_flight), cap / 10 + Fraction(1, 2))
    return known.value * _aim(learned) + below


def _spread(learned: Learned, point: Point) -> Fraction:
    """Return the uncertainty of the streak over the target; it is small if its samples are equal, as those of a saturated metric are."""
    flat = abs(point.ratio - learned.streak.ratio) <= FLAT
    return FLAT if flat else uncertainty(learned.streak, learned)


def _lower(cap: Fraction, learned: Learned, mean: Mean) -> tuple[Fraction, Learned]:
    """Lower the cap in proportion to the mean; further if the previous reduction changed nothing, as with a metric at its maximum."""
    stays = learned.over is not None and mean.ratio >= learned.over * Fraction(98, 100)
    falls = min(learned.falls + 1, MOST_FALLS) if stays else 0
    least = max(mean.ratio / _aim(learned), LEAST_FALL) ** min(2**falls, 4)
    level = min(cap, mean.in_flight)
    lowered = max(level / min(least, Fraction(2)), _interpolated(learned, mean))
    lowered = max(min(lowered, _proportional(learned, mean) or level), _floor(learned, mean, falls))
    taught = replace(learned, climbs=0, falls=falls, over=min(mean.ratio, MOST))
    return min(cap, max(LEAST, lowered)), taught


def _floor(learned: Learned, mean: Mean, falls: int) -> Fraction:
    """Return a number in flight that was within the target before: a floor for the first reductions, unless the metric is at its maximum."""
    known = falls <= STUCK and learned.fair.count >= SOME
    at_maximum = metric_kind.is_at_maximum(learned, Point(mean.in_flight, mean.ratio))
    return learned.fair.in_flight * SPARED if known and not at_maximum else Fraction(0)


def _interpolated(learned: Learned, mean: Mean) -> Fraction:
    """Return a lower bound for the number in flight at which a convex curve reaches the target, by interpolation; 0 if unknown."""
    fair = learned.fair
    if learned.over is not None or fair.count < SOME or not fair.in_flight < mean.in_flight or mean.ratio <= 1:
        return Fraction(0)
    return fair.in_flight + (1 - fair.ratio) / (mean.ratio - fair.ratio) * (mean.in_flight - fair.in_flight)


def _proportional(learned: Learned, mean: Mean) -> Fraction | None:
    """Return where a metric that is proportional to the load, such as busy slots, but now at its maximum, would reach the target. None for others."""
    fair, height = learned.fair, learned.height or Fraction(0)
    if fair.count < SOME or not fair.in_flight or abs(height - 1) > STRAIGHT:
        return None
    chord = fair.ratio / fair.in_flight
    return 1 / chord if mean.ratio < chord * mean.in_flight * SPARED else None


def uncertainty(mean: Mean, learned: Learned) -> Fraction:
    """Return the uncertainty of a mean due to noise."""
    return learned.jitter / _square_root(_independent(mean.count, learned))


def _independent(count: int, learned: Learned) -> Fraction:
    """Return the number of independent samples: a long request is seen by several samples."""
    lasted = learned.recent[-1].until - learned.recent[0].since if learned.recent else GRAIN
    spacing = max(GRAIN, lasted / max(1, len(learned.recent)))
    return max(
        Fraction(1), count * min(Fraction(1), Fraction(spacing / (spacing + pace(learned))).limit_denominator(1000))
    )


def _square_root(number: Fraction) -> Fraction:
    return Fraction(isqrt(round(1_000_000 * number)), 1000)
