"""How old the value of a query is.

A metrics API or Prometheus evaluates a query for now, with values that were scraped at some time before, and doesn't tell
when. The value only changes after a scrape. So a value that changed since the previous round was scraped in between, and one
that has not is the same sample as before, until the time between two scrapes, learned from earlier changes, is over.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction

from beamlit_controller.core.metric_spec import MetricSpec
from beamlit_controller.core.verdict import Assessed, Unread, Verdict

USUAL = timedelta(seconds=30)
"""The time between two scrapes as long as no two changes were seen."""
SHORTEST = timedelta(seconds=15)
"""Replicas are scraped one after the other, so a sum may change more often than each of its values."""
REMEMBERED = 8
"""Number of times between two changes that are kept."""
FORGOTTEN = timedelta(seconds=150)
"""A value that was last read so long ago tells nothing about when the next one was scraped."""


@dataclass(frozen=True, slots=True)
class ValueAge:
    """When the value of one metric changed: it was first read at `first`, and another value last at `before`.

    `last` is when it was last read, and `between` are the times from one change to the next.
    """

    metric: MetricSpec
    ratio: Fraction
    first: datetime
    last: datetime
    before: datetime | None = None
    between: tuple[timedelta, ...] = ()

    @property
    def interval(self) -> timedelta:
        """Return the time between two scrapes: the lower quartile, as two scrapes may give the same value, and a round may be late."""
        if not self.between:
            return USUAL
        return max(SHORTEST, sorted(self.between)[len(self.between) // 4])


def dated(verdict: Verdict, known: Sequence[ValueAge], now: datetime) -> tuple[Verdict, tuple[ValueAge, ...]]:
    """Return a verdict with the times of undated samples narrowed down, and what is known of their values from now on."""
    by_metric = {each.metric: each for each in known}
    metrics: list[Assessed | Unread] = []
    ages: list[ValueAge] = []
    for each in verdict.metrics:
        age = by_metric.get(each.metric)
        if isinstance(each, Assessed) and each.undated and each.until >= now - _SKEW:
            age = _read(age, each)
            metrics.append(_dated(each, age))
        else:
            metrics.append(each)
        if age is not None:
            ages.append(age)
    return replace(verdict, metrics=tuple(metrics)), tuple(ages)


def _read(known: ValueAge | None, read: Assessed) -> ValueAge:
    """Return what is known of a metric's value after it was read."""
    now = read.until
    if known is None or not timedelta(0) <= now - known.last <= FORGOTTEN:
        return ValueAge(read.metric, read.ratio, now, now)
    if read.ratio == known.ratio:
        return replace(known, last=now)
    between = known.between if known.before is None else (*known.between[1 - REMEMBERED :], now - known.first)
    return ValueAge(read.metric, read.ratio, now, now, known.last, between)


def _dated(read: Assessed, age: ValueAge) -> Assessed:
    """Return a sample with the times between which it was measured, which are never longer ago than it says itself."""
    oldest = read.since + read.averaged
    interval = min(age.interval, read.until - oldest)
    if interval <= timedelta(0):
        return read
    scrapes = (read.until - age.first) // interval
    until = age.first + scrapes * interval
    since = until - interval if scrapes else age.before or oldest
    return replace(read, since=max(since, oldest) - read.averaged, until=until)


_SKEW = timedelta(seconds=2)
"""An API may evaluate a query a little earlier than now, and its clock may be slow."""
