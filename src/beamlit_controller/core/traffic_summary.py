"""Summarizes a model's requests of the last minute, as numbers and as a sentence."""

from dataclasses import dataclass
from fractions import Fraction

from beamlit_controller.core import limits, traffic
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.traffic import Minute

WHY = ("share", "overflow", "unavailable", "forced")
"""Why a request went to the remote: the percentage, the cap, local being down, failing or rejecting, or the client's choice."""


@dataclass(frozen=True, slots=True)
class TrafficSummary:
    """The requests of a time span: per second and side, and as fractions of all requests.

    `left` has the fraction that went to the remote by reason, `kept` the fraction that is local-only, and `unanswered`
    the fraction without a response. First-byte values are the mean time to the first byte of a response body in
    milliseconds, None if there was none.
    """

    local: float
    remote: float
    left: tuple[tuple[str, float], ...]
    kept: float
    unanswered: float
    in_flight: int
    local_first_byte_ms: float | None
    remote_first_byte_ms: float | None

    @property
    def sent(self) -> float:
        """Return the fraction of all requests that went to the remote."""
        return sum(part for _, part in self.left)


def summarize(minute: Minute) -> TrafficSummary:
    """Summarize a minute; without requests all fractions are 0."""
    seen, seconds = minute.counted, max(minute.span.total_seconds(), 0.001)
    whole = max(1, seen.local + seen.remote + seen.unanswered)
    return TrafficSummary(
        local=seen.local / seconds,
        remote=seen.remote / seconds,
        left=tuple((why, getattr(seen, why) / whole) for why in WHY),
        kept=seen.kept / whole,
        unanswered=seen.unanswered / whole,
        in_flight=seen.in_flight,
        local_first_byte_ms=_mean(seen.local_first_byte_ms, seen.local_first_bytes),
        remote_first_byte_ms=_mean(seen.remote_first_byte_ms, seen.remote_first_bytes),
    )


def limit(cycle: Cycle) -> Fraction | None:
    """Return the limit of local requests in flight over all ready servers; None if unlimited."""
    spec, decided = cycle.spec, cycle.decision
    by_cap = traffic.leaves_by_cap(spec, decided.cap, decided.reason)
    cap = decided.cap if by_cap else None
    return limits.in_flight(spec, cap, ready=cycle.signals.local.ready, gateways=1)


def sentence(summary: TrafficSummary, limit: Fraction | None) -> str:
    """Format a summary as a sentence; `limit` is the maximum number of local requests in flight."""
    why = ", ".join(f"{_percent(part)} {name}" for name, part in summary.left if part)
    sent = f"{_percent(summary.sent)} went to the remote" + (f" ({why})" if why else "")
    none = f"; {_percent(summary.unanswered)} unanswered" if summary.unanswered else ""
    most = f" of at most {float(limit):.4g}" if limit is not None else ""
    return f"{summary.local:.3g}/s local, {summary.remote:.3g}/s remote: {sent}{none}; {summary.in_flight}{most} in flight at local"


def _percent(part: float) -> str:
    return f"{100 * part:.3g} %"


def _mean(total: int, count: int) -> float | None:
    return total / count if count else None
