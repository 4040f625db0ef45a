"""How old the value of a query is.

A metrics API or Prometheus evaluates a query for now, with samples that were scraped at some time before, and doesn't tell
when. The value usually changes only after a scrape. So a value that changed was scraped since the previous round, and one
that has not is the same sample as before, until the time between two scrapes, learned from earlier changes, is over.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from beamlit_controller.core.metric_spec import MetricSpec
from beamlit_controller.core.verdict import Assessed, Unread, Verdict

USUAL = timedelta(seconds=30)
"""The time between two scrapes as long as no two changes were seen."""
SHORTEST = timedelta(seconds=15)
"""The shortest interval that is assumed: another value may be of a replica, or a server, that was scraped this long before."""
REMEMBERED = 8
"""Number of times between two changes that are kept."""
FORGOTTEN = timedelta(seconds=150)
"""A value that was last read so long ago tells nothing about when the next one was scraped."""
SLACK = timedelta(seconds=5)
"""A time that is up to this much before that of the reading may be that of a query: clocks differ, and some cut it to seconds."""


@dataclass(frozen=True, slots=True)
class ValueAge:
    """When the value of one metric changed: it was first read at `first`, and another value last at `before`.

    `milli` is the value as it was read, `last` when it was last read, `previous` the value before, and `between` are the times
    from one change to the next. It `alternates` with the value before if two servers answer in turn, each with its own scrapes.
    """

    metric: MetricSpec
    milli: int
    first: datetime
    last: datetime
    before: datetime | None = None
    previous: int | None = None
    between: tuple[timedelta, ...] = ()
    alternates: bool = False

    @property
    def rhythm(self) -> timedelta | None:
        """Return the time between two changes, None if it is not known.

        It is the lower quartile, as two scrapes may give the same value, and a round may be late.
        """
        return sorted(self.between)[len(self.between) // 4] if self.between else None

    def interval(self, ready: int) -> timedelta:
        """Return the time between two scrapes of a replica: replicas are scraped one after the other."""
        rhythm = self.rhythm
        return USUAL if rhythm is None else max(SHORTEST, ready * rhythm)


def dated(
    verdict: Verdict, known: Sequence[ValueAge], at: datetime, *, ready: int
) -> tuple[Verdict, tuple[ValueAge, ...]]:
    """Narrow down the times of undated samples that were read at a time, and return what is known of their values from now on.

    `ready` is the number of ready local replicas: a value may be of as many series.
    """
    by_metric = {each.metric: each for each in known}
    metrics: list[Assessed | Unread] = []
    ages: list[ValueAge] = []
    for each in verdict.metrics:
        age = by_metric.get(each.metric)
        if isinstance(each, Assessed) and each.undated and each.until >= at - SLACK:
            age = _read(age, each)
            metrics.append(_dated(each, age, max(1, ready)))
        else:
            metrics.append(each)
        if age is not None:
            ages.append(age)
    return replace(verdict, metrics=tuple(metrics)), tuple(ages)


def _read(known: ValueAge | None, read: Assessed) -> ValueAge:
    """Return what is known of a metric's value after it was read."""
    now = read.until
    if known is None or not timedelta(0) <= now - known.last <= FORGOTTEN:
        return ValueAge(read.metric, read.milli, now, now)
    if read.milli == known.milli:
        return replace(known, last=now)
    between = known.between if known.before is None else (*known.between[1 - REMEMBERED :], now - known.first)
    alternates = read.milli == known.previous and known.before is not None and now - known.before <= SHORTEST
    return ValueAge(read.metric, read.milli, now, now, known.last, known.milli, between, alternates)


def _dated(read: Assessed, age: ValueAge, ready: int) -> Assessed:
    """Return a sample with the times between which it was measured, never earlier than the sample itself allows."""
    oldest = read.since + read.averaged
    interval = min(age.interval(ready), read.until - oldest)
    if interval <= timedelta(0):
        return read
    scrapes = (read.until - age.first) // interval
    until = age.first + scrapes * interval
    since = until - interval
    if not scrapes and (age.before is None or (ready == 1 and not age.alternates)):
        since = age.before or oldest
    return replace(read, since=max(since, oldest) - read.averaged, until=until)
