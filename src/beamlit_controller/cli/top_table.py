"""The table of `top`: one line per model, those that need attention first."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from beamlit_controller.api import advice, destination, headline, recent
from beamlit_controller.api.models_view import MetricView, ModelsView, ModelView, Rank, WaitingView
from beamlit_controller.core import printable
from beamlit_controller.core.reason import Reason

LONGEST_NAME = 40
GAP = 2
"""Blanks between two columns."""
LONGEST_METRIC = 32
BESIDE = 7
"""Number of lines besides the models: the summary, the header, how many models don't fit, and mistakes."""
LEAST = 10
"""The width that a column leaves for each later one, however long its cells are."""
MOST_DETAILED = 10
"""Number of models needing attention, or with an override, that are described in full below the table."""
DETAIL_LINES = 4
"""Lines that such a description takes."""
REQUESTS_FROM, METRIC_FROM, REMOTE_FROM = 100, 150, 170
"""Terminal widths from which the columns for requests, the metric and the remote are shown."""


WORDS: Mapping[Rank, tuple[str, str]] = {
    "failing": ("failing", "bold red"),
    "blind": ("without metrics", "red"),
    "short": ("not enough", "bold yellow"),
    "offloading": ("offloading", "yellow"),
    "local": ("local", "green"),
    "disabled": ("disabled", "magenta"),
}
"""Label and style of each rank, the most urgent first."""
ORDER = tuple(WORDS)
NEEDS_A_PERSON = frozenset(ORDER[:3])


@dataclass(frozen=True, slots=True)
class Line:
    """One model as `top` shows it."""

    rank: Rank
    name: str
    state: str
    why: str
    todo: str = ""
    metric: str = "-"
    ready: str = "-"
    remote: str = "-"
    since: str = "-"
    requests: str = "-"
    by_hand: bool = False


def show(answer: ModelsView, width: int, height: int | None = None) -> RenderableType:
    """Render all models; those beyond `height` lines are only counted."""
    lines = sorted(_lines(answer), key=lambda line: (ORDER.index(line.rank), line.name))
    room = len(lines) if height is None else max(height - BESIDE, 1)
    spare = MOST_DETAILED if height is None else (room - len(lines)) // DETAIL_LINES
    return Group(
        _summary(answer, lines), Text(), *_body(lines, width, room=room), *_details(lines, spare), *_mistakes(answer)
    )


def _body(lines: Sequence[Line], width: int, *, room: int) -> Iterator[RenderableType]:
    if not lines:
        yield Text("no models")
        return
    yield _table(lines[:room], width)
    if len(lines) > room:
        yield Text(f"and {len(lines) - room} more", "dim")


def _lines(answer: ModelsView) -> Iterator[Line]:
    for waiting in answer.waiting:
        yield _waiting(waiting)
    for model in answer.models:
        yield _line(model, answer.at)


def _waiting(model: WaitingView) -> Line:
    return Line("failing", _name(model), "NO ROUND YET", model.failure.error, advice.BUG)


def _line(model: ModelView, now: datetime) -> Line:
    worst = max((each for each in model.metrics if each.ratio is not None), key=_ratio, default=None)
    seen = headline.of(model, now)
    return Line(
        rank=seen.rank,
        name=_name(model),
        state=seen.state.upper(),
        why=seen.why,
        todo="; ".join(filter(None, (seen.effect, seen.advice and f"to do: {seen.advice}"))),
        metric=_metric(worst) if worst else "-",
        ready=f"{model.local.ready}/{model.local.total}",
        remote=destination.first_host(model) or "-",
        since=headline.span((now - seen.since).total_seconds()) if seen.since else "-",
        requests=_requests(model),
        by_hand=model.decision.reason == Reason.OVERRIDDEN,
    )


def _requests(model: ModelView) -> str:
    seen = recent.requests(model)
    return f"{seen.local_per_second:.1f} + {seen.remote_per_second:.1f}" if seen else "-"


def _metric(metric: MetricView) -> str:
    return f"{printable.short(metric.name, LONGEST_METRIC)} {metric.value} of {metric.target} ({_ratio(metric):.0%})"


def _ratio(metric: MetricView) -> float:
    return metric.ratio or 0.0


# Drawing.


def _summary(answer: ModelsView, lines: Sequence[Line]) -> Text:
    counts = Counter(line.rank for line in lines)
    total = f"{len(lines)} model{'' if len(lines) == 1 else 's'}"
    text = Text.assemble((total, "bold"))
    for rank, (word, style) in WORDS.items():
        if counts[rank]:
            text.append("  ").append(f"{counts[rank]} {word}", style)
    return text.append(f"  {answer.at:%H:%M:%SZ}", "dim")


def _table(lines: Sequence[Line], width: int) -> Table:
    table = Table(box=None, padding=(0, GAP, 0, 0), header_style="dim", expand=False)
    columns = tuple(_columns(lines, width))
    for column, cells_wide in zip(columns, _widths(columns, width), strict=True):
        table.add_column(column.title, no_wrap=True, overflow="ellipsis", width=cells_wide)
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*row)
    return table


@dataclass(frozen=True, slots=True)
class Column:
    """A column. One with `whole` is never cut; the others share the remaining width, the first ones first."""

    title: str
    cells: Sequence[Text]
    whole: bool = False

    @property
    def longest(self) -> int:
        """Return the width of its longest cell."""
        return max(len(self.title), *(cell.cell_len for cell in self.cells))


def _widths(columns: Sequence[Column], width: int) -> Iterator[int]:
    left = width - GAP * len(columns) - sum(column.longest for column in columns if column.whole)
    elastic = sum(not column.whole for column in columns)
    for column in columns:
        if column.whole:
            yield column.longest
        else:
            share = max(min(column.longest, max(left // elastic, left - LEAST * (elastic - 1))), 1)
            left, elastic = left - share, elastic - 1
            yield share


def _columns(lines: Sequence[Line], width: int) -> Iterator[Column]:
    """Yield the columns for a screen of this width."""
    yield Column("MODEL", [_text(printable.short(line.name, LONGEST_NAME), "bold") for line in lines])
    yield Column("STATE", [_text(line.state, WORDS[line.rank][1]) for line in lines], whole=True)
    yield Column("FOR", [_text(line.since, "dim") for line in lines], whole=True)
    yield Column("READY", [_text(line.ready) for line in lines], whole=True)
    if width >= REMOTE_FROM:
        yield Column("REMOTE", [_text(line.remote, "dim") for line in lines])
    if width >= REQUESTS_FROM and any(line.requests != "-" for line in lines):
        yield Column("LOCAL + REMOTE /s", [_text(line.requests) for line in lines], whole=True)
    if width >= METRIC_FROM:
        yield Column("HIGHEST METRIC", [_text(line.metric) for line in lines])
    yield Column("WHY", [_text(line.why, WORDS[line.rank][1] if line.rank in NEEDS_A_PERSON else "") for line in lines])


def _details(lines: Sequence[Line], most: int) -> Iterator[RenderableType]:
    """Write out in full what the table cuts for models that need attention, with advice, and for those with an override."""
    for line in [each for each in lines if each.rank in NEEDS_A_PERSON or each.by_hand][: max(most, 0)]:
        yield Text()
        yield Text.assemble((printable.line(line.name), "bold"), ": ", (printable.line(line.why), WORDS[line.rank][1]))
        if line.todo:
            yield _text(f"  {line.todo}")


def _mistakes(answer: ModelsView) -> Iterator[RenderableType]:
    if answer.problems:
        count = len(answer.problems)
        first = ": ".join(filter(None, (answer.problems[0].where, answer.problems[0].field)))
        said = f"{count} mistake{'' if count == 1 else 's'}, the first in {first}; explain shows them"
        yield Text()
        yield Text(printable.line(said), "bold red", no_wrap=True, overflow="ellipsis")


def _text(text: str, style: str = "") -> Text:
    return Text(printable.line(text), style)


def _name(model: ModelView | WaitingView) -> str:
    return f"{model.namespace}/{model.name}"
