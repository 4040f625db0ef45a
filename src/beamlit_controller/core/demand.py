"""Demand: the value that a metric would have if nothing were offloaded.

Offloading lowers the very metric that triggers it. A sample is therefore divided by the fraction of requests that were
served locally during the time it covers, which follows from the shares of the last three minutes. In Adaptive mode a cap
keeps the metric at its target, so demand is the use of the cap and what was sent away, as the gateways count it.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction

from beamlit_controller.core.adaptive_state import Learned
from beamlit_controller.core.in_flight_span import InFlightSpan
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


def under_caps(
    metrics: Sequence[Assessed | Unread], learned: Learned, by_metric: Sequence[Learned], now: datetime
) -> tuple[Fraction | None, ...]:
    """Return each metric's demand in Adaptive mode, where 1 is the target; None if it can't be measured.

    `by_metric` is what was learned from each of several metrics.
    """
    owned = _owned(metrics, learned, by_metric)
    return tuple(_under_cap(each, own, learned.recent, now) for each, own in zip(metrics, owned, strict=True))


def highest_under_cap(
    metrics: Sequence[Assessed | Unread], learned: Learned, by_metric: Sequence[Learned], now: datetime
) -> Fraction | None:
    """Return the highest demand over the metrics that can be read, counting the use of the cap in force; None if no gateway has reported."""
    in_force = [replace(own, cap=learned.cap) for own in _owned(metrics, learned, by_metric)]
    return max((each for each in under_caps(metrics, learned, in_force, now) if each is not None), default=None)


def replicas(demand: Fraction | None, recent: Sequence[InFlightSpan], *, ready: int) -> Fraction | None:
    """Return demand in replicas instead of as a ratio to those that are ready; None if it is not known, or none is ready.

    An autoscaler multiplies a ratio by the replicas that are ready when it reads it, which may be more than those that it
    refers to: in Adaptive mode those of the gateways' last report.
    """
    if demand is None or not ready:
        return None
    return demand * (recent[-1].ready if recent else ready)


def _owned(metrics: Sequence[Assessed | Unread], learned: Learned, by_metric: Sequence[Learned]) -> tuple[Learned, ...]:
    return tuple(by_metric) if len(by_metric) == len(metrics) else (learned,) * len(metrics)


def _under_cap(
    metric: Assessed | Unread, own: Learned, recent: Sequence[InFlightSpan], now: datetime
) -> Fraction | None:
    """Return the fraction of its cap in use, with what was sent away, or the metric's ratio if that is higher.

    Under a cap a metric stays at or below its target, and a queue stays empty. By how much it is above its target all the
    same is added. The duration of requests is about the same at any load, so that it is within its target tells nothing.
    """
    lately = [each for each in recent if each.until > now - LATELY]
    served, sent = sum(each.served for each in lately), sum(each.sent for each in lately)
    if isinstance(metric, Unread) or not served:
        return None
    ratio = metric.ratio * _replicas(recent, metric) / lately[-1].ready
    if own.cap is None:
        return ratio * (served + sent) / served
    in_use = sum((min(each.in_flight / own.cap, Fraction(1)) * each.ready for each in lately), start=Fraction(0))
    offered = in_use / len(lately) / lately[-1].ready * (served + sent) / served
    shown = Fraction(0) if own.is_duration and metric.ratio <= 1 else ratio
    return max(shown, offered + max(Fraction(0), shown - 1))


def _replicas(recent: Sequence[InFlightSpan], metric: Assessed) -> Fraction:
    """Return how many replicas were ready while a sample was taken: others may have become ready since."""
    since, until = metric.since, metric.until
    during = [each.ready for each in recent if each.since < until and (each.until > since or each.until == until)]
    return Fraction(sum(during), len(during)) if during else Fraction(recent[-1].ready)


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
