"""The servers' load curve: the ratio of a metric to its target, as a function of the number of requests in flight.

A sample of the metric, paired with the requests that were in flight while it was taken, is a point of the curve.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from fractions import Fraction

from beamlit_controller.core.adaptive_state import MOST, Learned, Point, RatioSample, rounded, thousandths
from beamlit_controller.core.in_flight_span import GRAIN, InFlightSpan

SETTLES = timedelta(seconds=3)
"""Time in which the number in flight follows a change of the cap."""
BACKLOG = 2
"""A backlog: more than so many times the cap is in flight when the cap changes."""
TRAILS = timedelta(seconds=5)
"""Time that a mean over recent requests trails behind them."""
LONG = timedelta(seconds=15)
"""A sample that covers at least this time is steady, however much the number in flight varied."""
EMPTY = Fraction(30, 100)
"""A metric whose value at low loads is no higher may be a queue, and its estimate is known."""
LOW = Fraction(70, 100)
"""Up to this fraction of the cap in flight, hardly any request waits."""
LOWERING, RAISING = 4, 16
"""`base` moves by 1/`LOWERING` of the difference towards a lower ratio, by 1/`RAISING` towards a higher one."""
RISES = Fraction(30, 100)
PEAKED = Fraction(10, 100)
"""The part of the requests that was turned away, above which the number in flight was at the cap for a while."""
STEADY = Fraction(30, 100)
"""The largest variation of the number in flight, as a fraction, during a steady sample."""


@dataclass(frozen=True, slots=True)
class Observed:
    """A sample paired with the requests in flight.

    `point` is the resulting point of the curve, and `levels` are the numbers in flight that it is a mean of. `steady`
    is true if they hardly varied, and `bound` if the cap turned requests away meanwhile. It `peaked` if that happened
    often enough for the cap to have been reached for a part of the sample, however low the mean is.
    """

    point: Point
    levels: tuple[Fraction, ...]
    steady: bool
    bound: bool
    peaked: bool = False


def observed(sample: RatioSample, learned: Learned) -> Observed | None:
    """Pair a sample with the numbers in flight that the gateways reported while it was taken.

    None if the gateways have not reported for that time yet, or if their report has been dropped since.
    """
    ended = _ending_within(sample, learned.recent)
    within = _overlapping(sample, learned.recent)
    levels = tuple(each.in_flight for each in ended) or tuple(each.in_flight for each in within)
    if not levels:
        return None
    bound = any(each.overflowed for each in within)
    mean = sum(levels, Fraction(0)) / len(levels)
    instant = sample.since == sample.until
    pinned = None if instant or unsettled(learned, sample) else _mean_under_cap(learned.cap, within, mean)
    levels = levels if pinned is None else (pinned,)
    spread = max(levels) - min(levels)
    begun = instant or any(each.until <= sample.since for each in learned.recent)
    steady = sample.until - sample.since >= LONG or (begun and spread <= max(Fraction(1), STEADY * max(levels)))
    point = Point(rounded(mean if pinned is None else pinned), Fraction(round(sample.ratio * 1000), 1000))
    return Observed(point, levels, steady, bound, _has_peaked(sample, within))


def _has_peaked(sample: RatioSample, spans: tuple[InFlightSpan, ...]) -> bool:
    """Return whether, in the spans that a sample covers completely, enough requests were turned away for the cap to have been reached for a while.

    False for a sample that is not a mean over its time: a gauge is read at one moment, a time to first byte when requests end.
    """
    if sample.scattered or sample.waited is not None:
        return False
    covered = [each for each in spans if sample.since <= each.since and each.until <= sample.until]
    overflowed, served = sum(each.overflowed for each in covered), sum(each.served for each in covered)
    return overflowed > PEAKED * (overflowed + served)


def _ending_within(sample: RatioSample, recent: tuple[InFlightSpan, ...]) -> tuple[InFlightSpan, ...]:
    """Return the spans that end during a sample or shortly after; for an instant sample the nearest one, once a later one is known."""
    ended = tuple(each for each in recent if sample.since <= each.until <= sample.until + GRAIN)
    if not ended or sample.since < sample.until:
        return ended
    near = (each for each in recent if each.until >= sample.since - GRAIN)
    return (min(near, key=lambda each: abs(each.until - sample.until)),)


def _mean_under_cap(cap: Fraction | None, spans: tuple[InFlightSpan, ...], mean: Fraction) -> Fraction | None:
    """Return the mean number in flight under a cap that turned many requests away, computed from the counts.

    This is more exact than the numbers in flight at the ends of spans. None if few were turned away, or if it
    contradicts these numbers.
    """
    if cap is None or not spans or not all(each.overflowed for each in spans):
        return None
    ready = spans[-1].ready
    served, overflowed = sum(each.served for each in spans), sum(each.overflowed for each in spans)
    level = _level(max(Fraction(1), cap * ready), max(1, served), overflowed) / ready
    near = abs(level - mean) <= max(Fraction(1), mean * Fraction(15, 100))
    return level if 2 * overflowed >= served and near else None


def _level(limit: Fraction, served: int, overflowed: int) -> Fraction:
    """Return the mean number in flight from the numbers of requests finished and turned away at a limit (a birth-death process).

    A fractional limit is enforced by judging a part of the requests by the next higher integer. Far below the limit the
    approximation is negative, so it is bounded at 0.
    """
    whole, part = divmod(limit, 1)
    rarer = Fraction(served, served + overflowed)
    above = part / rarer
    return max(Fraction(0), whole + (above - rarer / (1 - rarer) ** 2) / (above + 1 / (1 - rarer)))


def _overlapping(sample: RatioSample, recent: tuple[InFlightSpan, ...]) -> tuple[InFlightSpan, ...]:
    """Return the spans that overlap a sample; for an instant sample also the span that ends with it."""
    return tuple(
        each
        for each in recent
        if each.since < sample.until and (each.until > sample.since or each.until == sample.until)
    )


def unsettled(learned: Learned, sample: RatioSample, *, settles: timedelta = SETTLES) -> bool:
    """Return whether a sample may cover time before the last change of the cap took effect."""
    return learned.changed_at is not None and sample.since < learned.changed_at + max(settles, SETTLES)


def shows_backlog(learned: Learned, sample: RatioSample) -> bool:
    """Return whether a sample of a metric other than a queue may still include requests that waited before the cap changed.

    Requests that waited in a backlog take long, and a mean over the recent ones shows that for a while after the last of them.
    """
    since, ahead = learned.changed_at, Fraction(0)
    if since is None or learned.cap is None or not learned.recent or learned.recent[0].until > since:
        return False
    for each in learned.recent:
        if each.until < since:
            continue
        if not ahead:
            ahead = each.in_flight * each.ready
            if each.in_flight <= BACKLOG * learned.cap + 1:
                return False
            continue
        ahead -= each.served
        if ahead <= 0:
            return sample.since < each.until + TRAILS
    return True


def noted(learned: Learned, seen: Observed) -> Learned:
    """Record a steady point of the curve, and update the slope by it and the previous one."""
    calm, base = _updated_calm(learned.calm, seen.point), _updated_base(learned, seen.point)
    if not seen.steady:
        return replace(learned, calm=calm, base=base)
    steepness = _updated_slope(learned, seen.point)
    return replace(learned, last=seen.point, slope=steepness, calm=calm, base=base)


def _updated_slope(learned: Learned, point: Point) -> Fraction | None:
    """Update the slope by two points that are far enough apart.

    The curve is flat first and then rises: a line that starts in the flat part is less steep than the rising part, so
    such a line may only make the estimate steeper.
    """
    slope, last = learned.slope, learned.last
    if last is None:
        return slope
    across, up = point.in_flight - last.in_flight, point.ratio - last.ratio
    if (
        abs(across) < max(Fraction(1, 2), point.in_flight / 20)
        or abs(up) <= max(Fraction(1, 10), 2 * learned.noise)
        or up / across <= 0
    ):
        return slope
    found = min(MOST, max(Fraction(1, 10_000), Fraction(round(up / across * 10_000), 10_000)))
    rising = min(last.ratio, point.ratio) >= RISES
    if slope is None:
        return found if rising else None
    if found < slope and not rising:
        return slope
    far = abs(across) >= point.in_flight / 5
    weight = Fraction(1, 2) if far else Fraction(1, 4) if found > slope else Fraction(1, 10)
    return Fraction(round((slope + weight * (found - slope)) * 10_000), 10_000)


def _updated_calm(calm: Point | None, point: Point) -> Point | None:
    """Return the highest number in flight that was within the target; an old one decays."""
    if point.ratio > 1:
        return calm
    if calm is None or point.in_flight >= calm.in_flight * Fraction(9, 10):
        return point
    return replace(calm, in_flight=rounded(calm.in_flight * Fraction(97, 100)))


def fits(learned: Learned) -> Fraction | None:
    """Return how many fit as far as known: the cap, or fewer if a curve that is empty at low loads reaches the target before."""
    cap, full = learned.cap, learned.full
    return cap if cap is None or full is None or not is_known(learned) else min(cap, full)


def is_known(learned: Learned) -> bool:
    """Return whether the curve of a metric that is empty at low loads was learned, so that a sample over the target tells how many fit."""
    return learned.full is not None and learned.slope is not None and learned.base is not None and learned.base <= EMPTY


def _updated_base(learned: Learned, point: Point) -> Fraction | None:
    """Return the ratio at loads clearly below the cap; it follows falls faster than rises."""
    base, cap = learned.base, fits(learned)
    if base is None and learned.height == 0 and point.ratio <= EMPTY:
        return point.ratio
    if point.ratio > 1 or not point.in_flight or (cap is not None and point.in_flight > cap * LOW):
        return base
    if base is None:
        return point.ratio
    return thousandths(base + (point.ratio - base) / (LOWERING if point.ratio < base else RAISING))


def slope(learned: Learned, seen: Observed) -> Fraction:
    """Return the slope: at least that of the line from zero to the point, because the curve is never less steep there."""
    chord = seen.point.ratio / (max(seen.levels) or 1)
    return max(learned.slope or Fraction(0), chord, Fraction(1, 10_000))


def knee(levels: tuple[Fraction, ...], waiting: Fraction) -> Fraction:
    """Return the number in flight above which requests wait, given the levels of a sample and the mean number waiting."""
    ordered = sorted(levels, reverse=True)
    above = Fraction(0)
    for count, (level, following) in enumerate(zip(ordered, [*ordered[1:], Fraction(0)], strict=True), 1):
        above += level
        knee = (above - waiting * len(levels)) / count
        if knee >= following:
            return knee
    return max(Fraction(0), (above - waiting * len(levels)) / len(levels))
