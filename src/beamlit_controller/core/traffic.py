"""Sums the gateways' request counters of a model, and derives the requests of the last minute.

Counters are cumulative per gateway. `fed` turns them into increases, so that a gateway that restarts, joins or leaves
does not distort the sums.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from fractions import Fraction

from beamlit_controller.core.flow import Flow
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.core.spec import Mode, OffloadSpec

MINUTE = timedelta(seconds=60)
STALE = timedelta(seconds=30)
"""If no gateway has answered for this long, nothing is known about requests."""
MOST_MOMENTS = 128


@dataclass(frozen=True, slots=True)
class RequestCounters:
    """Counters of one or several gateways since their start; `in_flight` is the current number of local requests.

    `local` counts requests finished locally, and `kept` those of them that are local-only. The others went to the
    remote: `share` by the percentage, `overflow` because the cap was reached, `unavailable` because local was down,
    failed or rejected, `forced` because the client requested it. `unanswered` got no response from either side; invalid
    requests do not count. A request whose client left before the response counts for the side that it waited for. First
    bytes are those of response bodies, in milliseconds, of requests that might have left: a streaming server may send
    its headers long before.
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
        """Return the number of requests that the remote answered."""
        return self.share + self.overflow + self.unavailable + self.forced


NOTHING = RequestCounters()
_COUNTERS = tuple(each.name for each in fields(RequestCounters) if each.name != "in_flight")


@dataclass(frozen=True, slots=True)
class CountersAt:
    """The cumulative counters at a moment."""

    at: datetime
    counted: RequestCounters


@dataclass(frozen=True, slots=True)
class Meter:
    """A model's counters: the last ones of each gateway, and the sums of the last minute, the latest last."""

    gateways: tuple[tuple[str, RequestCounters], ...] = ()
    recent: tuple[CountersAt, ...] = ()


@dataclass(frozen=True, slots=True)
class Minute:
    """The requests of the last minute or of a part of it; `counted` covers `span`. `moments` are the sums from which it was taken."""

    span: timedelta
    counted: RequestCounters
    moments: tuple[CountersAt, ...] = field(default=(), compare=False)


def leaves_by_cap(spec: OffloadSpec, cap: Fraction | None, reason: str) -> bool:
    """Return whether requests leave only above the cap, so that the percentage is an upper limit.

    Otherwise the percentage leaves in any case: in the other modes, with an override, or with a cap of 0.
    """
    return spec.behavior.mode is Mode.ADAPTIVE and reason != Reason.OVERRIDDEN and cap != 0


def fed(meter: Meter, answers: Mapping[str, RequestCounters | None], now: datetime) -> Meter:
    """Return the meter with the gateways' current counters, by name; None for a gateway that did not answer.

    Gateways that are not named are gone. Counts from before a gateway was first seen are ignored, and a gateway whose
    counters decreased has restarted. If none answers, nothing is known of this moment.
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


def shifted(meter: Meter, step: timedelta) -> Meter:
    """Return the meter with its times shifted by a step of the clock."""
    return replace(meter, recent=tuple(replace(each, at=each.at + step) for each in meter.recent))


def flow(meter: Meter, since: datetime | None, now: datetime, *, by_cap: bool) -> Flow | Missing:
    """Return the requests since a moment; with `by_cap`, those that left by percentage count as above the cap."""
    if not meter.recent:
        return Missing(Reason.NO_SERIES, "no gateway has reported stats yet")
    last = meter.recent[-1]
    if now - last.at > STALE:
        return Missing(Reason.TIMED_OUT, f"no gateway has reported stats for {(now - last.at).total_seconds():.0f} s")
    begin = _at(meter, since)
    seen = fresh(begin.counted, last.counted)
    levels = [each.counted.in_flight for each in meter.recent if each.at > begin.at] or [last.counted.in_flight]
    overflowed = seen.overflow + (seen.share if by_cap else 0)
    sent = seen.remote + seen.unanswered
    return Flow(
        begin.at,
        last.at,
        last.counted.in_flight,
        max(levels),
        seen.local,
        sent,
        overflowed,
        seen.local_first_bytes,
        seen.local_first_byte_ms,
    )


def minute(meter: Meter, now: datetime) -> Minute | None:
    """Return the results of the last minute's requests; None if unknown."""
    if len(meter.recent) < 2 or now - meter.recent[-1].at > STALE:  # noqa: PLR2004 - a span has two ends
        return None
    return between(meter.recent)


def between(moments: tuple[CountersAt, ...]) -> Minute:
    """Return the requests from the first of these moments to the last one."""
    first, last = moments[0], moments[-1]
    counted = replace(fresh(first.counted, last.counted), in_flight=last.counted.in_flight)
    return Minute(last.at - first.at, counted, moments)


def _at(meter: Meter, since: datetime | None) -> CountersAt:
    """Return the last entry that is not after a moment; the first one if all are."""
    earlier = [each for each in meter.recent if since is not None and each.at <= since]
    return earlier[-1] if earlier else meter.recent[0]


def _lately(moments: tuple[CountersAt, ...], now: datetime) -> tuple[CountersAt, ...]:
    """Drop entries older than a minute, except the one that covers its beginning, and entries in the future after the clock was set back."""
    known = tuple(each for each in moments if each.at <= now)[-MOST_MOMENTS:]
    needless = sum(1 for following in known[1:] if following.at <= now - MINUTE)
    return known[needless:]


def fresh(before: RequestCounters, after: RequestCounters) -> RequestCounters:
    """Return the difference to earlier counts; the new counts if any of them decreased, because then the gateway restarted."""
    fell = any(getattr(after, name) < getattr(before, name) for name in _COUNTERS)
    old = NOTHING if fell else before
    return RequestCounters(**{name: getattr(after, name) - getattr(old, name) for name in _COUNTERS})


def _plus(one: RequestCounters, other: RequestCounters) -> RequestCounters:
    return RequestCounters(**{name: getattr(one, name) + getattr(other, name) for name in _COUNTERS})
