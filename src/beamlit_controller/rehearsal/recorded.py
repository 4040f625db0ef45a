"""Reads a recording from a CSV file: a column `time`, one per metric, and optionally the requests per second.

Exports of other tools are accepted, too: Grafana panels with series as columns or as rows, times in milliseconds or
without time zone, newest row first. How the file was interpreted is reported.
"""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_UP, Decimal, InvalidOperation
from itertools import chain
from pathlib import Path
from typing import Final, TypeVar

from beamlit_controller.core.metric_spec import MetricSpec
from beamlit_controller.core.replay import Recording
from beamlit_controller.rehearsal import recorded_series, timestamps
from beamlit_controller.rehearsal.recorded_series import Layout, ReadingNotes, SeriesValues

T = TypeVar("T")

LARGEST: Final = Decimal(10) ** 15
MISSING: Final = frozenset({"", "nan", "null", "none", "nil", "n/a", "na", "-", "undefined", "inf", "+inf", "-inf"})


@dataclass(frozen=True, slots=True)
class Recorded:
    """The recording, and notes on how the file was interpreted."""

    recording: Recording
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _RecordedRow:
    """A time, the values of each metric's series at it, in thousandths, and the requests per second."""

    at: datetime
    values: tuple[SeriesValues, ...]
    rate: float | None


def read(path: Path, metrics: Sequence[MetricSpec], *, replicas: int) -> Recorded:
    """Read the file. A cell that is empty or not a number is a missing value. Raises ValueError and OSError."""
    try:
        return _read(path, metrics, replicas)
    except csv.Error as error:
        raise ValueError(f"{path}: no CSV in UTF-8: {error}") from None
    except (UnicodeError, OverflowError):
        raise ValueError(f"{path}: no CSV in UTF-8") from None


def _read(path: Path, metrics: Sequence[MetricSpec], replicas: int) -> Recorded:
    notes = ReadingNotes()
    with path.open(encoding=_encoding(path), newline="") as file:
        header, rows, delimiter = _rows(file)
        try:
            layout = recorded_series.layout([name.strip() for name in header], metrics, notes)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        table = _Table(path, layout, notes, decimal_comma=delimiter != ",")
        samples = [table.sample(row) for row in table.rows(rows)]
    if not samples:
        raise ValueError(f"{path}: expected a row below the header, got none")
    merged = _merged(_ordered(samples, notes), notes)
    series = layout.chosen({name: None for each in merged for values in each.values for name in values}, notes)
    values = tuple(
        tuple(
            recorded_series.together(metric, each, of)
            for metric, each, of in zip(metrics, row.values, series, strict=True)
        )
        for row in merged
    )
    rates = () if layout.rate is None else tuple(each.rate for each in merged)
    return Recorded(Recording(tuple(each.at for each in merged), values, rates, replicas), tuple(notes.lines()))


def _encoding(path: Path) -> str:
    """Detect the encoding by the byte order mark; spreadsheets write UTF-16."""
    with path.open("rb") as file:
        return "utf-16" if file.read(2) in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"


def _rows(file: Iterator[str]) -> tuple[list[str], Iterator[tuple[int, list[str]]], str]:
    """Return the header, the numbered rows, and the delimiter: from a first line `sep=;`, or from the header.

    Comments and blank lines above the header are left out.
    """
    line, number = next(file, ""), 1
    while line and (not line.strip() or line.startswith("#")):
        line, number = next(file, ""), number + 1
    between = line.strip().strip('"').removeprefix("sep=") if line.lstrip('"').startswith("sep=") else ""
    if between:
        line, number = next(file, ""), number + 1
    delimiter = between[:1] or next((each for each in ";\t" if each in line and "," not in line), ",")
    rows = csv.reader(chain([line], file), delimiter=delimiter)
    header = next(rows, [])
    return header, ((rows.line_num + number - 1, row) for row in rows), delimiter


def _ordered(samples: list[_RecordedRow], notes: ReadingNotes) -> list[_RecordedRow]:
    """Sort the samples by time."""
    times = [each.at for each in samples]
    if times == sorted(times):
        return samples
    newest_first = times == sorted(times, reverse=True)
    notes.say("the newest row comes first, so the rows were reversed" if newest_first else "rows were sorted by time")
    return samples[::-1] if newest_first else sorted(samples, key=lambda each: each.at)


def _merged(samples: list[_RecordedRow], notes: ReadingNotes) -> list[_RecordedRow]:
    """Merge the rows of the same time; of several values of one series, the last counts."""
    merged: dict[datetime, _RecordedRow] = {}
    for each in samples:
        before = merged.get(each.at)
        if before:
            again = any(one.keys() & other.keys() for one, other in zip(before.values, each.values, strict=True))
            notes.count(again, "row{s} had the time of another: the last one counts")
            values = tuple({**one, **other} for one, other in zip(before.values, each.values, strict=True))
            merged[each.at] = _RecordedRow(each.at, values, each.rate)
        else:
            merged[each.at] = each
    return list(merged.values())


@dataclass(frozen=True, slots=True)
class _Row:
    place: str
    cells: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Table:
    path: Path
    layout: Layout
    notes: ReadingNotes
    decimal_comma: bool

    def rows(self, rows: Iterator[tuple[int, list[str]]]) -> Iterator[_Row]:
        """Yield the rows that are not empty. Raises ValueError if one is shorter or longer than the header."""
        wanted = len(self.layout.header)
        for line, cells in rows:
            place = f"{self.path}, line {line}"
            if len(cells) == wanted + 1 and not cells[-1].strip():
                cells.pop()
            if cells and len(cells) != wanted:
                raise ValueError(f"{place}: expected {wanted} cells, got {len(cells)}")
            if cells:
                yield _Row(place, cells)

    def sample(self, row: _Row) -> _RecordedRow:
        """Read a row."""
        at, zone = self._parsed(row, self.layout.time, timestamps.parse) or (None, None)
        if at is None:
            raise ValueError(f"{row.place}, {self.layout.header[self.layout.time]}: expected a time, got nothing")
        if zone:
            self.notes.say(zone)
        values = tuple(self._values(row, places) for places in self.layout.places(row.cells))
        rate = self.layout.rate
        return _RecordedRow(at, values, None if rate is None else self._parsed(row, rate, self._rate))

    def _values(self, row: _Row, places: Mapping[str, int]) -> SeriesValues:
        return {series: self._parsed(row, place, self._milli) for series, place in places.items()}

    def _parsed(self, row: _Row, column: int, parse: Callable[[str], T]) -> T | None:
        text = row.cells[column].strip()
        if text.lower() in MISSING:
            self.notes.count(bool(text), "cell{s} held no number (NaN, null and the like): read as missing values")
            return None
        try:
            return parse(text)
        except ValueError as error:
            raise ValueError(f"{row.place}, {self.layout.header[column]}: {error}") from None

    def _milli(self, text: str) -> int:
        return int((self._number(text) * 1000).to_integral_value(ROUND_UP))

    def _rate(self, text: str) -> float:
        return float(self._number(text))

    def _number(self, text: str) -> Decimal:
        if self.decimal_comma and text.count(",") == 1 and "." not in text:
            self.notes.say("a comma in a number was read as its decimal point")
            text = text.replace(",", ".")
        return _number(text)


def _number(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or not 0 <= number <= LARGEST:
        formatted = "; export it unformatted" if any(map(str.isdigit, text)) and not text.startswith("-") else ""
        raise ValueError(f"expected a number from 0 to 1e15, or nothing, got {text[:40]!r}{formatted}")
    return number
