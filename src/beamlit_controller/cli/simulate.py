"""`simulate FILE`: what would have been decided on recorded metrics, as a table, JSON and pictures."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from beamlit_controller.api import informer_models
from beamlit_controller.api.settings import Prometheus, Settings
from beamlit_controller.api.status import instant
from beamlit_controller.cli import candidates, recorded
from beamlit_controller.cli.candidates import Candidate
from beamlit_controller.cli.recorded import Recorded
from beamlit_controller.core import rehearsal, wording
from beamlit_controller.core.decision import Change
from beamlit_controller.core.rehearsal import Course, Figures, Recording
from beamlit_controller.core.signals import Missing
from beamlit_controller.core.spec import AverageValue, ExternalMetric, MetricSpec, Mode, ObjectMetric, OffloadSpec
from beamlit_controller.prometheus.source import PrometheusSource, Span
from beamlit_controller.telemetry import printable
from beamlit_controller.wiring import common

POD_WINDOW = timedelta(seconds=30)
"""What a sample of the Kubernetes metrics APIs covers."""
TIMEOUT = timedelta(seconds=60)
"""For one query of a history."""
MOST_STEPS = 500_000
LATEST = 20
"""Changes that the table names."""
ASSUMED = (
    "Taken for granted: nothing was offloaded while this was recorded, and a metric follows the local share of the "
    "requests. It is decided once per sample."
)

Output = Literal["table", "json"]


@dataclass(frozen=True, slots=True)
class Past:
    """Where the recording is: in a CSV file, or in a Prometheus with the queries for what can't be asked by itself."""

    csv: Path | None
    prometheus: str | None
    span: Span
    queries: Mapping[str, str]
    rate: str | None
    replicas: int | None


@dataclass(frozen=True, slots=True)
class Played:
    """One candidate, and what came of it."""

    candidate: Candidate
    course: Course
    figures: Figures


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """All that is shown: the recording as ratios (`demands`), each candidate's course, the price of one request."""

    spec: OffloadSpec
    recording: Recording
    demands: tuple[float | None, ...]
    played: tuple[Played, ...]
    price: float | None
    notes: tuple[str, ...] = ()

    @property
    def alone(self) -> Figures:
        """Give the figures without any offloading."""
        nothing = Course(self.recording, (0,) * len(self.demands), self.demands, ())
        return rehearsal.figures(nothing)

    @property
    def gaps(self) -> float:
        """Give the fraction of the samples without a value of every metric."""
        return sum(None in values for values in self.recording.values) / len(self.recording.values)

    def cost(self, figures: Figures) -> float | None:
        """Give what the remote would have taken."""
        return None if self.price is None or figures.offloaded is None else self.price * figures.offloaded


def simulate(
    text: str, settings: Settings, past: Past, *, name: str | None, sets: list[str], price: float | None
) -> Rehearsal:
    """Rehearse a model. Raises ValueError and OSError."""
    listed = candidates.read(text, _readable(settings, past), name=name, sets=sets)
    spec = listed[0].spec
    made = _recording(spec, settings, past)
    recording = made.recording
    if price is not None and not recording.rates:
        raise ValueError("--price: expected the requests per second beside it: --rate, or a column `requests` in --csv")
    window = settings.prometheus.stale_after if settings.prometheus else Prometheus("").stale_after
    if not any(isinstance(metric, ExternalMetric) for metric in spec.metrics):
        window = POD_WINDOW
    played = []
    for candidate in listed:
        course = rehearsal.rehearse(candidate.spec, recording, window=window, plain=candidate.plain)
        played.append(Played(candidate, course, rehearsal.figures(course)))
    demands = rehearsal.demands(spec, recording)
    return Rehearsal(spec, recording, demands, tuple(played), price, made.notes)


# The recording.


def _readable(settings: Settings, past: Past) -> Settings:
    """Give settings by which a PromQL query is a metric: it is what was recorded, wherever that is."""
    if settings.prometheus is not None:
        return settings
    return replace(settings, prometheus=Prometheus("") if past.csv else prometheus(settings, past.prometheus))


def _recording(spec: OffloadSpec, settings: Settings, past: Past) -> Recorded:
    divided = [metric for metric in spec.metrics if _is_divided(metric)]
    if divided and past.replicas is None:
        name = wording.name(divided[0])
        raise ValueError(f"--replicas: {name} is held against an average per replica: say of how many")
    names = {known for at, metric in enumerate(spec.metrics) for known in (wording.name(metric), f"metrics[{at}]")}
    unknown = sorted(past.queries.keys() - names)
    if unknown:
        raise ValueError(f"--query {unknown[0]}: expected one of the metrics {', '.join(sorted(names))}")
    replicas = past.replicas or 1
    if past.csv is not None:
        return recorded.read(past.csv, spec.metrics, replicas=replicas)
    return Recorded(asyncio.run(_asked(spec, prometheus(settings, past.prometheus), past, replicas)))


def _is_divided(metric: MetricSpec) -> bool:
    return isinstance(metric, ObjectMetric | ExternalMetric) and isinstance(metric.target, AverageValue)


def prometheus(settings: Settings, address: str | None) -> Prometheus:
    """Give the Prometheus to ask: that of the settings, at another address if one is given."""
    if address is None:
        if settings.prometheus is None:
            raise ValueError("expected --prometheus ADDRESS, --csv FILE, or --settings that name a Prometheus")
        return replace(settings.prometheus, timeout=TIMEOUT)
    base = settings.prometheus or Prometheus("")
    return replace(base, url=informer_models.url_of(address), timeout=TIMEOUT)


async def _asked(spec: OffloadSpec, given: Prometheus, past: Past, replicas: int) -> Recording:
    async with AsyncExitStack() as resources:
        source = await resources.enter_async_context(PrometheusSource(common.connection(given)))
        queries = [_query(source, metric, at, past.queries) for at, metric in enumerate(spec.metrics)]
        columns = [await _column(source, spec, query, past.span) for query in queries]
        rates = await _column(source, spec, past.rate, past.span) if past.rate else None
    times = past.span.times
    values = tuple(tuple(column.get(at) for column in columns) for at in times)
    first = next((number for number, row in enumerate(values) if any(value is not None for value in row)), 0)
    spoken = () if rates is None else tuple(_per_second(rates.get(at)) for at in times[first:])
    return Recording(times[first:], values[first:], spoken, replicas)


async def _column(source: PrometheusSource, spec: OffloadSpec, query: str, span: Span) -> dict[datetime, int | None]:
    values = await source.history(spec.key, query, span)
    if not isinstance(values, Missing):
        return values.values
    raise ValueError(f"{values.message} ({values.reason}, from {instant(span.since)} to {instant(span.until)})")


def _query(source: PrometheusSource, metric: MetricSpec, number: int, given: Mapping[str, str]) -> str:
    name = wording.name(metric)
    chosen = given.get(f"metrics[{number}]") or given.get(name) or source.query(metric)
    if isinstance(chosen, str):
        return chosen
    raise ValueError(
        f"metrics[{number}] ({name}): {chosen.message}; say by --query '{name}=PROMQL' what its value was "
        "(for averageUtilization in percent, for averageValue per pod), or give it in --csv"
    )


def _per_second(milli: int | None) -> float | None:
    return None if milli is None else milli / 1000


# What is shown.


def show(done: Rehearsal) -> RenderableType:
    """Give the table for people."""
    return Group(*(Text(line) for line in head(done)), Text(), table(done), Text(), *_lines(done), Text(ASSUMED, "dim"))


def head(done: Rehearsal) -> list[str]:
    """Say what was rehearsed."""
    times = done.recording.times
    metrics = ", ".join(f"{wording.name(each)} (target {wording.target(each.target)})" for each in done.spec.metrics)
    gaps = f", {100 * done.gaps:.1f} % of them incomplete" if done.gaps else ""
    requests = done.alone.requests
    counted = f", {requests:,.0f} requests" if requests is not None else ""
    return [
        printable.line(f"{done.spec.key}: {metrics}"),
        f"{times[0]:%Y-%m-%d %H:%M} to {times[-1]:%Y-%m-%d %H:%M} UTC, {len(times):,} samples{gaps}{counted}",
        *(printable.line(f"The file: {note}.") for note in done.notes),
        *([_LEARNED] if any(each.candidate.spec.behavior.mode is Mode.ADAPTIVE for each in done.played) else []),
    ]


_LEARNED = (
    "Adaptive: as with a cap that has been learned, and a metric that grows with the load. A recording doesn't tell what was "
    "in flight, so neither how long learning takes nor what a queue hides can be known."
)


def table(done: Rehearsal) -> Table:
    """Give one row for each way to decide."""
    first, *figures = header(done)
    made = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    made.add_column(first, overflow="fold")
    for column in figures:
        made.add_column(column.replace(" ", "\n"), justify="right", no_wrap=True)
    for row in cells(done):
        made.add_row(*(Text(cell) for cell in (row[0].replace(",", ",\n"), *row[1:])))
    return made


def header(done: Rehearsal) -> list[str]:
    """Give the names of the columns."""
    counted = ["requests moved"] if done.recording.rates else []
    priced = ["cost"] if done.price is not None else []
    return ["", "offloads (time)", "mean share", "changes", "flaps", "over target", *counted, *priced]


def cells(done: Rehearsal) -> list[list[str]]:
    """Give the rows: nothing offloaded, as written, with each other value, and by the plain rule."""
    rows = [("nothing offloaded", done.alone), *((each.candidate.name, each.figures) for each in done.played)]
    return [[printable.line(name), *_cells(done, figures)] for name, figures in rows]


def _cells(done: Rehearsal, figures: Figures) -> list[str]:
    whole = figures.seconds or 1.0
    cost = done.cost(figures)
    return [
        f"{100 * figures.offloading / whole:.1f} %",
        f"{figures.mean:.1f} %",
        str(figures.changes),
        str(figures.flaps),
        f"{100 * figures.over / whole:.1f} %",
        *([] if figures.offloaded is None else [f"{figures.offloaded:,.0f}"]),
        *([] if cost is None else [f"{cost:,.2f}"]),
    ]


def _lines(done: Rehearsal) -> list[RenderableType]:
    """Name the last changes of the model as written."""
    changes = done.played[0].course.changes
    if not changes:
        return [Text("As written, the share would never have changed."), Text()]
    left_out = len(changes) - LATEST
    title = f"The last {LATEST} of {len(changes)} changes, as written:" if left_out > 0 else "Changes, as written:"
    made = Table.grid(padding=(0, 2))
    for change in changes[-LATEST:]:
        moved = f"{change.previous} % -> {change.percentage} %"
        why = printable.line(f"{change.reason}: {change.message}")
        made.add_row(Text(f"{change.at:%Y-%m-%d %H:%M:%S}"), Text(moved), Text(why))
    return [Text(title), made, Text()]


def as_json(done: Rehearsal) -> str:
    """Give all of it for programs: times in RFC 3339, spans in seconds, shares in percent."""
    times = done.recording.times
    document: dict[str, Any] = {
        "namespace": done.spec.key.namespace,
        "name": done.spec.key.name,
        "since": instant(times[0]),
        "until": instant(times[-1]),
        "samples": len(times),
        "incomplete": done.gaps,
        "courses": [
            {"name": "nothing offloaded", **_numbers(done, done.alone), "shares": []},
            *(
                {
                    "name": each.candidate.name,
                    **_numbers(done, each.figures),
                    "shares": [_change(change) for change in each.course.changes],
                }
                for each in done.played
            ),
        ],
        "notes": list(done.notes),
        "assumed": ASSUMED,
    }
    return json.dumps(document, indent=2)


def _numbers(done: Rehearsal, figures: Figures) -> dict[str, Any]:
    return {**asdict(figures), "cost": done.cost(figures)}


def _change(change: Change) -> dict[str, Any]:
    return {**asdict(change), "at": instant(change.at)}


def span(since: timedelta, until: datetime | None, step: timedelta) -> Span:
    """Give the steps of a span that ends at a time, or now; they are whole multiples of a step. Raises ValueError."""
    if since // step > MOST_STEPS:
        most = f"{MOST_STEPS:,} steps of {step.total_seconds():g} s"
        raise ValueError(f"--since: expected at most {most}, got {since // step:,}")
    end = until or datetime.now(UTC)
    try:
        last = datetime.fromtimestamp(end.timestamp() // step.total_seconds() * step.total_seconds(), UTC)
        return Span(last - since // step * step, last, step)
    except OverflowError:
        raise ValueError(f"--since: expected a time that a calendar has, got {since} before {end}") from None


def put(done: Rehearsal, output: Output, pictures: Sequence[Path]) -> None:
    """Print it, and write the pictures. Raises OSError and ValueError."""
    if output == "json":
        print(as_json(done))
    else:
        Console().print(show(done))
    if pictures:
        from beamlit_controller.cli import picture  # noqa: PLC0415 - an extra that not everybody has

        for path in pictures:
            picture.write(done, path)
