"""Demand where nothing is served locally: known by the requests that the gateways count."""

import itertools
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamlit_controller.core import decision, load
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.load import KnownLoad, LoadPoint
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.spec import Behavior, OffloadSpec, OnMetricsLoss, Override
from beamlit_controller.core.verdict import Judgement, Unread, Verdict
from builders import NOW, QUEUE, missing, spec, verdict

PERIOD = timedelta(seconds=5)
WHOLE = spec(behavior=Behavior(percentage=100))


@dataclass
class Gateway:
    """A model whose requests are counted: so many per second arrive, and go where the last decision said."""

    spec: OffloadSpec = WHOLE
    ready: int = 1
    now: datetime = NOW
    last: Decision | None = None

    def see(self, ratio: float | None, rate: float, seconds: float = 5) -> Decision:
        """Go on for some time, with one ratio and one rate."""
        for _ in range(int(seconds / 5)):
            self.now += PERIOD
            away = self.last.sent if self.last else 0
            count = round(rate * 5)
            remote = count * away // 100
            flow = Flow(self.now - PERIOD, self.now, 0, 0, count - remote, remote, 0)
            seen = verdict(ratio, at=self.now, window=timedelta(0)) if ratio is not None else NO_SERIES
            self.last = decision.decide(self.spec, self.last, seen, self.now, flow=flow, ready=self.ready)
        assert self.last is not None
        return self.last


NO_SERIES = Verdict(Judgement.UNKNOWN, None, (Unread(QUEUE, missing(Reason.NO_SERIES, "queue has no series")),))


def test_after_a_blip_the_share_returns_within_the_release_window() -> None:
    """As many requests arrive as local served before without a queue."""
    gateway = Gateway()
    gateway.see(0, rate=2, seconds=120)
    assert gateway.see(2, rate=2).percentage == 100

    held = gateway.see(0, rate=2, seconds=60)
    released = gateway.see(0, rate=2, seconds=10)

    assert held.reason is Reason.STABILIZING
    assert "2 requests per second arrive per ready replica, and local has served 2 within its target" in held.message
    assert (released.percentage, released.reason) == (0, Reason.METRIC_BELOW_TARGET)


def test_without_any_request_there_is_no_demand() -> None:
    gateway = Gateway()
    gateway.see(2, rate=4, seconds=30)

    released = gateway.see(0, rate=0, seconds=100)

    assert (released.percentage, released.reason) == (0, Reason.METRIC_BELOW_TARGET)


def test_as_many_requests_as_were_too_many_keep_the_share_and_that_is_said() -> None:
    gateway = Gateway()
    gateway.see(0, rate=1, seconds=60)
    gateway.see(3, rate=4, seconds=30)

    held = gateway.see(0, rate=4, seconds=500)

    assert (held.percentage, held.reason) == (100, Reason.DEMAND_ABOVE_TARGET)
    assert held.demand is not None
    assert held.demand >= 1


def test_fewer_requests_than_were_too_many_are_tried_within_the_release_window() -> None:
    gateway = Gateway()
    gateway.see(0, rate=1, seconds=60)
    gateway.see(3, rate=4, seconds=30)

    waiting = gateway.see(0, rate=2, seconds=60)
    tried = gateway.see(0, rate=2, seconds=40)

    assert waiting.reason is Reason.DEMAND_UNKNOWN
    assert "fewer than the 4 with which a metric was over its target; a trial release in" in waiting.message
    assert tried.percentage == 0


def test_a_try_that_fails_is_repeated_only_as_rarely_as_ever() -> None:
    """Nothing is known of what local bears, so the first try comes soon; the next ones don't while as many requests arrive."""
    gateway = Gateway()
    first = gateway.see(3, rate=4)

    hours = [first, *(gateway.see(0 if _away(gateway) else 3, rate=4) for _ in range(720))]

    tries = [at for at, (one, other) in enumerate(itertools.pairwise(hours)) if one.percentage > other.percentage]
    assert tries[0] * 5 <= 75
    assert len(tries) == 2
    assert {hours[at].percentage for at in range(tries[0] + 3, tries[1])} == {100}


def _away(gateway: Gateway) -> bool:
    return gateway.last is not None and gateway.last.percentage > 0


def test_what_local_bears_is_forgotten_when_a_release_comes_back() -> None:
    gateway = Gateway()
    gateway.see(0, rate=2, seconds=120)
    gateway.see(2, rate=2, seconds=10)
    gateway.see(0, rate=2, seconds=80)
    assert gateway.last is not None
    assert gateway.last.load.borne is not None

    returned = gateway.see(2, rate=2)

    assert returned.percentage == 100
    assert returned.load.borne is None


def test_more_ready_replicas_bear_more_requests() -> None:
    gateway = Gateway()
    gateway.see(0, rate=1, seconds=60)
    gateway.see(3, rate=4, seconds=60)
    gateway.see(0, rate=4, seconds=300)
    assert gateway.last is not None
    assert gateway.last.percentage == 100

    gateway.ready = 4

    assert gateway.see(0, rate=4, seconds=100).percentage == 0


def test_a_query_that_is_empty_without_local_requests_is_no_reason_to_stay_away() -> None:
    gateway = Gateway()
    gateway.see(0, rate=2, seconds=120)
    gateway.see(2, rate=2)

    assert gateway.see(None, rate=2, seconds=80).percentage == 0


def test_a_query_that_is_empty_releases_nothing_where_its_loss_is_to_offload() -> None:
    gateway = Gateway(spec(behavior=Behavior(percentage=100, on_metrics_loss=OnMetricsLoss.OFFLOAD)))
    gateway.see(0, rate=2, seconds=120)
    gateway.see(2, rate=2)

    assert gateway.see(None, rate=2, seconds=500).percentage == 100


@pytest.mark.parametrize("rate", [0, 2])
def test_an_override_that_ends_is_taken_back_at_once(rate: int) -> None:
    """Everything was away by a person's word alone: no metric has asked for it."""
    gateway = Gateway(replace(WHOLE, override=Override(100)))
    gateway.see(0, rate=rate, seconds=120)

    gateway.spec = WHOLE

    assert gateway.see(0, rate=rate).percentage == 0


def test_without_figures_of_the_gateways_a_try_comes_as_late_as_ever() -> None:
    last: Decision | None = None
    for second in range(0, 590, 5):
        now = NOW + timedelta(seconds=second)
        last = decision.decide(WHOLE, last, verdict(2 if second == 0 else 0, at=now, window=timedelta(0)), now)

    assert last is not None
    assert (last.percentage, last.reason) == (100, Reason.DEMAND_UNKNOWN)
    assert "too few requests are served locally to measure demand" in last.message


# Laws.

points = st.builds(LoadPoint, st.fractions(0, 100, max_denominator=50), st.fractions(0, 5, max_denominator=50))
loads = st.builds(KnownLoad, st.just(()), st.none() | points, st.none() | points)


@given(loads, st.integers(0, 10_000), st.integers(0, 10_000), st.integers(1, 9))
def test_where_both_are_known_more_requests_are_never_less_demand(
    known: KnownLoad, one: int, other: int, ready: int
) -> None:
    fewer, more = sorted((one, other))

    demands = [load.demand(_counted(known, count, ready), NOW) for count in (fewer, more)]

    assert all(demand is None or demand >= 0 for demand in demands)
    if demands[0] is not None and demands[1] is not None and known.borne is not None and known.borne.ratio <= 1:
        assert demands[0] <= max(demands[1], Fraction(1))


def _counted(known: KnownLoad, count: int, ready: int) -> KnownLoad:
    return load.saw(known, Flow(NOW - load.WINDOW, NOW, 0, 0, 0, count, 0), ready=ready)
