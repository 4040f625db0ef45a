"""Demand: a ratio held against the local share over the time its sample covers."""

from datetime import datetime, timedelta
from fractions import Fraction

import pytest

from beamlit_controller.core import demand
from beamlit_controller.core.demand import Share
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
