"""The table of `top`: one line per model, those that need attention first."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from urllib.parse import urlsplit

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from beamlit_controller.api.models_view import MetricView, ModelsView, ModelView, WaitingView
from beamlit_controller.core import printable

LATE = 60
"""Seconds after which a round is old enough to be noticed."""
LONGEST_NAME = 40
GAP = 2
"""Blanks between two columns."""
LONGEST_METRIC = 32
BESIDE = 7
"""Lines of the screen that are no models: the summary, the header, what is left out, and mistakes."""
METRIC_FROM, REMOTE_FROM = 100, 130
"""Columns of the terminal from which on there is room for the metric and the remote."""


class Rank(IntEnum):
    """How urgently a model needs attention; the lowest is shown first."""

    FAILING = 0
    BLIND = 1
    OFFLOADING = 2
    LOCAL = 3
    DISABLED = 4


WORDS = {
    Rank.FAILING: ("failing", "bold red"),
    Rank.BLIND: ("without metrics", "red"),
    Rank.OFFLOADING: ("offloading", "bold yellow"),
    Rank.LOCAL: ("local", "green"),
    Rank.DISABLED: ("disabled", "magenta"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One model as `top` shows it."""

    rank: Rank
    name: str
    state: str
    why: str
    metric: str = "-"
    ready: str = "-"
    remote: str = "-"
    since: str = "-"
    requests: str = "-"


def show(answer: ModelsView, width: int, height: int | None = None) -> RenderableType:
    """Render all models; those beyond `height` lines are only counted."""
    lines = sorted(_lines(answer), key=lambda line: (line.rank, line.name))
    room = len(lines) if height is None else max(height - BESIDE, 1)
    return Group(_summary(answer, lines), Text(), *_body(lines, width, room=room), *_mistakes(answer))


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
    return Line(Rank.FAILING, _name(model), "NO ROUND YET", model.failure.error)


def _line(model: ModelView, now: datetime) -> Line:
    worst = max((each for each in model.metrics if each.ratio is not None), key=_ratio, default=None)
    return Line(
        rank=rank(model, now),
        name=_name(model),
        state=_state(model),
        why=_why(model, now),
        metric=_metric(worst) if worst else "-",
        ready=f"{model.local.ready}/{model.local.total}",
        remote=urlsplit(model.remote).netloc if model.remote else "-",
        since=_span((now - model.decision.since).total_seconds()),
        requests=_requests(model),
    )


def rank(model: ModelView, now: datetime) -> Rank:
    """Give the rank of a model."""
    if model.failure or _late(model, now) or gateway_problem(model):
        return Rank.FAILING
    if not model.enabled:
        return Rank.DISABLED
    if any(metric.missing for metric in model.metrics):
        return Rank.BLIND
    by_share = model.decision.percentage and not model.decision.cap and not model.dry_run
    return Rank.OFFLOADING if by_share or left(model) else Rank.LOCAL


def left(model: ModelView) -> int:
    """Give the percentage of the last minute's requests that the remote answered; 0 if unknown."""
    return round(model.traffic.sent * 100) if model.traffic else 0


def _requests(model: ModelView) -> str:
    traffic = model.traffic
    return f"{traffic.local_per_second:.1f}/s local, {traffic.remote_per_second:.1f}/s remote" if traffic else "-"


def gateway_problem(model: ModelView) -> str:
    """Describe the problem of the model's gateway or remote; "" if there is none."""
    known = model.gateway or {}
    if known.get("problem"):
        return str(known["problem"])
    down = [name for name in ("ready", "connected") if known.get(name) is False]
    return f"the gateway is not {' and not '.join(down)}" if down else _remote_problem(known.get("remote"))


def _remote_problem(remote: object) -> str:
    if not isinstance(remote, Mapping) or remote.get("status") != "False":
        return ""
    return f"{remote.get('reason')}: {remote.get('message')}"


def _late(model: ModelView, now: datetime) -> bool:
    return (now - model.at).total_seconds() > LATE


def _why(model: ModelView, now: datetime) -> str:
    if model.failure:
        return f"the last round failed: {model.failure.error}"
    if _late(model, now):
        return f"no round for {_span((now - model.at).total_seconds())}"
    return gateway_problem(model) or model.decision.reason


def _state(model: ModelView) -> str:
    percentage = model.decision.percentage
    if not model.enabled:
        return "DISABLED"
    if model.dry_run:
        return f"DRY RUN {percentage} %"
    if percentage and not model.decision.cap:
        return f"OFFLOADING {percentage} %"
    return f"LOCAL, {left(model)} % LEFT" if left(model) else "LOCAL"


def _metric(metric: MetricView) -> str:
    return f"{printable.short(metric.name, LONGEST_METRIC)} {metric.value} of {metric.target} ({_ratio(metric):.0%})"


def _ratio(metric: MetricView) -> float:
    return metric.ratio or 0.0


# Drawing.


def _summary(answer: ModelsView, lines: Sequence[Line]) -> Text:
    counts = Counter(line.rank for line in lines)
    total = f"{len(lines)} model{'' if len(lines) == 1 else 's'}"
    text = Text.assemble((total, "bold"))
    for rank_, (word, style) in WORDS.items():
        if counts[rank_]:
            text.append("  ").append(f"{counts[rank_]} {word}", style)
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
    """A column. One with `whole` is never cut; the others share the remaining width."""

    title: str
    cells: Sequence[Text]
    whole: bool = False

    @property
    def longest(self) -> int:
        """Give the width of its longest cell."""
        return max(len(self.title), *(cell.cell_len for cell in self.cells))


def _widths(columns: Sequence[Column], width: int) -> Iterator[int]:
    left = width - GAP * len(columns) - sum(column.longest for column in columns if column.whole)
    elastic = sum(not column.whole for column in columns)
    for column in columns:
        if column.whole:
            yield column.longest
        else:
            share = max(min(column.longest, left // elastic), 1)
            left, elastic = left - share, elastic - 1
            yield share


def _columns(lines: Sequence[Line], width: int) -> Iterator[Column]:
    """Give the width of each column that fits. Columns that may be cut are served from the shortest to the longest."""
    yield Column("MODEL", [_text(printable.short(line.name, LONGEST_NAME), "bold") for line in lines])
    yield Column("STATE", [_text(line.state, WORDS[line.rank][1]) for line in lines], whole=True)
    yield Column("FOR", [_text(line.since, "dim") for line in lines], whole=True)
    yield Column("READY", [_text(line.ready) for line in lines], whole=True)
    if width >= REMOTE_FROM:
        yield Column("REMOTE", [_text(line.remote, "dim") for line in lines])
    if width >= METRIC_FROM and any(line.requests != "-" for line in lines):
        yield Column("REQUESTS", [_text(line.requests) for line in lines], whole=True)
    if width >= METRIC_FROM:
        yield Column("HIGHEST METRIC", [_text(line.metric) for line in lines])
    yield Column("WHY", [_text(line.why, WORDS[line.rank][1] if line.rank <= Rank.BLIND else "") for line in lines])


def _mistakes(answer: ModelsView) -> Iterator[RenderableType]:
    if answer.problems:
        count = len(answer.problems)
        first = ": ".join(filter(None, (answer.problems[0].where, answer.problems[0].field)))
        said = f"{count} mistake{'' if count == 1 else 's'} in manifests, the first in {first}; explain shows them"
        yield Text()
        yield Text(printable.line(said), "bold red", no_wrap=True, overflow="ellipsis")


def _text(text: str, style: str = "") -> Text:
    return Text(printable.line(text), style)


def _name(model: ModelView | WaitingView) -> str:
    return f"{model.namespace}/{model.name}"


def _span(seconds: float) -> str:
    """Format a duration in its largest unit: `38 s`, `3 min`, `2 d`."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(int(seconds), 0)} s"
