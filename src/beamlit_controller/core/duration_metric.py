"""Metrics proportional to the duration of requests, in Adaptive mode.

The gateways' counts show how long requests take, without the delay of the metric. Samples tell what duration
corresponds to the target. By Little's law the cap is then the completion rate times that duration: it follows a change of
the servers' capacity at once, and does not depend on how the metric reacts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from itertools import accumulate, pairwise
from math import isqrt

from beamlit_controller.core.adaptive_state import Learned, RatioSample, thousandths
from beamlit_controller.core.in_flight_span import InFlightSpan
from beamlit_controller.core.load_curve import Observed
from beamlit_controller.core.metric_kind import NONE, TELLING, is_gradual

ENOUGH = 8
"""Completions from which the mean duration is known."""
FAR = Fraction(25, 10)
"""Far above the target every duration that grows seems to be proportional to the ratio: such samples tell nothing."""
KNOWN = 8
"""The number of samples from which a proportion is known."""
QUICK = 8
"""The proportion to the number in flight follows the last samples, since the capacity of the servers may change."""
CLOSE = Fraction(35, 100)
"""Samples are proportional to something if they differ from it by no more than this in the mean."""
APART = Fraction(50, 100)
"""Samples that were proportional to it no longer are if they differ by more than this."""
CLOSER = Fraction(70, 100)
"""And by no more than this fraction of the difference to another quantity."""
AIM = Fraction(95, 100)
SHORT, LONG = 15, 60
"""Completions are counted over at least and at most so many seconds."""
SOME_ENDED = 20
"""Completions from which the rate of a short time is held against that of a longer one."""
DIFFERENT = Fraction(25, 10)
"""The rate changed if it differs by more than so many standard deviations."""
BAND = Fraction(4, 100)
"""The cap stays if the difference is no more than this fraction, or 1.5 standard deviations."""
LONGEST_RISE, MOST_FALL = Fraction(15, 10), Fraction(2)


def noted(learned: Learned, sample: RatioSample, seen: Observed) -> Learned:
    """Compare a sample with the duration of the requests that ended meanwhile, and with the number in flight."""
    lasted = duration(learned.recent, sample.since, sample.until)
    if not lasted or not seen.point.in_flight or (seen.point.ratio > FAR and not learned.is_duration):
        return learned
    ratio = seen.point.ratio
    one = learned.by_duration.with_(lasted, ratio, least=NONE)
    other, level = learned.by_level, seen.point.in_flight
    if ratio <= 1 or level < other.value * ratio:
        other = other.with_(level, ratio, least=NONE, most=QUICK)
    none = learned.by_nothing.with_(Fraction(1), ratio, least=NONE)
    is_duration = one.count >= KNOWN and one.off <= CLOSE and one.off < CLOSER * min(other.off, none.off)
    if learned.is_duration:
        is_duration = one.count < KNOWN or one.off <= CLOSE or (one.off <= APART and one.off < other.off)
    is_duration = is_duration and _has_value_at_any_load(learned)
    return replace(learned, by_duration=one, by_level=other, by_nothing=none, is_duration=is_duration)


def _has_value_at_any_load(learned: Learned) -> bool:
    """Return whether the metric is not a queue. After a restart that is unknown until it was read at a low load again."""
    if learned.base is None:
        return learned.is_duration
    return learned.base > TELLING and is_gradual(learned)


def is_measured(learned: Learned) -> bool:
    """Return whether the metric is a duration, and it is known which one corresponds to the target."""
    return learned.is_duration and learned.by_duration.count >= KNOWN and learned.by_duration.value > 0


def first(learned: Learned) -> Fraction | None:
    """Return the first cap: as many as the servers finish in the duration at which the metric is at its target."""
    busy = _busy(learned, None)
    return None if busy is None else busy.rate * learned.by_duration.value * AIM


def wanted(learned: Learned, cap: Fraction, ratio: Fraction) -> Fraction | None:
    """Return the cap that follows from the completion rate under the present one, which stays if the difference is not clear.

    None if too few requests ended under the present cap.

    While the number in flight grows, requests end at a lower rate than they will, and those that end were served before it
    grew: the rate that follows from their duration is higher. The cap is changed if both agree.
    """
    busy = _busy(learned, cap)
    if busy is None or not busy.lasted:
        return None
    lasting = learned.by_duration.value * AIM
    band = cap * max(BAND, Fraction(1500, isqrt(1_000_000 * busy.ended)))
    found = busy.rate * lasting
    if ratio <= 1 and found > cap + band:
        return min(cap * LONGEST_RISE, found)
    if ratio <= 1:
        return cap
    found = max(found, busy.level * lasting / busy.lasted)
    return max(cap / MOST_FALL, found) if found < cap - band else cap


@dataclass(frozen=True, slots=True)
class _Busy:
    """A time in which the servers were busy: completions, their rate per replica and second, the level, and the mean duration."""

    ended: int
    rate: Fraction
    level: Fraction
    lasted: Fraction | None


def _busy(learned: Learned, cap: Fraction | None) -> _Busy | None:
    """Return the latest time since the cap changed in which it was nearly reached; None if too few requests ended.

    If the completion rate changed within the last minute, the time begins afterwards.
    """
    seconds, area, ended, spans = Fraction(0), Fraction(0), 0, 0
    short: _Busy | None = None
    for span in reversed(learned.recent):
        if learned.changed_at is not None and span.since < learned.changed_at:
            break
        if cap is not None and not span.overflowed and span.in_flight < cap * CLOSER:
            break
        lasted = Fraction((span.until - span.since).total_seconds())
        seconds, area, ended = seconds + lasted, area + lasted * span.in_flight, ended + span.served
        spans += 1
        if short is None and seconds >= SHORT and ended >= SOME_ENDED:
            short = _found(learned, spans, seconds, area, ended)
        if seconds >= LONG and ended >= ENOUGH:
            break
    if ended < ENOUGH or not seconds:
        return None
    found = _found(learned, spans, seconds, area, ended)
    changed = short is not None and abs(short.rate - found.rate) > found.rate * DIFFERENT / isqrt(short.ended)
    return short if changed else found


def _found(learned: Learned, spans: int, seconds: Fraction, area: Fraction, ended: int) -> _Busy:
    recent = learned.recent
    lasting = duration(recent, recent[-spans].since, recent[-1].until, came_since=learned.changed_at)
    return _Busy(ended, ended / seconds / recent[-1].ready, area / seconds, lasting)


def duration(
    recent: Sequence[InFlightSpan], since: datetime, until: datetime, *, came_since: datetime | None = None
) -> Fraction | None:
    """Return the mean seconds that the requests took that ended in a time, extended to the past until enough did; None if not counted.

    Only requests that came since `came_since` count. The first that comes is taken for the first that ends, which is exact
    for the mean.
    """
    if not recent or recent[-1].until < until:
        return None
    begun = recent[0].until
    times = [(each.until - begun).total_seconds() for each in recent]
    ended = list(accumulate((each.served for each in recent[1:]), initial=0))
    came = [count + float(each.in_flight) * each.ready for count, each in zip(ended, recent, strict=True)]
    last = _at(times, ended, (until - begun).total_seconds())
    first = min(_at(times, ended, (since - begun).total_seconds()), last - ENOUGH)
    earliest = came[0]
    if came_since is not None:
        earliest = max(earliest, _at(times, came, (came_since - begun).total_seconds()))
        first = max(first, earliest)
    if first < earliest or last - first < ENOUGH:
        return None
    area = _area(times, ended, first, last) - _area(times, came, first, last)
    return thousandths(Fraction(max(0.0, area / (last - first))))


def _at(times: Sequence[float], counts: Sequence[float], time: float) -> float:
    """Return a count at a time, between those that are known."""
    for (since, low), (until, high) in pairwise(zip(times, counts, strict=True)):
        if since <= time < until:
            return low + (high - low) * (time - since) / (until - since)
    return float(counts[0] if time < times[0] else counts[-1])


def _area(times: Sequence[float], counts: Sequence[float], first: float, last: float) -> float:
    """Return the sum of the times at which a count passed the numbers from `first` to `last`."""
    area = 0.0
    for (since, low), (until, high) in pairwise(zip(times, counts, strict=True)):
        begin, end = max(first, low), min(last, high)
        if end > begin:
            pace = (until - since) / (high - low)
            area += (end - begin) * (since + pace * ((begin + end) / 2 - low))
    return area
