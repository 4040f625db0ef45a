"""The time to first byte, in Adaptive mode, as the gateways or the servers measure it: in seconds, so its curve need not be learned.

By Little's law, as many requests wait as are completed in the time that each of them waits. A sample is therefore judged
like a count of waiting requests, by the slope that follows from the completion rate. What a request waited depends on the
number in flight when it arrived, so a sample belongs to a time that is earlier by the wait.
"""

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from math import log

from beamlit_controller.core.adaptive_state import Learned, RatioSample, thousandths
from beamlit_controller.core.in_flight_span import MEMORY
from beamlit_controller.core.load_curve import Observed
from beamlit_controller.core.metric_kind import NONE
from beamlit_controller.core.metric_spec import (
    AverageValue,
    ExternalMetric,
    FirstByte,
    GatewayFigure,
    GatewayMetric,
    MetricSpec,
    ObjectMetric,
    PodsMetric,
    Value,
)

ENOUGH = 4
"""Completions from which their rate is known."""
REACHED, SPARE = Fraction(85, 100), Fraction(1, 2)
"""The cap counts as reached from this fraction of it less this number of requests."""
FEW, FAIR = Fraction(4, 100), Fraction(1, 2)
"""Hardly anything waits: at most this fraction of what is in flight, with a ratio up to this."""
MOST_FALL = Fraction(3, 2)
"""The cap is divided by this at most, unless the estimate is confirmed: requests that waited before the previous change may be among those that end."""
CONFIRMED = Fraction(1, 2)
"""The estimate is confirmed by a sample whose ratio differs from the expected one by no more than this."""
HIGHEST = Fraction(999, 1000)
"""A higher quantile of a few requests is the same one."""


def target(metric: MetricSpec) -> Fraction | None:
    """Return the mean time to first byte in seconds at which a metric is at its target.

    None for other metrics, and for a value that is divided by the replicas.
    """
    match metric:
        case GatewayMetric(name=GatewayFigure.FIRST_BYTE, target=Value(milli)):
            return Fraction(milli, 1000)
        case PodsMetric(first_byte=FirstByte() as known, target=AverageValue(milli)):
            return _mean(known, milli)
        case ObjectMetric(first_byte=FirstByte() as known, target=Value(milli)):
            return _mean(known, milli)
        case ExternalMetric(first_byte=FirstByte() as known, target=Value(milli)):
            return _mean(known, milli)
        case _:
            return None


def _mean(known: FirstByte, milli: int) -> Fraction:
    """Return the mean in seconds at which a value is reached. A high quantile is a multiple of it, as of times that are distributed exponentially."""
    times = Fraction(1) if known.quantile is None else thousandths(Fraction(-log(1 - min(known.quantile, HIGHEST))))
    return known.unit * milli / 1000 / max(Fraction(1), times)


def counted(sample: RatioSample, learned: Learned) -> RatioSample:
    """Return the sample with its slope, for the time at which its requests arrived. Unchanged if too few were completed, or for other metrics."""
    if sample.waited is None:
        return sample
    seconds = max(Fraction(0), sample.ratio - (learned.base or Fraction(0))) * sample.waited
    wait = timedelta(seconds=min(float(seconds), MEMORY.total_seconds()))
    rate = _completions(sample, learned, wait)
    if rate is None:
        return sample
    return replace(sample, since=sample.since - wait, until=sample.until - wait, slope=1 / (rate * sample.waited))


def _completions(sample: RatioSample, learned: Learned, wait: timedelta) -> Fraction | None:
    """Return the completions per second and replica while the requests of a sample waited; of a longer time if they were too few."""
    seconds, served = Fraction(0), 0
    for span in reversed(learned.recent):
        if span.since >= sample.until:
            continue
        if span.until <= sample.since - wait and served >= ENOUGH:
            break
        seconds, served = seconds + Fraction((span.until - span.since).total_seconds()), served + span.served
    return served / seconds / learned.recent[-1].ready if served >= ENOUGH and seconds else None


def noted(learned: Learned, sample: RatioSample, seen: Observed) -> Learned:
    """Note the lowest ratio as the one without waiting: the cap may be reached from the first sample on."""
    ratio = seen.point.ratio
    if sample.waited is None or not NONE < ratio <= 1:
        return learned
    return replace(learned, base=ratio if learned.base is None else min(learned.base, ratio))


def hardly_waits(sample: RatioSample, seen: Observed, learned: Learned) -> bool:
    """Return whether fewer requests wait than `FEW` of those in flight: the time may vary by itself, and by more than a queue does.

    Not for what the gateways count: that is of requests that arrived long ago.
    """
    if sample.waited is None or sample.slope is None or sample.at_end or seen.point.ratio > FAIR:
        return False
    return seen.point.ratio - (learned.base or Fraction(0)) <= FEW * seen.point.in_flight * sample.slope


def is_confirmed(learned: Learned) -> bool:
    """Return whether the last sample agrees with what the ones before it told."""
    return abs(learned.off) <= CONFIRMED


def is_outdated(sample: RatioSample, seen: Observed, cap: Fraction) -> bool:
    """Return whether requests waited long though the cap was never reached: they arrived earlier than the others of the sample."""
    return sample.waited is not None and sample.ratio > 1 and max(seen.levels) < REACHED * cap - SPARE
