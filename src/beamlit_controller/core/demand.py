"""Demand: the value that a metric would have if nothing were offloaded.

Offloading lowers the very metric that triggers it. A sample is therefore divided by the fraction of requests that were
served locally during the time it covers, which follows from the shares of the last three minutes.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction

from beamlit_controller.core.adaptive_state import Learned
from beamlit_controller.core.verdict import Assessed, Unread, Verdict

MEMORY = timedelta(minutes=3)
LATELY = timedelta(seconds=30)
"""Minimum time over which requests are counted: over a shorter time, counts are too noisy."""
LEAST_LOCAL = Fraction(5, 100)
"""Below this local fraction, a local metric does not show demand."""


@dataclass(frozen=True, slots=True)
class Share:
    """A percentage, and when it came into force."""

    at: datetime
    percentage: int


def local_fraction(shares: Sequence[Share], since: datetime, until: datetime) -> Fraction:
    """Return the mean fraction of requests served locally from `since` to `until`.

    `shares` are ordered and not empty. The first one is assumed to have been in force earlier as well.
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
    """Return the highest demand over all metrics, where 1 is the target; None if it can't be measured for one of them."""
    demands = [of(metric, shares) for metric in verdict.present]
    known = [demand for demand in demands if demand is not None]
    return max(known) if known and len(known) == len(demands) else None


def of(metric: Assessed | Unread, shares: Sequence[Share]) -> Fraction | None:
    """Return one metric's demand, where 1 is the target; None if it can't be measured."""
    match metric:
        case Unread():
            return None
        case Assessed():
            local = local_fraction(shares, metric.since, metric.until)
            return metric.ratio / local if local >= LEAST_LOCAL else None


def under_cap(metric: Assessed, worst: Assessed | None, learned: Learned) -> Fraction | None:
    """Return one metric's demand in Adaptive mode, where 1 is the target; None if no gateway has reported.

    Requests that were sent away count as demand. Under a cap the metric with the highest ratio stays at or below its
    target, and a queue stays empty. That metric therefore counts as at least the fraction of the cap in use, which
    shows how much local could still take.
    """
    since = min(metric.since, metric.until - LATELY)
    seen = [each for each in learned.recent if each.until > since and each.since <= metric.until]
    served, sent = sum(each.served for each in seen), sum(each.sent for each in seen)
    if not served:
        return None
    ratio = metric.ratio
    if metric == worst and learned.cap:
        level = sum((each.in_flight for each in seen), Fraction(0)) / len(seen)
        ratio = max(ratio, min(level / learned.cap, Fraction(1)))
    return ratio * (served + sent) / served


def remember(shares: Sequence[Share], now: datetime, percentage: int) -> tuple[Share, ...]:
    """Append a share that comes into force now, and drop those that no sample can cover any more."""
    latest = (*shares, Share(now, percentage))
    horizon = now - MEMORY
    needless = sum(1 for following in latest[1:] if following.at <= horizon)
    return latest[needless:]


def _local_at(shares: Sequence[Share], moment: datetime) -> Fraction:
    in_force = [share for share in shares if share.at <= moment] or [shares[0]]
    return 1 - Fraction(in_force[-1].percentage, 100)


def _ticks(span: timedelta) -> int:
    return span // timedelta(microseconds=1)
