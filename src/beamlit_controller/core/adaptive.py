"""Adaptive mode: adjusts the cap, the number of local requests in flight per ready replica, by a metric that lags.

Each sample, paired with the number of requests in flight while it was taken, is a point of the load curve
(`core.load_curve`): the ratio of the metric to its target as a function of the requests in flight. The cap is set just
below the number at which the curve reaches the target. Samples are judged by the kind of metric: the length of a queue
(`core.queue_metric`), a value that rises with every request (`core.gradual_metric`), or unknown.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction

from beamlit_controller.core import (
    duration_metric,
    estimate,
    first_byte_metric,
    first_cap,
    gradual_metric,
    load_curve,
    metric_kind,
    queue_metric,
    raises,
)
from beamlit_controller.core.adaptive_state import (
    LEAST,
    MOST,
    MOST_CLIMBS,
    MOST_FALLS,
    Learned,
    Point,
    RatioSample,
    changed,
    rounded,
)
from beamlit_controller.core.metric_kind import NONE
from beamlit_controller.core.queue_metric import GOAL

REST = timedelta(seconds=15)
"""The minimum time between two changes of the cap."""
SHORT_REST = timedelta(seconds=5)
FAR = Fraction(2)
"""A ratio from which a cap is clearly too high."""
FIRST_STEP = Fraction(10, 100)
LONGEST_STEP = Fraction(25, 100)
LONGEST_RISE = Fraction(15, 10)
"""The highest factor by which the cap is raised at once."""
STUCK = 2
"""After this many reductions that did not lower the ratio, the cap is lowered regardless of the estimate."""
LEAST_FALL, MOST_FALL = Fraction(11, 10), Fraction(3)


def follow(learned: Learned, sample: RatioSample, now: datetime) -> Learned:
    """Learn from a sample, and return the state with the resulting cap.

    A sample newer than the gateways' last report is kept until they have reported for its time, and judged then.
    """
    for each in (sample, learned.pending):
        if each is None or (learned.judged_until is not None and each.until <= learned.judged_until):
            continue
        counted = first_byte_metric.counted(each, learned)
        seen = load_curve.observed(counted, learned)
        if seen is not None:
            looked = replace(learned, judged_until=each.until, pending=None if each == sample else sample)
            if counted.slope is not None:
                return _by_count(looked, counted, counted.slope, seen, now)
            return _judge(looked, load_curve.noted(looked, seen), each, seen=seen, now=now)
    fresh = learned.judged_until is None or sample.until > learned.judged_until
    return replace(learned, pending=sample if fresh else None)


def _by_count(
    looked: Learned, sample: RatioSample, slope: Fraction, seen: load_curve.Observed, now: datetime
) -> Learned:
    """Judge a sample of a metric that tells how many requests wait. Its slope is known and need not be learned."""
    noted = first_byte_metric.noted(replace(load_curve.noted(looked, seen), slope=slope), sample, seen)
    judged = _judge(replace(looked, slope=slope), noted, sample, seen=seen, now=now)
    return replace(judged, slope=looked.slope)


def _judge(
    learned: Learned, noted: Learned, sample: RatioSample, *, seen: load_curve.Observed, now: datetime
) -> Learned:
    learned = metric_kind.with_maximum(learned, seen.point)
    noted = replace(noted, height=learned.height, maximum=learned.maximum)
    shown = sample.slope is None and metric_kind.is_gradual(learned)
    counts = sample.slope is not None
    if not counts and sample.waited is None and _is_stable(learned, sample, seen):
        noted = duration_metric.noted(noted, sample, seen)
    timed = _by_duration(learned, noted, sample, now)
    if timed is not None:
        return timed
    if learned.cap is None:
        noisy = shown or (not counts and (noted.base or Fraction(0)) > NONE)
        return first_cap.begun(learned, gradual_metric.noted(noted, seen), sample, seen, now, noisy=noisy)
    unsettled = load_curve.unsettled(learned, sample, settles=_settles(learned, sample, shown=shown))
    trails = not counts or (sample.waited is not None and not sample.at_end)
    if trails and (learned.base or Fraction(0)) > NONE:
        unsettled = unsettled or load_curve.shows_backlog(learned, sample)
    drains = estimate.is_draining(learned, seen)
    if not unsettled and not drains:
        noted = queue_metric.noted(gradual_metric.noted(noted, seen, counts=counts), sample, seen)
    rest = SHORT_REST if counts and queue_metric.is_idle(noted) else _rest(learned.cap, seen)
    rests = learned.changed_at is not None and now - learned.changed_at < rest
    kept = replace(noted, guessed=False)
    if shown:
        found = None if rests or unsettled or drains else gradual_metric.wanted(learned.cap, kept, seen)
        return noted if found is None else _changed(learned.cap, found, now)
    if unsettled and learned.rough:
        estimated = estimate.updated(noted, seen, drains=True)
        counted = None if trails else sample.slope
        return first_cap.corrected(learned, estimated, seen, now, sample=sample, counted=counted)
    outdated = first_byte_metric.is_outdated(sample, seen, learned.cap)
    if rests or unsettled or outdated or not seen.steady:
        return noted if outdated else estimate.updated(noted, seen)
    wanted, taught = _suggested(learned.cap, kept, sample, seen)
    return changed(taught, wanted, now) if counts else _changed(learned.cap, (wanted, taught), now)


def _settles(learned: Learned, sample: RatioSample, *, shown: bool) -> timedelta:
    """Return how long the metric takes to follow a change of the cap: a request's duration, or `SETTLES` for a queue."""
    queue = sample.slope is not None or (learned.base is not None and learned.base <= NONE)
    if queue and not shown:
        return load_curve.SETTLES
    return gradual_metric.pace(learned) / (4 if metric_kind.is_steep(learned) else 1)


def _rest(cap: Fraction, seen: load_curve.Observed) -> timedelta:
    """Return the minimum time between two changes of the cap; it is shorter if the ratio is far above the target although the cap was kept."""
    wrong = seen.point.ratio >= FAR and seen.point.in_flight <= cap * Fraction(115, 100) + 1
    return SHORT_REST if wrong else REST


def _is_stable(learned: Learned, sample: RatioSample, seen: load_curve.Observed) -> bool:
    """Return whether a sample covers no time in which the number in flight was still following a change of the cap."""
    unsettled = load_curve.unsettled(learned, sample, settles=gradual_metric.pace(learned))
    return not unsettled and not estimate.is_draining(learned, seen)


def _by_duration(learned: Learned, noted: Learned, sample: RatioSample, now: datetime) -> Learned | None:
    """Set the cap by the duration that corresponds to the target. None if the metric is of another kind, or too few requests ended.

    Over the target nothing else lowers the cap: requests that take long end last, so what is known of them is too high.
    """
    cap, over = learned.cap, sample.ratio > 1
    if not duration_metric.is_measured(learned) or (cap is None and not over):
        return None
    wanted = duration_metric.first(noted) if cap is None else duration_metric.wanted(noted, cap, sample.ratio)
    if wanted is None:
        return noted if cap is not None and over else None
    waits = cap is not None and not stood(learned, sample, now)
    return noted if waits else changed(replace(noted, guessed=False), wanted, now)


def _changed(cap: Fraction, found: tuple[Fraction, Learned], now: datetime) -> Learned:
    """Change the cap to the one that was found, unless raises have no effect."""
    wanted, taught = raises.effective(cap, *found, now)
    return changed(taught, wanted, now)


def stood(learned: Learned, sample: RatioSample, now: datetime) -> bool:
    """Return whether the cap has been in force long enough for the sample to be evidence about it."""
    rests = learned.changed_at is not None and now - learned.changed_at < REST
    return not rests and not load_curve.unsettled(learned, sample)


def _suggested(
    cap: Fraction, learned: Learned, sample: RatioSample, seen: load_curve.Observed
) -> tuple[Fraction, Learned]:
    """Return the cap that a sample suggests, and the updated state. A count of waiting requests has no maximum, so it is always trusted."""
    counts = sample.slope is not None
    if learned.slope is None:
        return _without_slope(cap, learned, seen)
    known, slope, ratio = learned.slope, load_curve.slope(learned, seen), seen.point.ratio
    if estimate.is_idle(learned, seen) or first_byte_metric.hardly_waits(sample, seen, learned):
        for_a_moment = counts and learned.full_load.ratio > estimate.idle(learned) and not queue_metric.is_idle(learned)
        return (cap, learned) if for_a_moment else _raise(cap, _reset_falls(learned, seen), sample, seen, slope)
    learned = estimate.updated(learned, seen)
    aim = cap if learned.full is None else queue_metric.aim(learned.full, slope)
    band = max(min(Fraction(15, 100) / slope, cap / 12), cap / 40)
    if ratio > 1:
        stays = aim >= cap - band or estimate.is_draining(learned, seen) or _by_chance(cap, learned, seen.point)
        if counts and not stays:
            return min(cap, max(aim, _least(cap, learned, sample, known))), replace(learned, climbs=0)
        return (cap, learned) if stays else _lower(cap, learned, seen.point, aim)
    learned = _reset_falls(learned, seen)
    if seen.bound and aim > cap + band:
        return _step_up(cap, aim, learned), replace(learned, climbs=0)
    return cap, learned


def _least(cap: Fraction, learned: Learned, sample: RatioSample, slope: Fraction) -> Fraction:
    """Return the lowest cap that a sample over the target may lead to, given how steep the metric is."""
    if sample.waited is not None:
        return cap / (MOST_FALL if first_byte_metric.is_confirmed(learned) else first_byte_metric.MOST_FALL)
    least = max(queue_metric.aim(queue_metric.least(slope), slope), cap / MOST_FALL)
    return max(least, queue_metric.slots_in_use(learned, sample.slots))


def _raise(
    cap: Fraction, learned: Learned, sample: RatioSample, seen: load_curve.Observed, slope: Fraction
) -> tuple[Fraction, Learned]:
    """Raise a cap under which nothing waits: up to the estimate, or beyond it in growing steps.

    Unless the metric is a count, the slope may be wrong, and keeps the cap no longer than a few samples.
    """
    if not seen.bound or not _has_reached(cap, seen):
        return cap, learned
    base = learned.base or Fraction(0)
    nothing = seen.point.ratio <= metric_kind.idle(learned) or first_byte_metric.hardly_waits(sample, seen, learned)
    first = 2 if base <= NONE else 1
    least = seen.point.in_flight + (first * 2**learned.climbs if nothing else 1) / slope
    if nothing and queue_metric.is_idle(learned) and (sample.slope is None or sample.waited is not None):
        least = max(least, cap + _step(cap, learned) / (1 if sample.waited is None else 2))
    if not _is_reached(cap, seen.point):
        least = max(least, cap + _step(cap, learned) / 2)
    full = least if learned.full is None else learned.full
    if least > full:
        full += (least - full) / (1 if nothing else 2)
    climbs = min(learned.climbs + 1, MOST_CLIMBS) if nothing and least >= full else 0
    taught = replace(learned, full=min(MOST, max(LEAST, rounded(full))), climbs=climbs)
    return max(cap, _step_up(cap, queue_metric.aim(full, slope), learned)), taught


def _step_up(cap: Fraction, aim: Fraction, learned: Learned) -> Fraction:
    """Return the next cap on the way up to `aim`: one step or half of the distance, whichever is more."""
    return min(aim, max(cap + _step(cap, learned), min((cap + aim) / 2, LONGEST_RISE * cap)))


def _reset_falls(learned: Learned, seen: load_curve.Observed) -> Learned:
    """Record that the ratio came down to the target under a cap that was limiting requests."""
    return replace(learned, over=None, falls=0) if seen.bound else learned


def _lower(cap: Fraction, learned: Learned, point: Point, aim: Fraction) -> tuple[Fraction, Learned]:
    """Lower the cap, at most in proportion to the ratio; by more if earlier reductions did not lower the ratio.

    A metric at its maximum, such as busy slots, does not fall until the cap is below the servers' capacity.
    """
    stays = learned.over is not None and point.ratio >= learned.over * Fraction(98, 100)
    falls = min(learned.falls + _is_reached(cap, point), MOST_FALLS) if stays else 0
    least = cap / min(max(point.ratio, LEAST_FALL) ** min(2**falls, 4), MOST_FALL)
    if _is_at_maximum(cap, learned, point):
        least, falls = cap / 2, max(falls, STUCK)
    stuck = falls >= STUCK and not metric_kind.is_steep(learned)
    wanted = max(least if stuck else max(least, aim), _floor(learned, point.ratio, falls))
    return min(cap, wanted), replace(learned, climbs=0, falls=falls, over=min(point.ratio, MOST))


def _by_chance(cap: Fraction, learned: Learned, point: Point) -> bool:
    """Return whether a noisy metric may be over the target by chance: it is not for long, and the cap is not reached."""
    noisy = (learned.base or Fraction(0)) > NONE
    return noisy and not _is_reached(cap, point) and not gradual_metric.is_over(learned)


def _is_reached(cap: Fraction, point: Point) -> bool:
    return point.in_flight >= cap * Fraction(85, 100) - Fraction(1, 2)


def _has_reached(cap: Fraction, seen: load_curve.Observed) -> bool:
    """Return whether the cap was reached, perhaps in bursts that are shorter than the sample, under which nothing waited."""
    return _is_reached(cap, seen.point) or (seen.peaked and seen.point.ratio <= NONE)


def _is_at_maximum(cap: Fraction, learned: Learned, point: Point) -> bool:
    """Return whether the ratio is the same as under the previous cap although the cap is reached: a saturated metric."""
    same = learned.over is not None and abs(point.ratio - learned.over) <= learned.over / 100
    return (
        (same or metric_kind.is_at_maximum(learned, point))
        and point.ratio <= metric_kind.SATURATED
        and point.in_flight >= cap * Fraction(85, 100)
    )


def _floor(learned: Learned, ratio: Fraction, falls: int) -> Fraction:
    """Return a number in flight that was within the target before, 0 if there is none: a floor for the first reductions.

    Only for metrics with a value at any load, which are noisy and follow a change of the load late. Far over the target for
    the second time, a curve that is known tells more.
    """
    if (learned.base or Fraction(0)) <= NONE or (ratio >= FAR and falls and load_curve.is_known(learned)):
        return Fraction(0)
    calm = Fraction(0) if learned.over is not None or learned.calm is None else learned.calm.in_flight
    fair = learned.fair.in_flight if falls <= STUCK and learned.fair.count >= metric_kind.SOME else Fraction(0)
    return max(calm, fair) * metric_kind.SPARED


def _without_slope(cap: Fraction, learned: Learned, seen: load_curve.Observed) -> tuple[Fraction, Learned]:
    """Decide by the ratio alone while the slope is unknown."""
    point = seen.point
    if point.ratio > 1:
        aim = min(cap, first_cap.estimated(learned.calm, seen))
        return (cap, learned) if estimate.is_draining(learned, seen) else _lower(cap, learned, point, aim)
    learned = replace(learned, over=None, falls=0)
    if not seen.bound or point.ratio >= GOAL or not _has_reached(cap, seen):
        return cap, learned
    return cap + _step(cap, learned), replace(learned, climbs=min(learned.climbs + 1, MOST_CLIMBS))


def _step(cap: Fraction, learned: Learned) -> Fraction:
    return cap * min(LONGEST_STEP, FIRST_STEP * Fraction(3, 2) ** learned.climbs) + Fraction(1, 4)
