"""Two metrics of two kinds in Adaptive mode beside an autoscaler on the demand that is published, played in closed loop."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from fractions import Fraction
from itertools import pairwise

import pytest

from beamlit_controller.core import adaptive_state, decision, demand
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.metric_spec import ExternalMetric, SeriesSelector, Value
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.core.spec import Behavior, Mode
from beamlit_controller.core.verdict import Assessed, Current, Judgement, Unread, Verdict
from builders import NOW, spec

PERIOD, SYNC, CALM = 5, 15, 300
"""Seconds between rounds, between looks of the autoscaler, and for which it waits before it removes replicas."""
STARTS = 68
"""Seconds until a new replica is ready."""
SLOTS, TAKES = 8, 2
"""Requests that a replica works on at a time, and seconds that it takes for each."""
LEAST, MOST, SCALED_TO = 2, 20, Fraction(8, 10)
TARGETS = {"queue": Fraction(2), "busy": Fraction(9, 10), "cache": Fraction(8, 10), "duration": Fraction(3)}
BEGINS, ENDS, LASTS = 300, 1500, 3000
LOW, HIGH = 8, 45
"""Requests that would be in flight on all replicas without a cap: half the slots of the first replicas, and almost three times as many."""


@dataclass(frozen=True)
class Moment:
    """What is so after a round."""

    at: int
    ready: int
    replicas: int
    sent: int
    decided: Decision

    @property
    def demand(self) -> float | None:
        return None if self.decided.demand is None else float(self.decided.demand)


@dataclass
class Autoscaler:
    """The HorizontalPodAutoscaler with an External metric of type Value on demand as a ratio, or of type AverageValue on demand in replicas."""

    in_replicas: bool = False
    replicas: int = LEAST
    begun: tuple[int, ...] = (-STARTS,) * LEAST
    wanted: tuple[tuple[int, int], ...] = ()

    def ready(self, at: int) -> int:
        return sum(begun + STARTS <= at for begun in self.begun)

    def look(self, at: int, demand: Fraction | None) -> None:
        if demand is None:
            return
        usage = demand / SCALED_TO / (self.replicas if self.in_replicas else 1)
        counted = self.replicas if self.in_replicas else self.ready(at)
        wanted = self.replicas if abs(usage - 1) <= Fraction(1, 10) else math.ceil(counted * usage)
        wanted = max(LEAST, min(MOST, wanted, max(2 * self.replicas, self.replicas + 4)))
        self.wanted = (*(each for each in self.wanted if each[0] > at - CALM), (at, wanted))
        highest = max(each for _, each in self.wanted)
        replicas = wanted if wanted > self.replicas else min(self.replicas, highest)
        self.begun = (*self.begun, *[at] * (replicas - self.replicas))[:replicas]
        self.replicas = replicas


def value(name: str, level: Fraction, *, per_request: Fraction) -> Fraction:
    """Return what a replica reports with so many requests in flight."""
    running = min(level, Fraction(SLOTS))
    match name:
        case "queue":
            return level - running
        case "busy":
            return running / SLOTS
        case "cache":
            return Fraction(1, 10) + per_request * running
        case _:
            return TAKES * max(level / SLOTS, Fraction(1))


def played(
    names: Sequence[str],
    *,
    load: Callable[[int], int] = lambda at: HIGH if BEGINS <= at < ENDS else LOW,
    unread: Callable[[int], Sequence[str]] = lambda at: (),
    per_request: Callable[[int], Fraction] = lambda at: Fraction(8, 100),
    restarted_at: int | None = None,
    in_replicas: bool = False,
    delay: int = 0,
) -> Iterator[Moment]:
    """Play what comes of metrics of these names. The autoscaler reads demand as it was `delay` seconds ago."""
    metrics = tuple(ExternalMetric(SeriesSelector(name), Value(round(1000 * TARGETS[name]))) for name in names)
    whole = spec(behavior=Behavior(mode=Mode.ADAPTIVE), metrics=metrics)
    scaler, decided = Autoscaler(in_replicas), decision.begin(NOW)
    published: dict[int, Fraction | None] = {}
    for at in range(0, LASTS, PERIOD):
        ready, offered = scaler.ready(at), load(at)
        level = offered if decided.cap is None else min(offered, round(decided.cap * ready))
        served, sent = min(level, SLOTS * ready) * PERIOD // TAKES, (offered - level) * PERIOD // TAKES
        per_replica = Fraction(level, ready)
        read = tuple(
            _read(each, value(each.metric.name, per_replica, per_request=per_request(at)), at, unread=unread(at))
            for each in metrics
        )
        now = NOW + timedelta(seconds=at)
        decided = _recorded(decided) if at == restarted_at else decided
        flow = Flow(now - timedelta(seconds=PERIOD), now, level, level, served, sent, sent)
        decided = decision.decide(whole, decided, _verdict(read), now, flow=flow, ready=ready)
        replicas = demand.replicas(decided.demand, decided.learned.recent, ready=ready)
        published[at] = replicas if in_replicas else decided.demand
        if at % SYNC == 0:
            scaler.look(at, published.get(at - delay))
        yield Moment(at, ready, scaler.replicas, sent, decided)


def _recorded(decided: Decision) -> Decision:
    """Return what a controller that starts finds of a decision."""
    by_metric = tuple(adaptive_state.lasting(each) for each in decided.by_metric)
    return replace(decided, learned=adaptive_state.lasting(decided.learned), by_metric=by_metric)


def _read(each: ExternalMetric, current: Fraction, at: int, *, unread: Sequence[str]) -> Assessed | Unread:
    name, until = each.metric.name, NOW + timedelta(seconds=at)
    if name in unread:
        return Unread(each, Missing(Reason.NO_SERIES, "no value"))
    milli, target = round(1000 * current), each.target.milli
    slope = Fraction(1000, target) if name == "queue" else None
    since = until - timedelta(seconds=PERIOD)
    return Assessed(each, Current(value=milli), Fraction(milli, target), since, until, slope)


def _verdict(read: tuple[Assessed | Unread, ...]) -> Verdict:
    ratios = [each.ratio for each in read if isinstance(each, Assessed)]
    worst = max(ratios, default=None)
    if worst is not None and worst > 1:
        return Verdict(Judgement.OVER, worst, read)
    return Verdict(Judgement.UNKNOWN if len(ratios) < len(read) else Judgement.BETWEEN, worst, read)


def settled(moments: Sequence[Moment], *, until: int) -> Moment:
    """Return the last moment before a time."""
    return [each for each in moments if each.at < until][-1]


def turns(moments: Sequence[Moment]) -> int:
    """Return how many times replicas were removed after some were added, or added after some were removed."""
    steps = [later.replicas - earlier.replicas for earlier, later in pairwise(moments)]
    return sum((earlier > 0) != (later > 0) for earlier, later in pairwise(step for step in steps if step))


PAIRS = [("queue", "busy"), ("busy", "queue"), ("queue", "cache"), ("queue", "duration"), ("cache", "busy")]


@pytest.mark.parametrize("names", PAIRS, ids="-".join)
def test_replicas_come_for_the_load_until_nothing_leaves_and_go_with_it(names: Sequence[str]) -> None:
    moments = list(played(names))

    loaded, calm = settled(moments, until=ENDS), settled(moments, until=LASTS)
    cap = loaded.decided.cap
    assert cap is not None
    assert max(each.sent for each in moments) > 0
    assert not any(each.sent for each in moments if each.at > BEGINS + 3 * STARTS)
    assert loaded.replicas <= math.ceil(HIGH / cap / SCALED_TO) + 1
    assert calm.replicas == LEAST
    assert turns(moments) <= 2


@pytest.mark.parametrize("names", PAIRS[:4], ids="-".join)
def test_replicas_that_become_ready_do_not_bring_more(names: Sequence[str]) -> None:
    """The demand of those that were ready before was published for half a minute, and the autoscaler multiplied all by it."""
    moments = list(played(names))

    asked = settled(moments, until=BEGINS + STARTS).replicas
    assert asked > LEAST
    assert max(each.replicas for each in moments) == asked


@pytest.mark.parametrize("names", PAIRS, ids="-".join)
def test_demand_in_replicas_brings_no_more_of_them_however_late_it_is_read(names: Sequence[str]) -> None:
    """What an autoscaler read of the ratio from before the last replicas were ready, it multiplied by all that were ready by then."""
    at_once = list(played(names, in_replicas=True))
    late = list(played(names, in_replicas=True, delay=30))
    by_ratio = list(played(names, delay=30))

    asked, most = max(each.replicas for each in at_once), max(each.replicas for each in late)
    assert most == asked
    assert most * 3 < max(each.replicas for each in by_ratio) * 2
    assert sum(each.sent for each in late) <= sum(each.sent for each in by_ratio)
    assert settled(late, until=ENDS).sent == 0
    assert settled(late, until=LASTS).replicas == LEAST


@pytest.mark.parametrize("restarted_at", [BEGINS + 600, ENDS - PERIOD, ENDS + 60])
def test_replicas_go_with_the_load_although_the_controller_restarted(restarted_at: int) -> None:
    """It had forgotten that one of the metrics is a duration, which is nearly the same at any load, and replicas stayed for it."""
    moments = list(played(("queue", "duration"), restarted_at=restarted_at))

    assert settled(moments, until=LASTS).replicas == LEAST


@pytest.mark.parametrize("unread", ["queue", "busy"])
def test_replicas_come_although_one_metric_can_not_be_read_but_none_goes(unread: str) -> None:
    """The cap does not rise then, but it shows the demand: as long as the metric was lost, requests left and no replica came."""
    lost_at = BEGINS + 2 * PERIOD

    moments = list(played(("queue", "busy"), unread=lambda at: [unread] if at >= lost_at else []))

    lost = [each for each in moments if each.at >= lost_at]
    assert lost[0].sent > 0
    assert not any(each.sent for each in lost if each.at > BEGINS + 4 * STARTS)
    assert all(later.replicas >= earlier.replicas for earlier, later in pairwise(lost))
    assert all(each.demand is None or each.demand > 1 for each in lost)
    assert settled(moments, until=LASTS).demand is None


def test_once_the_metric_can_be_read_again_replicas_go() -> None:
    moments = list(played(("queue", "busy"), unread=lambda at: ["busy"] if BEGINS < at < ENDS else []))

    assert settled(moments, until=LASTS).replicas == LEAST


def test_when_the_other_metric_is_the_higher_one_replicas_follow_it() -> None:
    """Requests take more of the cache from the middle of the load on, so that fewer fit, and it is the cache that says so."""
    grown_at = (BEGINS + ENDS) // 2

    moments = list(played(("queue", "cache"), per_request=lambda at: Fraction(8 if at < grown_at else 13, 100)))

    before, after = settled(moments, until=grown_at), settled(moments, until=ENDS)
    assert before.replicas < after.replicas
    assert after.sent == 0
    assert settled(moments, until=LASTS).replicas <= LEAST + 1
