"""The curve that servers have: how the ratio of a metric grows with what they have in flight.

Each sample, held against the requests that were in flight while it was taken, is a point of it.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from fractions import Fraction

from beamlit_controller.core.adaptive_state import (
    GRAIN,
    MOST,
    InFlightSpan,
    Learned,
    Point,
    RatioSample,
    rounded,
    thousandths,
)

SETTLES = timedelta(seconds=3)
"""What is in flight follows a change of the cap in so much time."""
LONG = timedelta(seconds=15)
"""A sample of so long counts in full, however much what was in flight differed."""
LOW = Fraction(70, 100)
"""With up to this part of the cap in flight, hardly any request waits."""
LOWERING, RAISING = 4, 16
"""What is left where nothing waits follows one in so many samples that are lower, or higher."""
RISES = Fraction(30, 100)
STEADY = Fraction(30, 100)
"""In flight may differ by so much during a sample that counts in full."""


@dataclass(frozen=True, slots=True)
class Observed:
    """A sample beside the requests in flight: the point of the curve, the levels it is the mean of, what they tell of it."""

    point: Point
    levels: tuple[Fraction, ...]
    steady: bool
    bound: bool


def observed(sample: RatioSample, learned: Learned) -> Observed | None:
    """Hold a sample against what was in flight at the ends of the times that were looked at; a short one against its surroundings.

    None if the gateways have not told yet, or no more, what was in flight at its end.
    """
    ended = _ended(sample, learned.recent)
    within = _within(sample, learned.recent)
    levels = tuple(each.in_flight for each in ended) or tuple(each.in_flight for each in within)
    if not levels:
        return None
    bound = any(each.overflowed for each in within)
    mean = sum(levels, Fraction(0)) / len(levels)
    pinned = None if unsettled(learned, sample) else _pinned(learned.cap, within, mean)
    levels = levels if pinned is None else (pinned,)
    spread = max(levels) - min(levels)
    begun = sample.since == sample.until or any(each.until <= sample.since for each in learned.recent)
    steady = sample.until - sample.since >= LONG or (begun and spread <= max(Fraction(1), STEADY * max(levels)))
    point = Point(rounded(mean if pinned is None else pinned), Fraction(round(sample.ratio * 1000), 1000))
    return Observed(point, levels, steady, bound)


def _ended(sample: RatioSample, recent: tuple[InFlightSpan, ...]) -> tuple[InFlightSpan, ...]:
    """Return the times that end while a sample is taken, or soon after; of a moment the one that ends nearest to it, once a later one is known."""
    ended = tuple(each for each in recent if sample.since <= each.until <= sample.until + GRAIN)
    if not ended or sample.since < sample.until:
        return ended
    near = (each for each in recent if each.until >= sample.since - GRAIN)
    return (min(near, key=lambda each: abs(each.until - sample.until)),)


def _pinned(cap: Fraction | None, spans: tuple[InFlightSpan, ...], mean: Fraction) -> Fraction | None:
    """Return what was in flight in the mean under a cap that turned many away: the more came, the nearer to it.

    Two looks at what is in flight say it less exactly. None where they say something else.
    """
    if cap is None or not spans or not all(each.overflowed for each in spans):
        return None
    ready = spans[-1].ready
    served, overflowed = sum(each.served for each in spans), sum(each.overflowed for each in spans)
    level = _level(max(Fraction(1), cap * ready), max(1, served), overflowed) / ready
    near = abs(level - mean) <= max(Fraction(1), mean * Fraction(15, 100))
    return level if 2 * overflowed >= served and near else None


def _level(limit: Fraction, served: int, overflowed: int) -> Fraction:
    """Return the mean of what is in flight where so many were finished and turned away (a birth-death process).

    Where the limit lies between two numbers, the part of the requests that is judged by the higher one brings it there. Far
    below the limit the approximation is below zero, which nothing in flight is.
    """
    whole, part = divmod(limit, 1)
    rarer = Fraction(served, served + overflowed)
    above = part / rarer
    return max(Fraction(0), whole + (above - rarer / (1 - rarer) ** 2) / (above + 1 / (1 - rarer)))


def _within(sample: RatioSample, recent: tuple[InFlightSpan, ...]) -> tuple[InFlightSpan, ...]:
    """Return the times that a sample covers a part of; a moment is part of the time that ends with it."""
    return tuple(
        each
        for each in recent
        if each.since < sample.until and (each.until > sample.since or each.until == sample.until)
    )


def unsettled(learned: Learned, sample: RatioSample, *, settles: timedelta = SETTLES) -> bool:
    """Return whether a sample may still be of the time before the last change, or of the change itself."""
    return learned.changed_at is not None and sample.since < learned.changed_at + max(settles, SETTLES)


def noted(learned: Learned, seen: Observed) -> Learned:
    """Remember a steady point of the curve, and what it tells of the slope together with the one before."""
    calm, base = _calmer(learned.calm, seen.point), _base(learned, seen.point)
    if not seen.steady:
        return replace(learned, calm=calm, base=base)
    steepness = _sloping(learned, seen.point)
    return replace(learned, last=seen.point, slope=steepness, calm=calm, base=base)


def _sloping(learned: Learned, point: Point) -> Fraction | None:
    """Return the slope with what two points tell that are not too near to each other.

    The curve is flat first and then rises: a line from where it may be flat is less steep than the rise, and can only
    make the slope steeper.
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


def _calmer(calm: Point | None, point: Point) -> Point | None:
    """Return the highest number in flight that was well; an old one counts less and less."""
    if point.ratio > 1:
        return calm
    if calm is None or point.in_flight >= calm.in_flight * Fraction(9, 10):
        return point
    return replace(calm, in_flight=rounded(calm.in_flight * Fraction(97, 100)))


def _base(learned: Learned, point: Point) -> Fraction | None:
    """Return the ratio at loads that are clearly lower than the cap: rather the lower ones of it."""
    base, cap = learned.base, learned.cap
    if point.ratio > 1 or not point.in_flight or (cap is not None and point.in_flight > cap * LOW):
        return base
    if base is None:
        return point.ratio
    return thousandths(base + (point.ratio - base) / (LOWERING if point.ratio < base else RAISING))


def slope(learned: Learned, seen: Observed) -> Fraction:
    """Return the slope: a line from nothing in flight to a point of the curve is never steeper than the curve there."""
    chord = seen.point.ratio / (max(seen.levels) or 1)
    return max(learned.slope or Fraction(0), chord, Fraction(1, 10_000))


def knee(levels: tuple[Fraction, ...], waiting: Fraction) -> Fraction:
    """Return the number in flight from which the ratio grows, if so many above it, in the mean, make the ratio that was seen."""
    ordered = sorted(levels, reverse=True)
    above = Fraction(0)
    for count, (level, following) in enumerate(zip(ordered, [*ordered[1:], Fraction(0)], strict=True), 1):
        above += level
        knee = (above - waiting * len(levels)) / count
        if knee >= following:
            return knee
    return max(Fraction(0), (above - waiting * len(levels)) / len(levels))
