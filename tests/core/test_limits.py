"""The limit of concurrent requests at the local servers."""

from fractions import Fraction

import pytest

import builders
from beamlit_controller.core import limits
from beamlit_controller.core.spec import Overflow


@pytest.mark.parametrize(
    ("each", "ready", "gateways", "most"),
    [
        (16, 3, 1, 48),
        (16, 3, 2, 24),
        (16, 1, 3, Fraction(16, 3)),
        (1, 1, 2, Fraction(1, 2)),
        (16, 0, 2, Fraction(1, 2)),
        (16, 3, 0, 48),
        (None, 3, 2, None),
    ],
)
def test_gateways_share_what_the_ready_servers_may_have(
    each: int | None, ready: int, gateways: int, most: Fraction | int | None
) -> None:
    spec = builders.spec(overflow=Overflow(max_in_flight_per_replica=each))

    assert limits.in_flight(spec, None, ready=ready, gateways=gateways) == most


@pytest.mark.parametrize(
    ("given", "cap", "most"),
    [(None, Fraction(17, 5), Fraction(34, 5)), (2, Fraction(17, 5), 4), (5, Fraction(17, 5), Fraction(34, 5))],
)
def test_of_the_users_limit_and_the_learned_cap_the_smaller_counts(
    given: int | None, cap: Fraction, most: Fraction | int
) -> None:
    spec = builders.spec(overflow=Overflow(max_in_flight_per_replica=given))

    assert limits.in_flight(spec, cap, ready=2, gateways=1) == most
