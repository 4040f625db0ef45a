"""Demand: a ratio held against the local share over the time its sample covers."""

from datetime import datetime, timedelta
from fractions import Fraction

import pytest

from beamlit_controller.core import demand
from beamlit_controller.core.adaptive_state import Learned
from beamlit_controller.core.demand import Share
from beamlit_controller.core.in_flight_span import InFlightSpan
from beamlit_controller.core.verdict import Assessed, Unread
from builders import NOW, verdict

MINUTE = timedelta(minutes=1)
HALVED = (Share(NOW - 10 * MINUTE, 0), Share(NOW - MINUTE, 50))


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (NOW, NOW, Fraction(1, 2)),
        (NOW - 2 * MINUTE, NOW, Fraction(3, 4)),
        (NOW - 2 * MINUTE, NOW - MINUTE, Fraction(1)),
        (NOW - MINUTE / 2, NOW, Fraction(1, 2)),
        (NOW - 60 * MINUTE, NOW - 59 * MINUTE, Fraction(1)),
    ],
)
def test_the_local_fraction_is_the_mean_over_the_time_covered(
    since: datetime, until: datetime, expected: Fraction
) -> None:
    assert demand.local_fraction(HALVED, since, until) == expected


def test_demand_is_the_ratio_as_if_nothing_were_offloaded() -> None:
    assert demand.seen(verdict(0.8, at=NOW, window=timedelta(0)), HALVED) == Fraction(8, 5)


def test_demand_cannot_be_seen_in_less_than_a_twentieth() -> None:
    assert demand.seen(verdict(0.8, at=NOW, window=timedelta(0)), (Share(NOW - MINUTE, 96),)) is None


def test_demand_cannot_be_seen_in_a_metric_that_is_unread() -> None:
    assert demand.seen(verdict(None), HALVED) is None


def test_shares_are_remembered_for_as_long_as_a_sample_may_cover() -> None:
    shares = (Share(NOW, 0),)
    for minute in range(1, 11):
        shares = demand.remember(shares, NOW + minute * MINUTE, minute)

    assert [share.percentage for share in shares] == [7, 8, 9, 10]


def seen(ratio: float, *, age: timedelta = timedelta(0)) -> Assessed:
    (metric,) = verdict(ratio, at=NOW, age=age, window=timedelta(0)).metrics
    assert isinstance(metric, Assessed)
    return metric


def span(in_flight: int, served: int, sent: int, *, ready: int = 1, ago: timedelta = timedelta(0)) -> InFlightSpan:
    return InFlightSpan(NOW - ago - MINUTE / 4, NOW - ago, Fraction(in_flight), served, sent, sent, ready)


def learned(*spans: InFlightSpan, cap: int | None = 8, is_duration: bool = False) -> Learned:
    return Learned(cap=None if cap is None else Fraction(cap), recent=spans, is_duration=is_duration)


@pytest.mark.parametrize(
    ("ratio", "in_flight", "served", "sent", "expected"),
    [
        (0.9, 8, 20, 0, 1),
        (0, 8, 20, 20, 2),
        (0, 2, 20, 0, Fraction(1, 4)),
        (1.5, 40, 20, 20, Fraction(5, 2)),
    ],
    ids=[
        "a full cap is at the target",
        "what was sent away counts although nothing waits",
        "a cap that is not full is less",
        "a metric over its target is more",
    ],
)
def test_demand_under_a_cap_is_how_full_it_is_with_what_was_sent_away(
    ratio: float, in_flight: int, served: int, sent: int, expected: Fraction
) -> None:
    known = learned(span(in_flight, served, sent))

    assert demand.under_caps([seen(ratio)], known, (), NOW) == (expected,)
    assert demand.highest_under_cap([seen(ratio)], known, (), NOW) == expected


def test_without_a_cap_what_was_sent_away_is_in_proportion_to_the_ratio() -> None:
    assert demand.highest_under_cap([seen(0.5)], learned(span(4, 20, 20), cap=None), (), NOW) == 1


def test_of_two_metrics_each_has_the_demand_of_its_own_cap() -> None:
    """Only the metric with the highest ratio counted as the use of the cap; that of a queue changed with the other one's noise."""
    known, owned = learned(span(8, 20, 20)), (learned(cap=8), learned(cap=16))

    assert demand.under_caps([seen(0), seen(0.25)], known, owned, NOW) == (2, 1)
    assert demand.highest_under_cap([seen(0), seen(0.25)], known, owned, NOW) == 2


@pytest.mark.parametrize("unread", [0, 1])
def test_whichever_metric_can_be_read_shows_the_use_of_the_cap_in_force(unread: int) -> None:
    metrics: list[Assessed | Unread] = [seen(0), seen(0.25)]
    (metrics[unread],) = (each for each in verdict(None).metrics if isinstance(each, Unread))
    owned = (learned(cap=8), learned(cap=16))

    assert demand.under_caps(metrics, learned(span(8, 20, 20)), owned, NOW)[unread] is None
    assert demand.highest_under_cap(metrics, learned(span(8, 20, 20)), owned, NOW) == 2


def test_once_more_replicas_are_ready_demand_is_what_it_is_for_each_of_them() -> None:
    """Three times as many replicas were ready, and demand stayed what it had been for the first ones: the autoscaler tripled them again."""
    before, now = span(8, 20, 20, ready=2, ago=MINUTE / 4), span(5, 40, 0, ready=6)

    late, fresh = (
        demand.highest_under_cap([seen(0.9, age=age)], learned(before, now), (), NOW)
        for age in (MINUTE / 3, timedelta(0))
    )

    used = Fraction(8 * 2 + 5 * 6, 2 * 8 * 6)
    assert late == used * Fraction(80, 60)
    assert fresh == Fraction(9, 10)


def test_when_replicas_are_gone_the_others_have_their_demand() -> None:
    before, now = span(2, 20, 0, ready=6, ago=MINUTE / 4), span(4, 20, 0, ready=3)

    assert demand.highest_under_cap([seen(0)], learned(before, now), (), NOW) == Fraction(1, 2)
    assert demand.highest_under_cap([seen(0.4, age=MINUTE / 3)], learned(before, now), (), NOW) == Fraction(4, 5)


@pytest.mark.parametrize(("ratio", "expected"), [(0.7, Fraction(1, 4)), (1.2, Fraction(6, 5))])
def test_that_requests_take_no_longer_than_they_may_is_no_demand(ratio: float, expected: Fraction) -> None:
    """They take nearly as long at no load: replicas that were added for a load never went away again."""
    known = learned(span(2, 20, 0), is_duration=True)

    assert demand.highest_under_cap([seen(ratio)], known, (), NOW) == expected


@pytest.mark.parametrize("known", [learned(), learned(span(8, 20, 20, ago=MINUTE))])
def test_demand_under_a_cap_is_not_known_while_no_gateway_tells(known: Learned) -> None:
    assert demand.highest_under_cap([seen(0.5)], known, (), NOW) is None


def test_demand_in_replicas_counts_those_that_it_refers_to() -> None:
    """They may be fewer than those that are ready now, if no gateway has reported since."""
    assert demand.replicas(Fraction(3, 2), (span(8, 20, 20, ready=2),), ready=6) == 3
    assert demand.replicas(Fraction(3, 2), (), ready=6) == 9


@pytest.mark.parametrize(("ratio", "ready"), [(None, 6), (Fraction(3, 2), 0)])
def test_demand_in_replicas_is_not_known_without_a_ratio_or_a_replica(ratio: Fraction | None, ready: int) -> None:
    assert demand.replicas(ratio, (span(8, 20, 20),), ready=ready) is None
