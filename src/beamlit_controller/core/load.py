"""Estimates demand by the arrival rate and the rate that local is known to handle, where no metric can show it.

With all requests at the remote, no metric of the local servers can rise or fall, but the gateways still count requests.
If no more arrive than local once served within its target, there is no demand for offloading. If as many arrive as when
a metric was over its target, there is. In between, demand is unknown, and only a trial release can show it.
"""

import math
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction

from beamlit_controller.core.flow import Flow
from beamlit_controller.core.verdict import Judgement, Verdict

WINDOW = timedelta(seconds=30)
"""The arrival rate is averaged over this time."""
LEAST_SEEN = timedelta(seconds=10)
"""No rate is computed from less time than this."""
MEMORY = timedelta(seconds=150)
GRAIN = timedelta(seconds=3)
"""Gateway spans shorter than this are merged."""
SAME = Fraction(80, 100)
"""An arrival rate from this fraction of an excessive one counts as the same load, because arrivals are random."""
MORE = Fraction(102, 100)


@dataclass(frozen=True, slots=True)
class RequestSpan:
    """The requests that each side finished in a time span, and the number of ready local replicas."""

    since: datetime
    until: datetime
    local: int
    remote: int
    ready: int


@dataclass(frozen=True, slots=True)
class LoadPoint:
    """An arrival rate per second and ready replica, and the highest ratio of the metrics at that rate."""

    rate: Fraction
    ratio: Fraction


@dataclass(frozen=True, slots=True)
class KnownLoad:
    """What is known of the load.

    `recent` are the spans of the last minutes, `borne` is the highest load that local served within its target, and
    `over` the load when a metric was last over its target.
    """

    recent: tuple[RequestSpan, ...] = ()
    borne: LoadPoint | None = None
    over: LoadPoint | None = None


UNKNOWN = KnownLoad()
"""No gateway has reported anything yet."""


def lasting(load: KnownLoad) -> KnownLoad:
    """Return the part worth keeping across a restart."""
    return replace(load, recent=())


def saw(load: KnownLoad, flow: Flow, *, ready: int) -> KnownLoad:
    """Add the gateways' counts since the previous round."""
    if flow.until <= flow.since:
        return load
    span = RequestSpan(flow.since, flow.until, max(0, flow.served), max(0, flow.sent), max(1, ready))
    kept = [each for each in load.recent if flow.until - MEMORY < each.until <= flow.since]
    if kept and kept[-1].ready == span.ready and kept[-1].until - kept[-1].since < GRAIN:
        before = kept.pop()
        span = replace(span, since=before.since, local=before.local + span.local, remote=before.remote + span.remote)
    return replace(load, recent=(*kept, span))


def arriving(load: KnownLoad, now: datetime) -> Fraction | None:
    """Return the arrival rate per second and ready replica; None if no gateway has reported lately."""
    return _rate(load, now - WINDOW, now, remote=True)


def learned(load: KnownLoad, verdict: Verdict, now: datetime, *, offloading_since: datetime | None) -> KnownLoad:
    """Update what local can and can't handle. `offloading_since` is when the share last changed, None if it is 0."""
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
    """Return the demand by the arrival rate, where 1 is the target; None if only a trial release can show it."""
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
    """Describe what the arrival rate alone shows of demand."""
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
    """Return the highest rate that may be observed by chance while the true rate is one that local can handle."""
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
