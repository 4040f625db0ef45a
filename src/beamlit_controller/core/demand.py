"""Demand: what a metric would be if nothing were offloaded.

Offloading lowers the very metric that it is decided by. A sample is therefore held against the local share of the
requests over the time that the sample covers, which the last three minutes of shares tell.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction

from beamlit_controller.core.verdict import Assessed, Unread, Verdict

MEMORY = timedelta(minutes=3)
LEAST_LOCAL = Fraction(5, 100)
"""With less than this left, a local metric says nothing about demand."""


@dataclass(frozen=True, slots=True)
class Share:
    """A percentage, and when it came into force."""

    at: datetime
    percentage: int


def local_fraction(shares: Sequence[Share], since: datetime, until: datetime) -> Fraction:
    """Give the mean fraction of requests served locally from `since` to `until`.

    The first share is taken to have been in force before its time too. `shares` are ordered and not empty.
    """
    if len(shares) == 1:
        return 1 - Fraction(shares[0].percentage, 100)
    if since >= until:
        return _local_at(shares, until)
    moments = [since, *(share.at for share in shares if since < share.at < until), until]
    spans = itertools.pairwise(moments)
    served = sum((_local_at(shares, start) * _ticks(end - start) for start, end in spans), start=Fraction(0))
    return served / _ticks(until - since)


def seen(verdict: Verdict, shares: Sequence[Share]) -> Fraction | None:
    """Give the highest demand over all metrics, 1 being the target; None if it can't be seen in one of them."""
    demands = [of(metric, shares) for metric in verdict.present]
    known = [demand for demand in demands if demand is not None]
    return max(known) if known and len(known) == len(demands) else None


def of(metric: Assessed | Unread, shares: Sequence[Share]) -> Fraction | None:
    """Give one metric's demand, 1 being the target, or None if it can't be seen."""
    match metric:
        case Unread():
            return None
        case Assessed():
            local = local_fraction(shares, metric.since, metric.until)
            return metric.ratio / local if local >= LEAST_LOCAL else None


def remember(shares: Sequence[Share], now: datetime, percentage: int) -> tuple[Share, ...]:
    """Add a share that comes into force now, and drop those that no sample can cover any more."""
    latest = (*shares, Share(now, percentage))
    horizon = now - MEMORY
    needless = sum(1 for following in latest[1:] if following.at <= horizon)
    return latest[needless:]


def _local_at(shares: Sequence[Share], moment: datetime) -> Fraction:
    in_force = [share for share in shares if share.at <= moment] or [shares[0]]
    return 1 - Fraction(in_force[-1].percentage, 100)


def _ticks(span: timedelta) -> int:
    return span // timedelta(microseconds=1)
