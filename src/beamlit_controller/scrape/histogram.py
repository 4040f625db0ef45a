"""A quantile of the observations that a histogram counted within a window, from scrapes of its `_bucket` series.

It is what Prometheus computes for `histogram_quantile(q, sum by (le) (increase(NAME_bucket[window])))`: the series of
one server are summed by `le`, a counter that decreased was reset, and the value is interpolated within its bucket.
https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from math import inf

from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing

Labels = frozenset[tuple[str, str]]
"""The labels of one `_bucket` series, including `le`."""
Counts = tuple[tuple[float, Fraction], ...]
"""Cumulative counts by the upper bound of their bucket, in order."""

MOST_SCRAPES = 60
"""Maximum number of scrapes remembered per window."""
MOST_BUCKETS = 200
_PER_SERIES, _PER_COUNT = 120, 140


@dataclass(frozen=True, slots=True)
class BucketSeries:
    """One `_bucket` series: its labels, its upper bound, and its count."""

    labels: Labels
    bound: float
    count: Fraction


@dataclass(frozen=True, slots=True)
class HistogramWindow:
    """What a server's histogram has counted since it was first scraped, with the scrapes of the last window.

    `raw` is each series' last count as scraped, by a digest of its labels, to compute increases and detect resets.
    """

    raw: Mapping[bytes, Fraction]
    scrapes: tuple[tuple[datetime, Counts], ...]

    @property
    def size(self) -> int:
        """Return about how many bytes of memory it takes, rather more than less."""
        counts = self.scrapes[-1][1] if self.scrapes else ()
        raw = sum(_PER_SERIES + _size(count) for count in self.raw.values())
        return raw + len(self.scrapes) * sum(_size(count) for _, count in counts)


def _size(count: Fraction) -> int:
    return _PER_COUNT + (count.numerator.bit_length() + count.denominator.bit_length()) // 8


def scraped(
    before: HistogramWindow | None, page: Iterable[BucketSeries], at: datetime, window: timedelta
) -> HistogramWindow:
    """Add a scrape. What a series had counted before it was first seen is left out.

    A page with other buckets starts over: the server was reconfigured, or it would make us remember any number of
    buckets.
    """
    page = list(page)
    known = before if before and _bounds(before) == {each.bound for each in page} else HistogramWindow({}, ())
    totals = dict(known.scrapes[-1][1]) if known.scrapes else {}
    raw = {}
    for each in page:
        digest = _digest(each.labels)
        raw[digest] = each.count
        last = known.raw.get(digest, each.count)
        added = each.count - last if each.count >= last else each.count
        totals[each.bound] = totals.get(each.bound, Fraction(0)) + added
    kept = [each for each in known.scrapes if at - window <= each[0] < at]
    if len(kept) > 1 and kept[-1][0] - kept[-2][0] < window / MOST_SCRAPES:
        kept.pop()
    return HistogramWindow(raw, (*kept, (at, tuple(sorted(totals.items())))))


def _digest(labels: Labels) -> bytes:
    """Return 16 bytes for labels, which may be long."""
    return hashlib.blake2b(repr(sorted(labels)).encode(errors="surrogatepass"), digest_size=16).digest()


def _bounds(seen: HistogramWindow) -> set[float]:
    return {bound for bound, _ in seen.scrapes[-1][1]} if seen.scrapes else set()


@dataclass(frozen=True, slots=True)
class QuantileValue:
    """A quantile, and the time that it covers."""

    value: Fraction
    window: timedelta


def quantile(seen: HistogramWindow, part: Fraction) -> QuantileValue | Missing:
    """Return the quantile of the last window, and the time that it covers."""
    (since, first), (until, last) = seen.scrapes[0], seen.scrapes[-1]
    if since == until:
        return Missing(Reason.NO_OBSERVATIONS, "only one scrape within the window so far")
    before = dict(first)
    value = of_buckets(tuple((bound, count - before.get(bound, 0)) for bound, count in last), part)
    return value if isinstance(value, Missing) else QuantileValue(value, until - since)


def of_buckets(buckets: Counts, part: Fraction) -> Fraction | Missing:
    """Return the quantile of cumulative counts as Prometheus does.

    In the last bucket, which has no upper bound, it is the highest finite bound.
    """
    if len(buckets) < 2 or buckets[-1][0] != inf:  # noqa: PLR2004 - one with a bound, and the one without
        return Missing(
            Reason.MALFORMED_ANSWER, 'expected _bucket series with an le of their own, and one with le="+Inf"'
        )
    counts = _monotonic(buckets)
    if not counts[-1][1]:
        return Missing(Reason.NO_OBSERVATIONS, "the histogram has no observations within the window")
    rank = part * counts[-1][1]
    if counts[0][1] >= rank:
        bound = Fraction(counts[0][0])
        return bound if bound <= 0 else bound * rank / counts[0][1]
    for (lower, below), (upper, count) in pairwise(counts):
        if count >= rank and upper != inf:
            return Fraction(lower) + (Fraction(upper) - Fraction(lower)) * (rank - below) / (count - below)
    return Fraction(counts[-2][0])


def _monotonic(buckets: Counts) -> Counts:
    """Raise counts that are below the previous bucket's, since a page may be written while requests are counted."""
    highest, raised = Fraction(0), []
    for bound, count in buckets:
        highest = max(highest, count)
        raised.append((bound, highest))
    return tuple(raised)
