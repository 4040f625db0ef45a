"""How many local requests may be in flight per ready replica, learned from a metric that is late.

Each sample of the metric, with the requests that were in flight while it was taken, is a point of the curve that the
servers have: how the ratio grows with what is in flight. The cap goes to where that curve meets the target.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction

from beamlit_controller.core.learned import (
    GRAIN,
    LEAST,
    MOST,
    MOST_CLIMBS,
    MOST_FALLS,
    InFlightSpan,
    Learned,
    Point,
    RatioSample,
    rounded,
)

NEAR = timedelta(seconds=10)
"""A sample that was taken after the gateways were asked last is held against that, if it is so near."""
REST = timedelta(seconds=15)
"""Between two changes of the cap, however fresh the metric is."""
GOAL = Fraction(70, 100)
SLACK = Fraction(30, 100)
LOW = Fraction(80, 100)
FLAT = Fraction(15, 100)
RISES = Fraction(30, 100)
STEEPER = Fraction(108, 100)
STEEP = 2
LOW_WHERE_STEEP = Fraction(45, 100)
CLEARLY = Fraction(12, 10)
FIRST_STEP = Fraction(10, 100)
LONGEST_STEP = Fraction(25, 100)
LEAST_FALL = Fraction(11, 10)


def follow(learned: Learned, sample: RatioSample, now: datetime) -> Learned:
    """Learn from a sample: the cap that follows is in what is given back."""
    if learned.judged_until is not None and sample.until <= learned.judged_until:
        return learned
    levels = _levels(sample, learned.recent)
    looked = replace(learned, judged_until=sample.until)
    if not levels:
        return looked
    point = _point(sample, levels)
    noted = _noted(looked, point)
    if learned.cap is None:
        return (
            _changed(noted, _first(learned.calm, _at_most(point, sample, levels)), now) if sample.ratio > 1 else noted
        )
    if learned.changed_at is not None and (sample.since < learned.changed_at or now - learned.changed_at < REST):
        return noted
    bound = any(each.overflowed for each in _within(sample, learned.recent) or _before(sample, learned.recent))
    wanted, taught = _wanted(learned.cap, noted, point, bound=bound, levels=levels)
    return _changed(taught, wanted, now)


def _changed(learned: Learned, cap: Fraction, now: datetime) -> Learned:
    cap = min(MOST, max(LEAST, rounded(cap)))
    return learned if cap == learned.cap else replace(learned, cap=cap, changed_at=now)


def _within(sample: RatioSample, recent: tuple[InFlightSpan, ...]) -> tuple[InFlightSpan, ...]:
    return tuple(each for each in recent if each.until > sample.since and each.since < sample.until)


def _levels(sample: RatioSample, recent: tuple[InFlightSpan, ...]) -> tuple[Fraction, ...]:
    """Give what was in flight during a sample, at the ends of the times that were looked at; one that is short has its surroundings."""
    ended = tuple(each for each in recent if sample.since <= each.until <= sample.until + GRAIN)
    return tuple(each.in_flight for each in ended or _before(sample, recent))


def _before(sample: RatioSample, recent: tuple[InFlightSpan, ...]) -> tuple[InFlightSpan, ...]:
    """Give the last time that ended shortly before a sample, as one that was measured in the very round that judges it."""
    return tuple(each for each in recent if sample.since - NEAR <= each.until < sample.since)[-1:]


def _point(sample: RatioSample, levels: tuple[Fraction, ...]) -> Point:
    return Point(rounded(sum(levels, Fraction(0)) / len(levels)), Fraction(round(sample.ratio * 1000), 1000))


def _noted(learned: Learned, point: Point) -> Learned:
    """Remember a point of the curve, and what it tells of the slope together with the one before."""
    slope = _sloping(learned.slope, learned.last, point)
    return replace(learned, last=point, slope=slope, calm=_calmer(learned.calm, point))


def _sloping(slope: Fraction | None, last: Point | None, point: Point) -> Fraction | None:
    """Give the slope with what two points tell that are both where the curve rises, and not too near to each other.

    Two that are far apart count most, of two others the steeper one: samples that cover a change look flatter than it is.
    """
    if last is None or min(last.ratio, point.ratio) < RISES:
        return slope
    across, up = point.in_flight - last.in_flight, point.ratio - last.ratio
    if abs(across) < max(Fraction(1), point.in_flight / 20) or abs(up) <= Fraction(1, 10) or up / across <= 0:
        return slope
    found = up / across
    if slope is not None:
        far = abs(across) >= point.in_flight / 5
        weight = Fraction(1, 2) if far else Fraction(1, 4) if found > slope else Fraction(1, 10)
        found = slope + weight * (found - slope)
    return max(Fraction(1, 10_000), min(Fraction(round(found * 10_000), 10_000), MOST))


def _calmer(calm: Point | None, point: Point) -> Point | None:
    """Give the highest number in flight that was well; an old one counts less and less."""
    if point.ratio > 1:
        return calm
    if calm is None or point.in_flight >= calm.in_flight * Fraction(9, 10):
        return point
    return replace(calm, in_flight=rounded(calm.in_flight * Fraction(97, 100)))


def _at_most(point: Point, sample: RatioSample, levels: tuple[Fraction, ...]) -> Point:
    """Take the highest number in flight around a sample of a moment: which of them it saw can't be told."""
    momentary = sample.until - sample.since < GRAIN
    return replace(point, in_flight=max(levels)) if momentary else point


def _first(calm: Point | None, point: Point) -> Fraction:
    """Give the first cap: between what was well and what is too much, where the target is on the way.

    A curve that is flat at first and then steep meets its target later than a straight line, but not much later than twice.
    """
    root = Fraction(round(1000 * float(point.ratio) ** (1 / 3)), 1000)
    if calm is None or calm.in_flight >= point.in_flight or calm.ratio >= point.ratio:
        return point.in_flight / root
    part = (1 - calm.ratio) / (point.ratio - calm.ratio)
    straight = calm.in_flight + part * (point.in_flight - calm.in_flight)
    bent = point.in_flight / root if point.ratio > CLEARLY else straight
    return min(max(straight, bent), 2 * straight)


def _wanted(
    cap: Fraction, learned: Learned, point: Point, *, bound: bool, levels: tuple[Fraction, ...]
) -> tuple[Fraction, Learned]:
    """Give the cap that a sample speaks for, and what it taught."""
    if learned.slope is None:
        return _blindly(cap, learned, point, bound=bound)
    slope = max(learned.slope, point.ratio / (max(levels) or 1))
    knee = _knee(levels, point.ratio / slope)
    aim = _aim(knee, slope)
    if point.ratio > 1:
        aim = _aim(_knee(levels, point.ratio / (slope * STEEPER)), slope * STEEPER)
        return _lowered(cap, learned, point, aim) if aim < cap else (cap, learned)
    learned = replace(learned, over=None, falls=0)
    if bound and point.ratio <= FLAT and knee >= cap - GOAL / slope / 2:
        return _raised(cap, learned, cap + 2**learned.climbs / slope)
    if (
        bound
        and point.ratio < (LOW if slope * cap < STEEP else LOW_WHERE_STEEP)
        and aim > cap + min(SLACK / slope, max(cap / 20, Fraction(1, 4)))
    ):
        return _raised(cap, learned, aim)
    return cap, learned


def _aim(knee: Fraction, slope: Fraction) -> Fraction:
    """Give the number in flight that is a little below the one at which the metric is at its target."""
    full = knee + 1 / slope
    return full - min((1 - GOAL) / slope, full / 25)


def _lowered(cap: Fraction, learned: Learned, point: Point, aim: Fraction) -> tuple[Fraction, Learned]:
    """Lower the cap, at first no further than if the ratio went with it; further each time that the ratio stayed."""
    stuck = learned.over is not None and abs(point.ratio / learned.over - 1) <= Fraction(1, 10)
    falls = min(learned.falls + 1, MOST_FALLS) if stuck else 0
    least = cap / min(max(point.ratio, LEAST_FALL) ** (2**falls), Fraction(3))
    return max(least, aim), replace(learned, climbs=0, falls=falls, over=min(point.ratio, MOST), top=cap)


def _raised(cap: Fraction, learned: Learned, wanted: Fraction) -> tuple[Fraction, Learned]:
    """Raise the cap in longer and longer steps, but towards one that was too high only by halves, each time less so."""
    top = learned.top if learned.top is not None and learned.top > cap * Fraction(21, 20) else None
    highest = MOST if top is None else (cap + top) / 2
    climbed = replace(
        learned,
        climbs=min(learned.climbs + 1, MOST_CLIMBS),
        top=None if top is None else min(MOST, rounded(top * Fraction(11, 10))),
    )
    return min(wanted, cap + _stride(cap, learned), highest), climbed


def _blindly(cap: Fraction, learned: Learned, point: Point, *, bound: bool) -> tuple[Fraction, Learned]:
    """Go by the ratio alone while the slope is not known."""
    if point.ratio > 1:
        draining = point.in_flight > cap * Fraction(105, 100) + Fraction(1, 2)
        return (cap, learned) if draining else _lowered(cap, learned, point, Fraction(0))
    learned = replace(learned, over=None, falls=0)
    if not bound or point.ratio >= LOW or point.in_flight < cap * Fraction(85, 100) - Fraction(1, 2):
        return cap, learned
    return _raised(cap, learned, MOST)


def _stride(cap: Fraction, learned: Learned) -> Fraction:
    return cap * min(LONGEST_STEP, FIRST_STEP * Fraction(3, 2) ** learned.climbs) + Fraction(1, 4)


def _knee(levels: tuple[Fraction, ...], waiting: Fraction) -> Fraction:
    """Give the number in flight from which the ratio grows, if so many above it, in the mean, make the ratio that was seen."""
    ordered = sorted(levels, reverse=True)
    above = Fraction(0)
    for count, (level, following) in enumerate(zip(ordered, [*ordered[1:], Fraction(0)], strict=True), 1):
        above += level
        knee = (above - waiting * len(levels)) / count
        if knee >= following:
            return knee
    return max(Fraction(0), (above - waiting * len(levels)) / len(levels))
