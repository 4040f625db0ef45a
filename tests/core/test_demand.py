"""Demand: a ratio held against the local share over the time its sample covers."""

from datetime import datetime, timedelta
from fractions import Fraction

import pytest

from beamlit_controller.core import demand
from beamlit_controller.core.adaptive_state import InFlightSpan, Learned
from beamlit_controller.core.demand import Share
from beamlit_controller.core.verdict import Assessed
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


def seen(ratio: float) -> Assessed:
    (metric,) = verdict(ratio, at=NOW, window=timedelta(0)).metrics
    assert isinstance(metric, Assessed)
    return metric


def learned(*, in_flight: int, served: int, sent: int) -> Learned:
    span = InFlightSpan(NOW - MINUTE / 4, NOW, Fraction(in_flight), served, sent, sent)
    return Learned(cap=Fraction(8), recent=(span,))


@pytest.mark.parametrize(
    ("ratio", "in_flight", "served", "sent", "expected"),
    [
        (0.9, 8, 20, 0, 1),
        (0, 8, 20, 20, 2),
        (0, 2, 20, 0, Fraction(1, 4)),
        (1.5, 40, 20, 20, 3),
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
    worst = seen(ratio)

    assert demand.under_cap(worst, worst, learned(in_flight=in_flight, served=served, sent=sent)) == expected


def test_demand_under_a_cap_of_another_than_the_worst_metric_is_its_own() -> None:
    full = learned(in_flight=8, served=20, sent=20)

    assert demand.under_cap(seen(0.25), seen(0.9), full) == Fraction(1, 2)


def test_demand_under_a_cap_is_not_known_while_no_gateway_tells() -> None:
    assert demand.under_cap(seen(0.5), seen(0.5), Learned(cap=Fraction(8))) is None
