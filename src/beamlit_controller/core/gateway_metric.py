"""Metrics that the gateways measure themselves, computed from their request counters. Nothing is read from the servers.

Envoy counts a request, and its time to the first byte, when the request ends. A time to first byte is therefore a
sample of requests that arrived earlier, so its window begins one mean request duration before the first of them ended
(Little's law).
"""

from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil

from beamlit_controller.core import traffic
from beamlit_controller.core.metric_spec import GatewayFigure
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing, Sample
from beamlit_controller.core.traffic import CountersAt, Meter, RequestCounters

WINDOW = timedelta(seconds=15)
"""Rates and times to first byte are averaged over at least this time."""
LEVEL_WINDOW = timedelta(seconds=5)
"""The number in flight is averaged over this time."""
ENOUGH = 20
"""Number of first bytes from which a window is long enough."""
LONGEST_REQUEST = timedelta(seconds=60)


def sample(meter: Meter, figure: GatewayFigure, now: datetime) -> Sample | Missing:
    """Return a metric's value in its unit, and the time that it covers."""
    seen = meter.recent
    if len(seen) < 2:  # noqa: PLR2004 - a span has two ends
        return Missing(Reason.NO_SERIES, "the gateways' request counters do not cover a few seconds yet")
    if now - seen[-1].at > traffic.STALE:
        return Missing(Reason.STALE, f"no gateway reported for {(now - seen[-1].at).total_seconds():.0f} s")
    match figure:
        case GatewayFigure.IN_FLIGHT:
            return _in_flight(seen)
        case GatewayFigure.RATE:
            return _rate(seen)
        case GatewayFigure.FIRST_BYTE:
            return _first_byte(seen)


def _in_flight(seen: tuple[CountersAt, ...]) -> Sample:
    last = seen[-1].at
    levels = [each.counted.in_flight for each in seen if each.at > last - LEVEL_WINDOW]
    return _sample(Fraction(sum(levels), len(levels)), _since(seen, LEVEL_WINDOW), last)


def _rate(seen: tuple[CountersAt, ...]) -> Sample:
    since, last = _since(seen, WINDOW), seen[-1].at
    return _sample(_between(seen, since).local / _seconds(last - since), since, last)


def _first_byte(seen: tuple[CountersAt, ...]) -> Sample | Missing:
    """Return the mean time to the first byte of local response bodies, in seconds; 0 while there are no local requests."""
    since, last = _enough(seen), seen[-1].at
    counted = _between(seen, since)
    if counted.local_first_bytes:
        mean = Fraction(counted.local_first_byte_ms, 1000 * counted.local_first_bytes)
        return _sample(mean, since - _lasting(seen, since, counted.local), last)
    waiting = max(each.counted.in_flight for each in seen if each.at >= since)
    if not waiting:
        return _sample(Fraction(0), since, last)
    message = f"no local request ended within {(last - since).total_seconds():.0f} s, and {waiting} are in flight"
    return Missing(Reason.NO_OBSERVATIONS, message)


def _enough(seen: tuple[CountersAt, ...]) -> datetime:
    """Return the latest start of a window that is long enough and has enough first bytes; the earliest time if there is none."""
    last = seen[-1]
    for each in reversed(seen):
        first_bytes = last.counted.local_first_bytes - each.counted.local_first_bytes
        if last.at - each.at >= WINDOW and first_bytes >= ENOUGH:
            return each.at
    return seen[0].at


def _lasting(seen: tuple[CountersAt, ...], since: datetime, ended: int) -> timedelta:
    """Return the mean duration of a local request: the number in flight over the completion rate."""
    levels = [each.counted.in_flight for each in seen if each.at >= since]
    mean = Fraction(sum(levels), len(levels))
    seconds = mean * _seconds(seen[-1].at - since) / max(1, ended)
    return min(LONGEST_REQUEST, timedelta(seconds=float(seconds)))


def _since(seen: tuple[CountersAt, ...], window: timedelta) -> datetime:
    """Return the latest time that is at least a window before the last one; the earliest if there is none."""
    return next((each.at for each in reversed(seen) if seen[-1].at - each.at >= window), seen[0].at)


def _between(seen: tuple[CountersAt, ...], since: datetime) -> RequestCounters:
    begin = next(each.counted for each in seen if each.at >= since)
    return traffic.fresh(begin, seen[-1].counted)


def _seconds(span: timedelta) -> Fraction:
    return Fraction(max(1, span // timedelta(microseconds=1)), 1_000_000)


def _sample(value: Fraction, since: datetime, until: datetime) -> Sample:
    return Sample(ceil(value * 1000), until, until - since)
