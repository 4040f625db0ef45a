"""Reads a recording from a CSV file: a column `time`, one per metric, and optionally the requests per second.

Exports of other tools are accepted, too: Grafana panels, times in milliseconds or without zone, newest row first. How
the file was interpreted is reported.
"""

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_UP, Decimal, InvalidOperation
from itertools import chain
from pathlib import Path
from typing import TypeVar

from beamlit_controller.core import wording
from beamlit_controller.core.metric_spec import MetricSpec
from beamlit_controller.core.replay import Recording
from beamlit_controller.rehearsal import timestamps

T = TypeVar("T")

TIMES, RATE = ("time", "timestamp", "date", "datetime", "ts"), "requests"
LARGEST = Decimal(10) ** 15
MISSING = frozenset({"", "nan", "null", "none", "nil", "n/a", "na", "-", "undefined", "inf", "+inf", "-inf"})


@dataclass(frozen=True, slots=True)
class Recorded:
    """The recording, and notes on how the file was interpreted."""

    recording: Recording
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _RecordedRow:
    at: datetime
    values: tuple[int | None, ...]
    rate: float | None


def read(path: Path, metrics: Sequence[MetricSpec], *, replicas: int) -> Recorded:
    """Read the file. A cell that is empty or not a number is a missing value. Raises ValueError and OSError."""
    try:
        return _read(path, metrics, replicas)
    except (csv.Error, UnicodeError, OverflowError) as error:
        raise ValueError(f"{path}: no CSV in UTF-8: {error}") from None


def _read(path: Path, metrics: Sequence[MetricSpec], replicas: int) -> Recorded:
    with path.open(encoding=_encoding(path), newline="") as file:
        told = _ReadingNotes()
        first, rows = _rows(file)
        table = _Table(path, [name.strip() for name in first], told)
        columns = [table.columns(metric, number, len(metrics)) for number, metric in enumerate(metrics)]
        rate = table.rate(columns)
        samples = [table.sample(row, columns, rate) for row in table.rows(rows)]
    if not samples:
        raise ValueError(f"{path}: expected a row below the header, got none")
    ordered = _ordered(samples, told)
    times, values = tuple(each.at for each in ordered), tuple(each.values for each in ordered)
    rates = () if rate is None else tuple(each.rate for each in ordered)
    return Recorded(Recording(times, values, rates, replicas), tuple(told.lines()))


def _encoding(path: Path) -> str:
    """Detect the encoding by the byte order mark; spreadsheets write UTF-16."""
    with path.open("rb") as file:
        return "utf-16" if file.read(2) in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"


def _rows(file: Iterator[str]) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Give the header and the numbered rows. The separator is taken from a first line `sep=;`, or from the header."""
    line, number = next(file, ""), 1
    between = line.strip().strip('"').removeprefix("sep=") if line.lstrip('"').startswith("sep=") else ""
    if between:
        line, number = next(file, ""), 2
    delimiter = between[:1] or next((each for each in ";\t" if each in line and "," not in line), ",")
    rows = csv.reader(chain([line], file), delimiter=delimiter)
    header = next(rows, [])
    return header, ((rows.line_num + number - 1, row) for row in rows)


def _ordered(samples: list[_RecordedRow], told: "_ReadingNotes") -> list[_RecordedRow]:
    """Sort the samples by time; of several at one time, the last counts."""
    times = [each.at for each in samples]
    if times != sorted(times):
        newest_first = times == sorted(times, reverse=True)
        told.say(
            "the newest row stands first: read from its end" if newest_first else "rows were sorted by their times"
        )
        samples = samples[::-1] if newest_first else sorted(samples, key=lambda each: each.at)
    last = {each.at: each for each in samples}
    told.count(len(samples) - len(last), "row{s} had the time of another: the last one counts")
    return list(last.values())


@dataclass(slots=True)
class _ReadingNotes:
    """Notes on how the file was interpreted, without repetitions."""

    counts: Counter[str] = field(default_factory=Counter)
    said: dict[str, None] = field(default_factory=dict)

    def say(self, text: str) -> None:
        self.said[text] = None

    def count(self, number: int, text: str) -> None:
        """Count what the text says; its `{s}` is the ending of a plural."""
        self.counts[text] += number

    def lines(self) -> Iterator[str]:
        yield from self.said
        counted = (
            (number, text.format(s="" if number == 1 else "s")) for text, number in self.counts.items() if number
        )
        yield from (f"{number} {text}" for number, text in counted)


@dataclass(frozen=True, slots=True)
class _Row:
    place: str
    cells: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Table:
    path: Path
    header: Sequence[str]
    told: _ReadingNotes

    @property
    def time(self) -> int:
        """Find the column of the times."""
        lowered = [name.lower() for name in self.header]
        found = next((lowered.index(name) for name in TIMES if name in lowered), None)
        if found is None:
            raise self._expected("time")
        return found

    def columns(self, metric: MetricSpec, number: int, count: int) -> tuple[int, ...]:
        """Find the columns of a metric: by its name, by the names of its series, or the only one that there is."""
        name = wording.name(metric)
        time = self.time
        for exact in (f"metrics[{number}]", name):
            if exact in self.header:
                return (self.header.index(exact),)
        others = [at for at, each in enumerate(self.header) if at != time and each.lower() != RATE]
        series = [at for at in others if self.header[at].startswith(f"{name}{{")]
        if len(series) > 1:
            self.told.say(f"{len(series)} columns of {name} were added up, as series are")
        if series:
            return tuple(series)
        if count == 1 and len(others) == 1 and self._may_be_any(others[0]):
            self.told.say(f"the column {self.header[others[0]][:_SHOWN]} was taken for {name}")
            return (others[0],)
        raise self._expected(f"{name} or metrics[{number}]")

    def rate(self, columns: Sequence[tuple[int, ...]]) -> int | None:
        """Find the column of the requests per second."""
        found = self.header.index(RATE) if RATE in self.header else -1
        return None if found < 0 or any(found in each for each in columns) else found

    def rows(self, rows: Iterator[tuple[int, list[str]]]) -> Iterator[_Row]:
        """Give the rows that are not empty. Raises ValueError for one that is shorter or longer than the header."""
        for line, cells in rows:
            place = f"{self.path}, line {line}"
            if cells and len(cells) != len(self.header):
                raise ValueError(f"{place}: expected {len(self.header)} cells, got {len(cells)}")
            if cells:
                yield _Row(place, cells)

    def sample(self, row: _Row, columns: Sequence[tuple[int, ...]], rate: int | None) -> _RecordedRow:
        """Read a row."""
        at, zone = self._parsed(row, self.time, timestamps.parse) or (None, None)
        if at is None:
            raise ValueError(f"{row.place}, {self.header[self.time]}: expected a time, got nothing")
        if zone:
            self.told.say(zone)
        values = tuple(self._sum(row, places) for places in columns)
        return _RecordedRow(at, values, None if rate is None else self._parsed(row, rate, _rate))

    def _sum(self, row: _Row, places: tuple[int, ...]) -> int | None:
        """Add up the series that have a value; None if none has."""
        values = [value for place in places if (value := self._parsed(row, place, _milli)) is not None]
        return sum(values) if values else None

    def _parsed(self, row: _Row, column: int, parse: Callable[[str], T]) -> T | None:
        text = row.cells[column].strip()
        if text.lower() in MISSING:
            self.told.count(
                bool(text), "cell{s} held no number (NaN, null and the like): taken for values that were not there"
            )
            return None
        try:
            return parse(text)
        except ValueError as error:
            raise ValueError(f"{row.place}, {self.header[column]}: {error}") from None

    def _may_be_any(self, column: int) -> bool:
        """Tell whether a column has a general name, or one with labels or of several words, as panels give it."""
        name = self.header[column]
        return name.lower() in _GENERAL or not name.isidentifier()

    def _expected(self, wanted: str) -> ValueError:
        got = ", ".join(self.header) or "nothing"
        return ValueError(f"{self.path}: expected a column {wanted} in the first line, got {got[:_SHOWN]}")


def _milli(text: str) -> int:
    return int((_number(text) * 1000).to_integral_value(ROUND_UP))


def _rate(text: str) -> float:
    return float(_number(text))


def _number(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or not 0 <= number <= LARGEST:
        formatted = "; export it unformatted" if any(map(str.isdigit, text)) and not text.startswith("-") else ""
        raise ValueError(f"expected a number from 0 to 1e15, or nothing, got {text[:40]!r}{formatted}")
    return number


_GENERAL = frozenset({"value", "metric", "series", "a"})
_SHOWN = 200
