"""Parses responses of Prometheus (https://prometheus.io/docs/prometheus/latest/querying/api/) to readings.

A response that is not exactly what was requested is `Missing`, never 0.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import ROUND_UP, Context, Decimal, FloatOperation, Inexact, InvalidOperation, Overflow

from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing, Sample
from beamlit_controller.prometheus import http_answer, notes, sample_times
from beamlit_controller.prometheus.http_answer import HttpAnswer


@dataclass(frozen=True, slots=True)
class Question:
    """An instant query at a time. With `times` it also asks when the samples were scraped (`sample_times`).

    A sample may be at most `window` old, and covers the time `averaged` before it; None if that is not known.
    """

    query: str
    at: datetime
    window: timedelta
    averaged: timedelta | None = timedelta(0)
    times: bool = False


def read(answer: HttpAnswer, question: Question, *, hide: Iterable[str] = ()) -> Sample | Missing:
    """Parse the response to an instant query: the sum of the vector's values, or the scalar.

    The sample is from when the oldest series was scraped until the latest was, if that is known, else from anywhere in
    the window. `hide` are secrets that are removed from messages.
    """
    value = _value(answer, question)
    if isinstance(value, Missing):
        return replace(value, message=http_answer.shown(value.message, hide=hide))
    averaged = question.averaged or timedelta(0)
    latest, oldest = (min(value.ages), max(value.ages)) if value.ages else (timedelta(0), question.window)
    undated = not question.times and question.averaged is not None
    sample = Sample(_milli(value.total), question.at - latest, oldest - latest + averaged, value.series)
    scattered = bool(value.ages) and not averaged and latest < oldest
    return replace(sample, undated=undated, averaged=averaged if undated else timedelta(0), scattered=scattered)


@dataclass(frozen=True, slots=True)
class Range:
    """For each time (Unix seconds) the sum of the series, in thousandths, and the highest number of series summed.

    The sum is None where one of the values is not a finite number.
    """

    values: dict[float, int | None]
    series: int = 1


def read_range(
    answer: HttpAnswer, *, query: str, hide: Iterable[str] = (), limit: int = http_answer.LIMIT
) -> Range | Missing:
    """Parse the response to a range query. `hide` are secrets that are removed from messages."""
    document = http_answer.whole(answer, limit)
    totals = document if isinstance(document, Missing) else _totals(document, query=query)
    if isinstance(totals, Missing):
        return replace(totals, message=http_answer.shown(totals.message, hide=hide))
    sums = {time: None if total is None else _milli(total) for time, (total, _) in totals.items()}
    return Range(sums, max((series for _, series in totals.values()), default=1))


def _value(answer: HttpAnswer, question: Question) -> "_Sum | Missing":
    document = http_answer.whole(answer, http_answer.LIMIT)
    if isinstance(document, Missing):
        return document
    total = _total(document, question)
    if isinstance(total, Missing) and total.reason is Reason.MALFORMED_ANSWER:
        return replace(total, message=f"{total.message}: {http_answer.excerpt(answer.body)}")
    return total


@dataclass(frozen=True, slots=True)
class _Pair:
    """An evaluation time in Unix seconds, and the value as text."""

    time: int | float
    value: str


@dataclass(frozen=True, slots=True)
class _Sum:
    """The sum of several series, their number, and how old each value is, if that is known."""

    total: Decimal
    series: int
    ages: tuple[timedelta, ...] = ()


def _total(document: object, question: Question) -> _Sum | Missing:
    at, window = question.at, question.window
    if incomplete := notes.incomplete(document):
        return Missing(Reason.QUERY_WARNINGS, incomplete)
    match document:
        case {"status": "success", "data": {"resultType": "vector", "result": [*series]}}:
            values, times = sample_times.split(series) if question.times else (series, [])
            if not values:
                return Missing(Reason.NO_SERIES, f"there is no series for {question.query}")
            total = _sum([_pair_of_series(each) for each in values], at=at, window=window)
            ages = tuple(_age(each, at, window) for each in times)
            return total if isinstance(total, Missing) else replace(total, ages=ages)
        case {"status": "success", "data": {"resultType": "scalar", "result": pair}}:
            return _sum([_pair(pair)], at=at, window=window)
        case {"status": "success", "data": {"resultType": "matrix" | "string" as kind}}:
            return Missing(Reason.UNEXPECTED_RESULT_TYPE, f"expected an instant vector or a scalar, got a {kind}")
        case _:
            return Missing(Reason.MALFORMED_ANSWER, "expected a result of Prometheus, got")


def _totals(document: object, *, query: str) -> dict[float, tuple[Decimal | None, int]] | Missing:
    if incomplete := notes.incomplete(document):
        return Missing(Reason.QUERY_WARNINGS, incomplete)
    match document:
        case {"status": "success", "data": {"resultType": "matrix", "result": []}}:
            return Missing(Reason.NO_SERIES, f"there is no series for {query}")
        case {"status": "success", "data": {"resultType": "matrix", "result": [*series]}}:
            return _sums(series)
        case _:
            return Missing(Reason.MALFORMED_ANSWER, "expected a range of Prometheus, got another answer")


def _sums(given: list[object]) -> dict[float, tuple[Decimal | None, int]] | Missing:
    totals: dict[float, tuple[Decimal | None, int]] = {}
    for each in given:
        match each:
            case {"metric": {}, "values": [*pairs]}:
                for number in map(_pair, pairs):
                    if isinstance(number, Missing):
                        return replace(number, message=f"{number.message} another")
                    if not 0 <= number.time <= _LATEST:
                        return Missing(Reason.MALFORMED_ANSWER, f"expected a time, got {str(number.time)[:20]}")
                    before, series = totals.get(number.time, (Decimal(0), 0))
                    value = _decimal(number.value)
                    added = None if before is None or value is None else _EXACT.add(before, value)
                    totals[number.time] = added, series + 1
            case _:
                message = "expected numbers in each series; histogram_quantile makes one of a native histogram"
                return Missing(Reason.UNEXPECTED_RESULT_TYPE, message)
    return totals


def _pair_of_series(series: object) -> _Pair | Missing:
    match series:
        case {"metric": {}, "histogram": _}:
            message = "expected numbers, got a native histogram; histogram_quantile makes one of it"
            return Missing(Reason.UNEXPECTED_RESULT_TYPE, message)
        case {"metric": {}, "value": pair}:
            return _pair(pair)
        case _:
            return Missing(Reason.MALFORMED_ANSWER, "expected a value in each series, got")


def _pair(pair: object) -> _Pair | Missing:
    match pair:
        case [int() | float() as time, str(value)] if not isinstance(time, bool):
            return _Pair(time, value)
        case _:
            return Missing(Reason.MALFORMED_ANSWER, 'expected values as [time, "value"], got')


def _sum(pairs: list[_Pair | Missing], *, at: datetime, window: timedelta) -> _Sum | Missing:
    total = Decimal(0)
    for pair in pairs:
        number = pair if isinstance(pair, Missing) else _number(pair, at, window)
        if isinstance(number, Missing):
            among = f" in one of {len(pairs)} series" if len(pairs) > 1 else ""
            return replace(number, message=number.message + among)
        total = _EXACT.add(total, number)
    return _Sum(total, len(pairs))


def _age(series: object | None, at: datetime, window: timedelta) -> timedelta:
    """Return how old a value is by the time of its sample; the longest that it may be if that is not known."""
    pair = _pair_of_series(series)
    time = None if isinstance(pair, Missing) else _decimal(pair.value)
    if time is None:
        return window
    earliest, latest = Decimal((at - window).timestamp()), Decimal(at.timestamp())
    return timedelta(seconds=float(latest - min(max(time, earliest), latest)))


def _number(pair: _Pair, at: datetime, window: timedelta) -> Decimal | Missing:
    if not _is_of(pair, at, window):
        message = (
            f"asked for the time {at.timestamp():.3f}, answered for {str(pair.time)[:20]}; is there a cache in between?"
        )
        return Missing(Reason.STALE, message)
    match pair.value.lower():
        case "nan":
            return Missing(Reason.NOT_A_NUMBER, "the value is NaN")
        case "inf" | "+inf" | "-inf":
            return Missing(Reason.INFINITE, f"the value is {pair.value}")
        case _:
            number = _decimal(pair.value)
            return Missing(Reason.MALFORMED_ANSWER, "expected float64 values, got") if number is None else number


def _is_of(pair: _Pair, at: datetime, window: timedelta) -> bool:
    slack = window + timedelta(seconds=1)
    return (at - slack).timestamp() <= pair.time <= (at + slack).timestamp()


def _decimal(value: str) -> Decimal | None:
    """Parse a number exactly, if a float64 could hold it: adding one with an exponent of a billion would take a gigabyte."""
    if len(value) > _LONGEST or not _NUMBER.fullmatch(value):
        return None
    number = Decimal(value)
    return number if abs(number.adjusted()) <= _LONGEST else None


def _milli(value: Decimal) -> int:
    """Convert to thousandths, rounded away from zero as Kubernetes rounds quantities."""
    return int(_EXACT.scaleb(value, 3).to_integral_value(ROUND_UP, _EXACT))


_LATEST = 2**37
"""The latest Unix time that is a valid date."""

# A float64 needs at most 326 characters and an exponent of 324; sums of such numbers are exact in 1,500 digits.
_LONGEST = 400
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_EXACT = Context(prec=1500, traps=[FloatOperation, Inexact, InvalidOperation, Overflow])
