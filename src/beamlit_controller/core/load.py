"""Estimates demand from the arrival rate and the rate that local is known to handle, where no metric can show it.

With all requests at the remote, no metric of the local servers can rise or fall, but the gateways still count requests.
If no more arrive than local served within its target, there is no demand for offloading. If as many arrive as when a
metric was over its target, there is. In between demand is unknown, and only a trial release can show it.
"""

import math
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction

from beamlit_controller.core.flow import Flow
from beamlit_controller.core.verdict import Judgement, Verdict

WINDOW = timedelta(seconds=30)
"""A rate is a mean over this time; earlier arrivals say nothing about the present."""
LEAST_SEEN = timedelta(seconds=10)
"""No rate is given for less time than this."""
MEMORY = timedelta(seconds=150)
GRAIN = timedelta(seconds=3)
"""Gateway spans shorter than this are merged."""
SAME = Fraction(80, 100)
"""At least this part of a load that was too much counts as the same load: requests arrive at random."""
MORE = Fraction(102, 100)


@dataclass(frozen=True, slots=True)
class RequestSpan:
    """The requests that each side finished in a time, and how many local replicas were ready."""

    since: datetime
    until: datetime
    local: int
    remote: int
    ready: int


@dataclass(frozen=True, slots=True)
class LoadPoint:
    """Requests per second and ready replica, and the highest ratio of the metrics with them."""

    rate: Fraction
    ratio: Fraction


@dataclass(frozen=True, slots=True)
class KnownLoad:
    """The last minutes; the most that local served within its target; what arrived when a metric was last over its target."""

    recent: tuple[RequestSpan, ...] = ()
    borne: LoadPoint | None = None
    over: LoadPoint | None = None


UNKNOWN = KnownLoad()
"""No gateway has reported anything yet."""


def lasting(load: KnownLoad) -> KnownLoad:
    """Leave out what is worth nothing after a restart."""
    return replace(load, recent=())


def saw(load: KnownLoad, flow: Flow, *, ready: int) -> KnownLoad:
    """Add what the gateways counted since the round before."""
    if flow.until <= flow.since:
        return load
    span = RequestSpan(flow.since, flow.until, max(0, flow.served), max(0, flow.sent), max(1, ready))
    kept = [each for each in load.recent if flow.until - MEMORY < each.until <= flow.since]
    if kept and kept[-1].ready == span.ready and kept[-1].until - kept[-1].since < GRAIN:
        before = kept.pop()
        span = replace(span, since=before.since, local=before.local + span.local, remote=before.remote + span.remote)
    return replace(load, recent=(*kept, span))


def arriving(load: KnownLoad, now: datetime) -> Fraction | None:
    """Return how many requests arrive per second and ready replica; None if no gateway has reported lately."""
    return _rate(load, now - WINDOW, now, remote=True)


def learned(load: KnownLoad, verdict: Verdict, now: datetime, *, offloading_since: datetime | None) -> KnownLoad:
    """Learn from a round what local can handle and what is too much; `offloading_since` is when the share last changed, if it isn't 0."""
    worst = verdict.worst
    if worst is None or verdict.judgement is Judgement.UNKNOWN:
        return load
    if verdict.judgement is Judgement.OVER:
        return _too_much(load, worst.ratio, now, anew=offloading_since is None)
    if offloading_since is not None and load.over is not None and now - offloading_since <= WINDOW:
        load = _too_much(load, load.over.ratio, now, anew=False)
    rate = _rate(load, min(worst.since, worst.until - WINDOW), worst.until, remote=False)
    if not rate or worst.ratio > 1 or (load.borne is not None and rate <= load.borne.rate * MORE):
        return load
    return replace(load, borne=LoadPoint(_short(rate), _short(worst.ratio)))


def demand(load: KnownLoad, now: datetime) -> Fraction | None:
    """Return the demand that the number of requests shows, 1 being the target; None where only a trial can show it."""
    rate = arriving(load, now)
    if rate is None:
        return None
    if rate == 0:
        return Fraction(0)
    if load.borne is not None and rate <= _at_most(load.borne):
        return load.borne.ratio * rate / load.borne.rate
    if load.over is not None and rate >= load.over.rate * SAME:
        return max(load.over.ratio * rate / load.over.rate, Fraction(1)) if load.over.rate else load.over.ratio
    return None


def is_less(load: KnownLoad, now: datetime) -> bool:
    """Return whether clearly fewer requests arrive than when a metric was over its target."""
    rate = arriving(load, now)
    return rate is not None and load.over is not None and rate < load.over.rate * SAME


def said(load: KnownLoad, now: datetime) -> str:
    """Say what is known of demand by the requests alone."""
    rate = arriving(load, now)
    if rate is None:
        return "too few requests are served locally to measure demand"
    arrive = f"{_per_second(rate)} arrive per ready replica"
    if load.borne is not None and rate <= _at_most(load.borne):
        return f"{arrive}, and local has served {_number(load.borne.rate)} within its target"
    if load.over is not None:
        than = "fewer than" if is_less(load, now) else "as many as"
        return f"{arrive}, {than} the {_number(load.over.rate)} with which a metric was over its target"
    return f"{arrive}, and it is not known how many the local servers can handle"


def _too_much(load: KnownLoad, ratio: Fraction, now: datetime, *, anew: bool) -> KnownLoad:
    rate = arriving(load, now)
    if rate is None:
        return replace(load, over=None) if anew else load
    if not anew and load.over is not None and load.over.rate >= rate:
        return load
    return replace(load, over=LoadPoint(_short(rate), _short(ratio)))


def _at_most(borne: LoadPoint) -> Fraction:
    """Return the highest rate that chance may produce from the rate that local can handle."""
    requests = borne.rate * Fraction(WINDOW.total_seconds())
    return borne.rate + Fraction(math.isqrt(math.ceil(requests))) / Fraction(WINDOW.total_seconds())


def _rate(load: KnownLoad, since: datetime, until: datetime, *, remote: bool) -> Fraction | None:
    spans = [each for each in load.recent if each.until > since and each.since < until]
    seconds = sum((each.until - each.since for each in spans), timedelta(0)) / timedelta(seconds=1)
    if seconds < LEAST_SEEN.total_seconds():
        return None
    counts: Counter[int] = Counter()
    for each in spans:
        counts[each.ready] += each.local + (each.remote if remote else 0)
    return sum((Fraction(count, ready) for ready, count in counts.items()), Fraction(0)) / Fraction(seconds)


def _short(number: Fraction) -> Fraction:
    return Fraction(round(number * 1000), 1000)


def _number(rate: Fraction) -> str:
    return f"{float(rate):.3g}"


def _per_second(rate: Fraction) -> str:
    return f"{_number(rate)} requests per second"
