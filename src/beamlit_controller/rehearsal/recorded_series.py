"""Maps the columns of a recorded file to the series of each metric, and aggregates the series of one time.

A file has one column per series, or one row per series with further columns that identify it.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Final

from beamlit_controller.core import wording
from beamlit_controller.core.metric_spec import Aggregation, ExternalMetric, MetricSpec, ObjectMetric, PodsMetric

SeriesValues = Mapping[str, int | None]
"""Values by series, in thousandths; None if missing."""

RATE: Final = "requests"


@dataclass(slots=True)
class ReadingNotes:
    """Notes on how the file was interpreted, without repetitions."""

    counts: Counter[str] = field(default_factory=Counter)
    said: dict[str, None] = field(default_factory=dict)

    def say(self, text: str) -> None:
        """Add a note."""
        self.said[text] = None

    def count(self, number: int, text: str) -> None:
        """Count what the text says; its `{s}` is the ending of a plural."""
        self.counts[text] += number

    def lines(self) -> Iterator[str]:
        """Yield the notes."""
        yield from self.said
        counted = (
            (number, text.format(s="" if number == 1 else "s")) for text, number in self.counts.items() if number
        )
        yield from (f"{number} {text}" for number, text in counted)


@dataclass(frozen=True, slots=True)
class Layout:
    """The meaning of a file's columns: time, rate, and for each metric its series, or a value with its series' name.

    `value` is None if each series has a column of its own.
    """

    header: Sequence[str]
    metrics: Sequence[MetricSpec]
    time: int
    rate: int | None = None
    columns: Sequence[Mapping[str, int]] = ()
    value: int | None = None

    def places(self, cells: Sequence[str]) -> Iterator[Mapping[str, int]]:
        """Yield for each metric the series of a row, and the cell of each."""
        if self.value is None:
            yield from self.columns
            return
        named = [cells[at].strip() for at in range(len(cells)) if at not in {self.time, self.rate, self.value}]
        for metric in self.metrics:
            own = any(_is_series_of(metric, each) for each in named)
            yield {", ".join(filter(None, named)): self.value} if own or len(self.metrics) == 1 else {}

    def chosen(self, series: Mapping[str, None], notes: ReadingNotes) -> list[frozenset[str]]:
        """Return the series of each metric among all that were read. Raises ValueError if it has none."""
        return [self._chosen(metric, number, series, notes) for number, metric in enumerate(self.metrics)]

    def _chosen(
        self, metric: MetricSpec, number: int, series: Mapping[str, None], notes: ReadingNotes
    ) -> frozenset[str]:
        if self.value is None:
            found = frozenset(self.columns[number])
        else:
            own = frozenset(
                each for each in series if any(_is_series_of(metric, part) for part in (each, *each.split(", ")))
            )
            found = own or frozenset(series)
            if not own and len(self.metrics) > 1:
                raise ValueError(_expected(metric, number, ", ".join(series)))
            if not own:
                notes.say(f"the rows' {self.header[self.value][:_SHOWN]} was taken for {wording.name(metric)}")
        if len(found) > 1:
            what = "columns" if self.value is None else "series"
            notes.say(f"{len(found)} {what} of {wording.name(metric)} {_how(metric, found)}")
        return found


def layout(header: Sequence[str], metrics: Sequence[MetricSpec], notes: ReadingNotes) -> Layout:
    """Find the columns of times, rate and series in the header. Raises ValueError."""
    if header and not header[-1]:
        header = header[:-1]
    lowered = [_IN_BRACKETS.sub("", name.lower()) for name in header]
    time = next((lowered.index(name) for name in _TIMES if name in lowered), None)
    if time is None:
        raise ValueError(f"expected a column time in the first line, got {_shown(header)}")
    others = [at for at in range(len(header)) if at != time and header[at].lower() != RATE]
    found = [_columns(header, others, metric, number, len(metrics)) for number, metric in enumerate(metrics)]
    rate = (
        header.index(RATE)
        if RATE in header and not any(header.index(RATE) in each.values() for each in found)
        else None
    )
    values = [at for at in others if lowered[at] in _VALUES]
    if all(found):
        return Layout(header, metrics, time, rate, _note_other_names(found, header, metrics, notes))
    if len(values) == 1 and len(others) > 1 and not any(found):
        return Layout(header, metrics, time, rate, (), values[0])
    missing = next(number for number, each in enumerate(found) if not each)
    raise ValueError(_expected(metrics[missing], missing, _shown(header)))


def together(metric: MetricSpec, values: SeriesValues, of: frozenset[str]) -> int | None:
    """Aggregate the series of one time, in thousandths; None if none has a value.

    The result is the sum for an External or Object metric; for others, the mean over servers of each server's
    aggregate.
    """
    known = {series: value for series, value in values.items() if value is not None and series in of}
    if not known:
        return None
    if isinstance(metric, ExternalMetric | ObjectMetric):
        return sum(known.values())
    servers: dict[str, list[int]] = {}
    for series, value in known.items():
        servers.setdefault(_server(series), []).append(value)
    aggregation = _aggregation(metric)
    return _mean([_aggregate(each, aggregation) for each in servers.values()])


def _aggregate(values: list[int], aggregation: Aggregation) -> int:
    match aggregation:
        case Aggregation.SUM:
            return sum(values)
        case Aggregation.MEAN:
            return _mean(values)
        case Aggregation.MAX:
            return max(values)
        case Aggregation.MIN:
            return min(values)


def _mean(values: list[int]) -> int:
    return ceil(sum(values) / len(values))


def _aggregation(metric: MetricSpec) -> Aggregation:
    if isinstance(metric, PodsMetric):
        return Aggregation.MAX if metric.quantile else metric.aggregation
    return Aggregation.SUM


def _how(metric: MetricSpec, series: frozenset[str]) -> str:
    if isinstance(metric, ExternalMetric | ObjectMetric):
        return "were added up, as series are"
    servers, how = len({_server(each) for each in series}), _aggregation(metric).value
    return (
        f"were aggregated by {how}"
        if servers == 1
        else f"were aggregated by {how}, then as the mean of {servers} servers"
    )


def _server(series: str) -> str:
    """Return the pod or instance of a series, by its labels; "" if unknown."""
    labels = dict(_LABELS.findall(series))
    return next((labels[name] for name in _SERVERS if name in labels), "")


def _columns(
    header: Sequence[str], others: Sequence[int], metric: MetricSpec, number: int, count: int
) -> Mapping[str, int]:
    """Find the columns of a metric: by its names, by the names of its series, or because there are no others."""
    for exact in (f"metrics[{number}]", *_names(metric)):
        if exact in header:
            return {exact: header.index(exact)}
    series = {header[at]: at for at in others if _is_series_of(metric, header[at])}
    legends = {header[at]: at for at in others}
    if series or count > 1:
        return series
    if all(name.startswith("{") for name in legends) or (len(others) == 1 and _may_be_any(header[others[0]])):
        return legends
    return {}


def _note_other_names(
    found: Sequence[Mapping[str, int]], header: Sequence[str], metrics: Sequence[MetricSpec], notes: ReadingNotes
) -> Sequence[Mapping[str, int]]:
    """Note the columns that don't have the metric's name."""
    for number, (metric, columns) in enumerate(zip(metrics, found, strict=True)):
        place = next(iter(columns.values()))
        if header[place] != f"metrics[{number}]" and not _is_series_of(metric, header[place]):
            notes.say(f"the column {header[place][:_SHOWN]} was taken for {wording.name(metric)}")
    return found


def _names(metric: MetricSpec) -> tuple[str, ...]:
    alternatives = tuple(each.name for each in metric.alternatives) if isinstance(metric, PodsMetric) else ()
    return (wording.name(metric), *alternatives)


def _is_series_of(metric: MetricSpec, text: str) -> bool:
    return any(text == name or text.startswith(f"{name}{{") for name in _names(metric))


def _may_be_any(name: str) -> bool:
    """Return whether a column's name is generic, or has labels or several words, as in exports of panels."""
    return name.lower() in _GENERAL or not name.isidentifier()


def _expected(metric: MetricSpec, number: int, got: str) -> str:
    return f"expected a column {wording.name(metric)} or metrics[{number}] in the first line, got {got[:_SHOWN]}"


def _shown(header: Sequence[str]) -> str:
    return ", ".join(header)[:_SHOWN] or "nothing"


_TIMES: Final = ("time", "timestamp", "date", "datetime", "ts", "_time", "@timestamp", "timegenerated")
_VALUES: Final = frozenset({"value", "_value"})
_GENERAL: Final = frozenset({*_VALUES, "metric", "series", "a"})
_SERVERS: Final = ("pod", "instance", "pod_name", "kubernetes_pod_name", "hostname")
_LABELS: Final = re.compile(r'(?<!\w)(\w+)="([^"]*)"')
_IN_BRACKETS: Final = re.compile(r" ?[\[(][A-Za-z0-9/+:-]{1,40}[\])]$")
"""A unit or time zone after a name, such as `Date (UTC)`."""
_SHOWN: Final = 200
