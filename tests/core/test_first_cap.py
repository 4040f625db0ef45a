"""The first cap, from a sample that shows the metric over its target."""

from fractions import Fraction

import pytest

from beamlit_controller.core import first_cap
from beamlit_controller.core.adaptive_state import Point
from beamlit_controller.core.load_curve import Observed

CALM = Point(Fraction(4), Fraction(1, 2))


def seen(*levels: int) -> Observed:
    """Return a long sample, with the numbers in flight meanwhile."""
    mean = Fraction(sum(levels), len(levels))
    return Observed(Point(mean, Fraction(11, 10)), tuple(map(Fraction, levels)), steady=True, bound=False)


def test_the_mean_counts_if_the_number_in_flight_hardly_varied() -> None:
    assert 9 <= first_cap.estimated(CALM, seen(9, 10, 11)) <= 10


@pytest.mark.parametrize("calm", [4, 2, 0])
def test_a_load_that_came_during_the_sample_counts_as_the_cause(calm: int) -> None:
    """A query's value may be of the last moment, and the mean is still that of the calm time before."""
    levels = (*(calm,) * 16, 30, 60)

    assert first_cap.estimated(CALM, seen(*levels)) >= 8
