"""What a run showed, in tables: latency with and without offloading over the same load, who answered, what changed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from demo import plan as plans
from demo.plan import Plan
from demo.recorder import Change, Phase, Recorder, Request, Side, Spending, percentile


@dataclass(frozen=True, slots=True)
class Latencies:
    """The latencies of some requests, in seconds; None where there were none."""

    requests: int
    first_p50: float | None
    first_p95: float | None
    first_most: float | None
    total_p50: float | None
    total_p95: float | None
    local: int
    remote: int
    failed: int


def tables(book: Recorder, plan: Plan) -> RenderableType:
    """Return the summary."""
    span, load = plan.peak_without.seconds, plan.peak.rate
    same = (
        f"The same {span:.0f} s of {load:.1f} requests/s, of which the local servers can answer {plans.capacity():.1f}"
    )
    return Group(
        Text(same, style="bold"),
        _comparison(book, plan),
        _sides(book),
        *_spending(book.spending),
        Text("\nHow many requests each local server may have in flight", style="bold"),
        _changes(book.changes),
    )


def same_peak(book: Recorder, plan: Plan) -> tuple[tuple[Request, ...], ...]:
    """Return the requests of the peak without offloading, of equally many seconds with it, and with half of the slots."""
    span = plan.peak_without.seconds
    return tuple(_first(book, phase, span) for phase in (plan.peak_without, plan.peak, plan.halved))


def _first(book: Recorder, phase: Phase, span: float) -> tuple[Request, ...]:
    end = next((begun.at for begun in book.begun if begun.phase == phase), 0.0) + span
    return tuple(request for request in book.requests if request.phase == phase.name and request.at < end)


def latencies(requests: Iterable[Request]) -> Latencies:
    """Compute the latencies of requests, and count who answered them."""
    asked = tuple(requests)
    answered = [request for request in asked if not request.failure]
    first = [request.first_token for request in answered if request.first_token is not None]
    total = [request.total for request in answered]
    return Latencies(
        requests=len(asked),
        first_p50=percentile(first, 50),
        first_p95=percentile(first, 95),
        first_most=max(first, default=None),
        total_p50=percentile(total, 50),
        total_p95=percentile(total, 95),
        local=sum(request.side is Side.LOCAL for request in answered),
        remote=sum(request.side is Side.REMOTE for request in answered),
        failed=len(asked) - len(answered),
    )


def _comparison(book: Recorder, plan: Plan) -> Table:
    seen = [latencies(requests) for requests in same_peak(book, plan)]
    table = Table()
    table.add_column()
    for title in ("without offloading", "with offloading", "half of the slots gone"):
        table.add_column(title, justify="right")
    for label, value in ROWS:
        table.add_row(label, *map(value, seen))
    return table


def _sides(book: Recorder) -> Text:
    gateway = {begun.phase.name for begun in book.begun if begun.phase.offloading}
    through = latencies(request for request in book.requests if request.phase in gateway)
    return Text(
        f"Through the gateway, over the whole run: {through.requests} requests, {through.local} answered locally, "
        f"{through.remote} by the remote, {through.failed} failed."
    )


def _spending(remotes: Sequence[Spending]) -> Iterator[RenderableType]:
    if not remotes:
        return
    table = Table()
    table.add_column("remote")
    for title in ("requests", "tokens", "cost", "of its budget"):
        table.add_column(title, justify="right")
    for each in remotes:
        used = "no budget" if each.budget is None else f"{each.budget} %{', spent' if each.is_spent else ''}"
        table.add_row(each.remote, str(each.requests), str(each.tokens), each.cost, used)
    yield Text("\nWhat each remote answered, as the controller accounts for it", style="bold")
    yield table


def _changes(changes: Iterable[Change]) -> Table:
    table = Table()
    table.add_column("at", justify="right")
    table.add_column("at most", justify="right")
    table.add_column("why")
    for change in changes:
        why = f"{change.reason}: {change.message}"
        table.add_row(f"{change.at:.1f} s", f"{_cap(change.before)} → {_cap(change.after)}", Text(why))
    return table


def _cap(cap: float | None) -> str:
    return "no limit" if cap is None else f"{cap:.1f}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


ROWS: tuple[tuple[str, Callable[[Latencies], str]], ...] = (
    ("time to first token, p50", lambda seen: _seconds(seen.first_p50)),
    ("time to first token, p95", lambda seen: _seconds(seen.first_p95)),
    ("time to first token, longest", lambda seen: _seconds(seen.first_most)),
    ("whole answer, p50", lambda seen: _seconds(seen.total_p50)),
    ("whole answer, p95", lambda seen: _seconds(seen.total_p95)),
    ("requests", lambda seen: str(seen.requests)),
    ("answered locally", lambda seen: str(seen.local)),
    ("answered by the remote", lambda seen: str(seen.remote)),
    ("failed", lambda seen: str(seen.failed)),
)
