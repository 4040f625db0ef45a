"""A recording read from a CSV file: a column `time`, one for each metric, and maybe `requests` (per second)."""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_UP, Decimal, InvalidOperation
from pathlib import Path
from typing import TypeVar

from beamlit_controller.api import scalars
from beamlit_controller.core import wording
from beamlit_controller.core.rehearsal import Recording
from beamlit_controller.core.spec import MetricSpec

T = TypeVar("T")

TIME, RATE = "time", "requests"
LARGEST = Decimal(10) ** 15


def read(path: Path, metrics: Sequence[MetricSpec], *, replicas: int) -> Recording:
    """Read the file. An empty cell is a value that was not there. Raises ValueError and OSError."""
    try:
        return _read(path, metrics, replicas)
    except (csv.Error, UnicodeDecodeError, OverflowError) as error:
        raise ValueError(f"{path}: no CSV in UTF-8: {error}") from None


def _read(path: Path, metrics: Sequence[MetricSpec], replicas: int) -> Recording:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        header = [name.strip() for name in next(rows, [])]
        time = _place(path, header, TIME)
        columns = [_place(path, header, f"metrics[{at}]", wording.name(metric)) for at, metric in enumerate(metrics)]
        rate = header.index(RATE) if RATE in header and header.index(RATE) not in columns else None
        times: list[datetime] = []
        values: list[tuple[int | None, ...]] = []
        rates: list[float | None] = []
        for row in _rows(path, rows, header):
            times.append(_after(times, row, time))
            values.append(tuple(row.read(column, _milli) for column in columns))
            rates.append(None if rate is None else row.read(rate, _rate))
    if not times:
        raise ValueError(f"{path}: expected a row below the header, got none")
    return Recording(tuple(times), tuple(values), () if rate is None else tuple(rates), replicas)


@dataclass(frozen=True, slots=True)
class _Row:
    place: str
    header: Sequence[str]
    cells: Sequence[str]

    def read(self, column: int, parse: Callable[[str], T]) -> T | None:
        """Read a cell, None where it is empty. Raises ValueError, which says where."""
        text = self.cells[column].strip()
        try:
            return parse(text) if text else None
        except ValueError as error:
            raise self.wrong(column, str(error)) from None

    def wrong(self, column: int, message: str) -> ValueError:
        """Say what is wrong with a cell."""
        return ValueError(f"{self.place}, {self.header[column]}: {message}")


def _place(path: Path, header: Sequence[str], *names: str) -> int:
    for name in names:
        if name in header:
            return header.index(name)
    got = ", ".join(header) or "nothing"
    wanted = " or ".join(reversed(names))
    raise ValueError(f"{path}: expected a column {wanted} in the first line, got {got}")


def _rows(path: Path, rows: Iterator[list[str]], header: Sequence[str]) -> Iterator[_Row]:
    for line, cells in enumerate(rows, start=2):
        place = f"{path}, line {line}"
        if cells and len(cells) != len(header):
            raise ValueError(f"{place}: expected {len(header)} cells, got {len(cells)}")
        if cells:
            yield _Row(place, header, cells)


def _after(times: Sequence[datetime], row: _Row, column: int) -> datetime:
    at = row.read(column, _moment)
    if at is None:
        raise row.wrong(column, "expected a time, got nothing")
    if times and at <= times[-1]:
        raise row.wrong(column, f"expected a time after the one before it, got {row.cells[column]}")
    return at


def _moment(text: str) -> datetime:
    """Read a time in RFC 3339, or in seconds since 1970."""
    try:
        return datetime.fromtimestamp(float(text), UTC)
    except (ValueError, OverflowError, OSError):
        return scalars.instant(text).astimezone(UTC)


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
        raise ValueError(f"expected a number from 0 to 1e15, or nothing, got {text[:40]!r}")
    return number
