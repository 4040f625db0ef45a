"""What gateways count of a model's requests, added up, and what it tells of the last minute."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from fractions import Fraction

from beamlit_controller.core.flow import Flow
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import NOT_ASKED, Missing
from beamlit_controller.core.spec import Mode, OffloadSpec

MINUTE = timedelta(seconds=60)
STALE = timedelta(seconds=30)
"""Without an answer of any gateway for so long, nothing is known of the requests."""
MOST_MOMENTS = 128


@dataclass(frozen=True, slots=True)
class RequestCounters:
    """What one gateway, or several, counted since they began; `in_flight` is what local is busy with now.

    `local` are the requests that local finished, `kept` those of them that may not leave. The remote answered the others:
    `share` by the percentage, `overflow` because the cap was reached, `unavailable` because local was down, failed or
    refused, `forced` because the client asked for it. `unanswered` had no answer of either. First bytes are those of response
    bodies, in milliseconds, of requests that might have left: a server that streams may send its headers long before.
    """

    in_flight: int = 0
    local: int = 0
    kept: int = 0
    share: int = 0
    overflow: int = 0
    unavailable: int = 0
    forced: int = 0
    unanswered: int = 0
    local_first_bytes: int = 0
    local_first_byte_ms: int = 0
    remote_first_bytes: int = 0
    remote_first_byte_ms: int = 0

    @property
    def remote(self) -> int:
        """Count the requests that the remote answered."""
        return self.share + self.overflow + self.unavailable + self.forced


NOTHING = RequestCounters()
_COUNTERS = tuple(each.name for each in fields(RequestCounters) if each.name != "in_flight")


@dataclass(frozen=True, slots=True)
class CountersAt:
    """All that was counted up to a moment."""

    at: datetime
    counted: RequestCounters


@dataclass(frozen=True, slots=True)
class Meter:
    """A model's counts: what each gateway said last, and the sums of the last minute, the latest at the end."""

    gateways: tuple[tuple[str, RequestCounters], ...] = ()
    recent: tuple[CountersAt, ...] = ()


@dataclass(frozen=True, slots=True)
class Minute:
    """What came of the requests in the last minute: `counted` is of that time alone."""

    span: timedelta
    counted: RequestCounters


def leaves_by_cap(spec: OffloadSpec, cap: Fraction | None, reason: str) -> bool:
    """Tell whether requests leave only because of the cap, so that the percentage is the most that may.

    Otherwise the percentage leaves in any case: in the other modes, by hand, or where nothing may be in flight.
    """
    return spec.behavior.mode is Mode.ADAPTIVE and reason != Reason.OVERRIDDEN and cap != 0


def fed(meter: Meter, answers: Mapping[str, RequestCounters | None], now: datetime) -> Meter:
    """Give the meter with what the gateways say now, by name; None is one that did not answer.

    One that is not named is gone. What a gateway had counted before it was first seen is left out, and one whose counts
    fell began anew. If nobody answers, nothing is known of this moment.
    """
    if not any(answer is not None for answer in answers.values()):
        return replace(meter, gateways=tuple(each for each in meter.gateways if each[0] in answers))
    before = dict(meter.gateways)
    latest = {name: answer or before.get(name) for name, answer in answers.items()}
    known = {name: each for name, each in latest.items() if each is not None}
    total = meter.recent[-1].counted if meter.recent else NOTHING
    for name, each in known.items():
        total = _plus(total, fresh(before.get(name, each), each))
    total = replace(total, in_flight=sum(each.in_flight for each in known.values()))
    return Meter(tuple(known.items()), _lately((*meter.recent, CountersAt(now, total)), now))


def flow(meter: Meter, since: datetime | None, now: datetime, *, by_cap: bool) -> Flow | Missing:
    """Give what the gateways saw since the given moment; with `by_cap` the share that leaves is part of the cap."""
    if not meter.recent:
        return NOT_ASKED
    last = meter.recent[-1]
    if now - last.at > STALE:
        return Missing(Reason.TIMED_OUT, f"no gateway told its stats for {(now - last.at).total_seconds():.0f} s")
    begin = _at(meter, since)
    seen = fresh(begin.counted, last.counted)
    levels = [each.counted.in_flight for each in meter.recent if each.at > begin.at] or [last.counted.in_flight]
    overflowed = seen.overflow + (seen.share if by_cap else 0)
    return Flow(begin.at, last.at, last.counted.in_flight, max(levels), seen.local, seen.remote, overflowed)


def minute(meter: Meter, now: datetime) -> Minute | None:
    """Give what came of the requests in the last minute; None while that is not known."""
    if len(meter.recent) < 2 or now - meter.recent[-1].at > STALE:  # noqa: PLR2004 - a span has two ends
        return None
    first, last = meter.recent[0], meter.recent[-1]
    counted = replace(fresh(first.counted, last.counted), in_flight=last.counted.in_flight)
    return Minute(last.at - first.at, counted)


def _at(meter: Meter, since: datetime | None) -> CountersAt:
    """Give the last moment that is not after this one, the first where all are."""
    earlier = [each for each in meter.recent if since is not None and each.at <= since]
    return earlier[-1] if earlier else meter.recent[0]


def _lately(moments: tuple[CountersAt, ...], now: datetime) -> tuple[CountersAt, ...]:
    """Drop what is older than a minute, but the one that its beginning lies in; and what a clock that was set back left ahead."""
    known = tuple(each for each in moments if each.at <= now)[-MOST_MOMENTS:]
    needless = sum(1 for following in known[1:] if following.at <= now - MINUTE)
    return known[needless:]


def fresh(before: RequestCounters, after: RequestCounters) -> RequestCounters:
    """Give what was counted in between: all of it if any count fell, for then the gateway began anew."""
    fell = any(getattr(after, name) < getattr(before, name) for name in _COUNTERS)
    old = NOTHING if fell else before
    return RequestCounters(**{name: getattr(after, name) - getattr(old, name) for name in _COUNTERS})


def _plus(one: RequestCounters, other: RequestCounters) -> RequestCounters:
    return RequestCounters(**{name: getattr(one, name) + getattr(other, name) for name in _COUNTERS})
