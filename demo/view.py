"""What a run looks like while it goes on, for a terminal of any size: pure, from the book to a picture of characters."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from demo import bars
from demo.bars import Axis, Levels, Stack
from demo.recorder import Recorder, Side, Spending, Tick, smoothed

LOCAL_COLOUR, REMOTE_COLOUR = "dodger_blue1", "dark_orange"
LABEL_COLUMNS, FIGURE_COLUMNS = 16, 8
GUTTER = LABEL_COLUMNS + FIGURE_COLUMNS + 1
MARGIN = 1
OTHER_ROWS = 19
"""What stands above and below the columns."""
LEAST_ROWS, MOST_ROWS = 3, 24
WHY_ROWS, LONG_WORD = 3, 12
"""Rows for the controller's words; a row may lose this much where a long word does not fit."""


NO_CONTROLLER = "no controller runs yet: all requests go to the local servers"


def frame(book: Recorder, *, now: float, seconds: float, width: int, height: int) -> RenderableType:
    """Draw the run so far for a terminal of that size; `seconds` is how long it will take, about."""
    axis = bars.axis(max(seconds, now), width - GUTTER - MARGIN)
    rows = min(max(height - OTHER_ROWS, LEAST_ROWS), MOST_ROWS)
    return Group(
        _title(now, seconds),
        _phase(book),
        Text(),
        *_answered(book, axis, rows),
        *_lines(book, axis),
        Text(),
        _served(book),
        _spending(book),
        Text(),
        _why(book, (width - LONG_WORD) * WHY_ROWS),
    )


def _title(now: float, seconds: float) -> RenderableType:
    grid = Table.grid(expand=True)
    grid.add_column()
    grid.add_column(justify="right")
    name = Text("Local full, and only what does not fit leaves", style="bold")
    grid.add_row(name, Text(f"{now:.0f} s of about {seconds:.0f} s", style="dim"))
    return grid


def _phase(book: Recorder) -> Text:
    if book.phase is None:
        return Text("starting", style="dim")
    return Text.assemble(("▸ ", "bold"), str(book.phase))


def _answered(book: Recorder, axis: Axis, rows: int) -> Iterator[Text]:
    """Draw what each side answered per second, over the time axis."""
    ticks = smoothed(book.ticks)
    local = axis.mean(ticks, lambda tick: tick.local)
    remote = axis.mean(ticks, lambda tick: tick.remote)
    both = tuple(None if lower is None else lower + (upper or 0.0) for lower, upper in zip(local, remote, strict=True))
    limits = [book.capacity if seen is None else seen for seen in axis.mean(ticks, lambda tick: tick.capacity)]
    top = bars.highest([both], least=max(limits) * 2)
    stack = Stack(local, remote, LOCAL_COLOUR, REMOTE_COLOUR, top, limits)
    yield _legend(book)
    for row, columns in enumerate(bars.columns(stack, rows)):
        figure = f"{top:.0f}" if row == 0 else "0" if row == rows - 1 else ""
        yield Text.assemble((f"{figure:>{GUTTER - 1}} ", "dim"), columns)
    yield Text(" " * GUTTER + axis.figures(), style="dim")


def _legend(book: Recorder) -> Text:
    return Text.assemble(
        "answered/s   ",
        ("■", LOCAL_COLOUR),
        " locally   ",
        ("■", REMOTE_COLOUR),
        " by the remote   ",
        (bars.LIMIT * 2, "dim"),
        f" the most that local can do ({book.capacity:.1f}/s)",
    )


@dataclass(frozen=True, slots=True)
class _Line:
    """One value over time: how it is named, read, written, and what its bars are held against."""

    label: str
    value: Callable[[Tick], float | None]
    write: Callable[[float], str]
    colour: str
    top: Callable[[Levels], float]


def _lines(book: Recorder, axis: Axis) -> Iterator[Text]:
    for line in LINES:
        levels = axis.mean(book.ticks, line.value)
        now = line.value(book.ticks[-1]) if book.ticks else None
        figure = "-" if now is None else line.write(now)
        yield Text.assemble(
            f"{line.label:<{LABEL_COLUMNS}}",
            (f"{figure:>{FIGURE_COLUMNS}}", "bold"),
            " ",
            bars.line(levels, top=line.top(levels), style=line.colour),
        )


def _ratio(tick: Tick) -> float | None:
    return tick.state.ratio if tick.state else None


def _cap(tick: Tick) -> float | None:
    return tick.state.cap if tick.state else None


def _waiting(tick: Tick) -> float | None:
    return tick.waiting


def _at_least(least: float) -> Callable[[Levels], float]:
    return lambda levels: bars.highest([levels], least=least)


LINES = (
    _Line("load", lambda tick: tick.came, lambda value: f"{value:.1f}/s", "default", _at_least(1)),
    _Line("queue", _waiting, lambda value: f"{value:.0f}", "medium_purple1", _at_least(8)),
    _Line("ratio to target", _ratio, lambda value: f"{value:.2f}", "medium_purple1", _at_least(1)),
    _Line("cap per server", _cap, lambda value: f"{value:.1f}", "gold3", _at_least(8)),
    _Line("to the remote", lambda tick: tick.sent, lambda value: f"{value:.0f} %", REMOTE_COLOUR, lambda _: 100),
    _Line("1st token p50", lambda tick: tick.p50, lambda value: f"{value:.2f} s", "spring_green3", _at_least(0.5)),
    _Line("1st token p95", lambda tick: tick.p95, lambda value: f"{value:.2f} s", "spring_green3", _at_least(0.5)),
)


def _served(book: Recorder) -> Text:
    failed = len(book.failures())
    return Text.assemble(
        ("■", LOCAL_COLOUR),
        f" {book.served(Side.LOCAL)} answered locally   ",
        ("■", REMOTE_COLOUR),
        f" {book.served(Side.REMOTE)} by the remote   ",
        (f"{book.in_flight} under way   ", "dim"),
        (f"{failed} failed", "bold red" if failed else "dim"),
    )


def _spending(book: Recorder) -> Text:
    """Say what each remote answered and cost, and what is left of its budget."""
    remotes = Text("   ").join(
        Text(f"{each.remote}: {each.requests} for {each.cost}{_used(each)}") for each in book.spending
    )
    remotes.no_wrap, remotes.overflow = True, "ellipsis"
    return remotes


def _used(spending: Spending) -> str:
    if spending.budget is None:
        return ""
    return ", budget spent" if spending.is_spent else f", {spending.budget} % of its budget"


def _why(book: Recorder, most: int) -> Text:
    """Say in words what the controller decided and why, in so many characters at most."""
    state = book.ticks[-1].state if book.ticks else None
    if state is None:
        gone = book.phase is not None and book.phase.offloading
        return Text("the controller does not answer; the gateway keeps its cap" if gone else NO_CONTROLLER, style="dim")
    limit = "no cap yet" if state.cap is None else f"at most {state.cap:.1f} in flight per local server"
    said = Text.assemble((limit, "bold"), f", {state.reason}: {state.message}")
    said.truncate(most, overflow="ellipsis")
    return said
