"""Aggregates one metric of a server's page, in the Prometheus text format or in OpenMetrics.

https://prometheus.io/docs/instrumenting/exposition_formats/ and https://prometheus.io/docs/specs/om/open_metrics_spec/
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from fractions import Fraction
from functools import reduce
from math import ceil, inf, isnan, nan

from prometheus_client.samples import Sample

from beamlit_controller.core.metric_spec import Aggregation, Selector, SeriesSelector
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.scrape import page as pages
from beamlit_controller.scrape.histogram import MOST_BUCKETS, BucketSeries
from beamlit_controller.scrape.page import Page, ParsingBudget


@dataclass(frozen=True, slots=True)
class Total:
    """The aggregated value in thousandths, rounded away from zero.

    `age` is the age of the oldest sample, if the page has timestamps. `series` is how many were aggregated.
    """

    milli: int
    age: timedelta = timedelta(0)
    series: int = field(default=1, compare=False)


def first(
    page: Page,
    metrics: Iterable[SeriesSelector],
    *,
    at: datetime,
    stale_after: timedelta,
    aggregation: Aggregation = Aggregation.SUM,
    budget: ParsingBudget | None = None,
) -> Total | Missing:
    """Aggregate the first of several alternative names that is on the page, because versions of a server differ."""
    missing = Missing(Reason.NO_SERIES, "expected a metric's name, got none")
    for number, metric in enumerate(metrics):
        found = total(page, metric, at=at, stale_after=stale_after, aggregation=aggregation, budget=budget)
        if isinstance(found, Total) or found.reason is not Reason.NO_SERIES:
            return found
        missing = missing if number else found
    return missing


def total(
    page: Page,
    metric: SeriesSelector,
    *,
    at: datetime,
    stale_after: timedelta,
    aggregation: Aggregation = Aggregation.SUM,
    budget: ParsingBudget | None = None,
) -> Total | Missing:
    """Aggregate the series with exactly this name whose labels match the selector.

    A counter or a part of a histogram is named with its suffix: `requests_total`, `latency_seconds_count`.
    """
    selected = _selected(page, metric, budget)
    if isinstance(selected, Missing):
        return selected
    return _repeated(selected) or _together(selected, aggregation, at=at, stale_after=stale_after)


def buckets(page: Page, metric: SeriesSelector, budget: ParsingBudget | None = None) -> list[BucketSeries] | Missing:
    """Return the `_bucket` series of a histogram with this name."""
    selected = _selected(page, replace(metric, name=f"{metric.name}_bucket"), budget)
    if isinstance(selected, Missing):
        return selected
    if repeated := _repeated(selected):
        return repeated
    found = [_bucket(each) for each in selected]
    broken = next((each for each in found if isinstance(each, Missing)), None)
    series = [each for each in found if isinstance(each, BucketSeries)]
    count = len({each.bound for each in series})
    if count > MOST_BUCKETS:
        return Missing(Reason.ANSWER_TOO_LARGE, f"expected at most {MOST_BUCKETS} buckets, got {count}")
    return broken or series


def _bucket(sample: Sample) -> BucketSeries | Missing:
    count = _number(sample.value)
    if isinstance(count, Missing):
        return count
    try:
        bound = float(sample.labels.get("le", ""))
    except ValueError:
        bound = nan
    if isnan(bound) or bound == -inf or count < 0:
        return Missing(Reason.MALFORMED_ANSWER, "expected buckets with a number as le, and a count")
    return BucketSeries(frozenset(sample.labels.items()), bound, Fraction(count))


def _selected(page: Page, metric: SeriesSelector, budget: ParsingBudget | None) -> list[Sample] | Missing:
    """Return the samples with this name whose labels match, at least one."""
    samples = pages.samples(page, metric.name, budget)
    if isinstance(samples, Missing):
        return samples
    selected = [sample for sample in samples if _is_selected(metric.selector, sample.labels)]
    if not selected:
        what = "with these labels" if samples else "of this name"
        return Missing(Reason.NO_SERIES, f"there is no series {what} on the page")
    return selected


def _is_selected(selector: Selector, labels: Mapping[str, str]) -> bool:
    """Return whether a selector matches. As in Prometheus, an empty label is like an absent one."""
    present = {name: value for name, value in labels.items() if value}
    return all(present.get(name, "") == value for name, value in selector.match_labels) and all(
        requirement.matches(present) for requirement in selector.match_expressions
    )


def _repeated(samples: list[Sample]) -> Missing | None:
    if len({frozenset(sample.labels.items()) for sample in samples}) == len(samples):
        return None
    return Missing(Reason.MALFORMED_ANSWER, "one series stands on the page more than once")


def _together(
    samples: list[Sample], aggregation: Aggregation, *, at: datetime, stale_after: timedelta
) -> Total | Missing:
    values, oldest = [], 0.0
    for sample in samples:
        age, number = _age(sample, at), _number(sample.value)
        if isinstance(number, Missing):
            return number
        if not age <= stale_after.total_seconds():
            return _stale(age, stale_after)
        oldest = max(oldest, age)
        values.append(number)
    return Total(_milli(values, aggregation), timedelta(seconds=oldest), len(values))


def _stale(age: float, stale_after: timedelta) -> Missing:
    hint = "; the text format has timestamps in milliseconds" if age > _DECADES else ""
    message = f"expected a sample younger than {stale_after}, got one of {age:.0f} s ago{hint}"
    return Missing(Reason.STALE, message)


def _milli(values: list[Decimal], aggregation: Aggregation) -> int:
    value = _aggregate(values, aggregation)
    milli = ceil(abs(value) * 1000)
    return milli if value >= 0 else -milli


def _aggregate(values: list[Decimal], aggregation: Aggregation) -> Fraction:
    match aggregation:
        case Aggregation.SUM:
            return Fraction(reduce(_EXACT.add, values))
        case Aggregation.MEAN:
            return Fraction(reduce(_EXACT.add, values)) / len(values)
        case Aggregation.MAX:
            return Fraction(max(values))
        case Aggregation.MIN:
            return Fraction(min(values))


def _age(sample: Sample, at: datetime) -> float:
    """Return a sample's age in seconds: 0 without a timestamp, infinite if the timestamp is out of range."""
    try:
        return at.timestamp() - float(sample.timestamp) if sample.timestamp is not None else 0.0
    except OverflowError:
        return inf


def _number(value: float) -> Decimal | Missing:
    """Return the decimal number as written, not the nearest binary fraction."""
    if value != value:  # noqa: PLR0124 # NaN alone differs from itself; an int of a thousand digits has no isnan
        return Missing(Reason.NOT_A_NUMBER, "the value is NaN")
    if abs(value) > sys.float_info.max:  # integers are parsed to int, of any size
        return Missing(Reason.INFINITE, "the value is infinite, or larger than a float64 can be")
    return Decimal(repr(value))


_DECADES = 20 * 365 * 86400

# Sums of float64 numbers are exact in 1,500 digits.
_EXACT = Context(prec=1500, traps=[Inexact, InvalidOperation, Overflow])
