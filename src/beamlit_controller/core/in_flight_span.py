"""The gateways' recent counts, as Adaptive mode keeps them: one span per report, the latest last."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction

from beamlit_controller.core.flow import Flow

MEMORY = timedelta(seconds=150)
"""Age up to which spans are kept, since a metric may be that late."""
GRAIN = timedelta(seconds=3)
"""Spans shorter than this are merged later."""
FINE = 4
"""Number of the most recent spans that are not merged, so that an instant reading can be matched to the requests in flight at that moment."""
SPANS = 60
"""Number of spans that are kept."""


@dataclass(frozen=True, slots=True)
class InFlightSpan:
    """One report of the gateways: requests in flight per ready replica at its end, and counts summed over all replicas.

    `first_bytes` are those of local responses, and `first_byte_ms` is the sum of the times to them, in milliseconds.
    """

    since: datetime
    until: datetime
    in_flight: Fraction
    served: int
    sent: int
    overflowed: int
    ready: int = 1
    first_bytes: int = 0
    first_byte_ms: int = 0


def added(recent: tuple[InFlightSpan, ...], flow: Flow, *, ready: int) -> tuple[InFlightSpan, ...]:
    """Add the gateways' counts since the previous round. Very short spans are merged once they are older than the last few."""
    if flow.until <= flow.since:
        return recent
    kept = [each for each in recent if flow.until - MEMORY < each.until <= flow.since]
    if len(kept) > FINE and kept[-FINE - 1].until - kept[-FINE - 1].since < GRAIN:
        kept[-FINE - 1 : -FINE + 1] = [_joined(kept[-FINE - 1], kept[-FINE])]
    return (*kept[-SPANS + 1 :], _span(flow, max(1, ready)))


def _span(flow: Flow, ready: int) -> InFlightSpan:
    return InFlightSpan(
        flow.since,
        flow.until,
        Fraction(max(0, flow.in_flight), ready),
        max(0, flow.served),
        max(0, flow.sent),
        max(0, flow.overflowed),
        ready,
        max(0, flow.first_bytes),
        max(0, flow.first_byte_ms),
    )


def _joined(one: InFlightSpan, other: InFlightSpan) -> InFlightSpan:
    return InFlightSpan(
        one.since,
        other.until,
        other.in_flight,
        one.served + other.served,
        one.sent + other.sent,
        one.overflowed + other.overflowed,
        other.ready,
        one.first_bytes + other.first_bytes,
        one.first_byte_ms + other.first_byte_ms,
    )
