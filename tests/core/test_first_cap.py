"""The first cap, from a sample that shows the metric over its target."""

from datetime import timedelta
from fractions import Fraction

import pytest

from beamlit_controller.core import backlog, first_cap
from beamlit_controller.core.adaptive_state import Learned, Point
from beamlit_controller.core.in_flight_span import InFlightSpan
from beamlit_controller.core.load_curve import Observed
from builders import NOW

SECOND = timedelta(seconds=1)
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


def test_a_cap_that_a_backlog_lowered_is_not_raised_for_lack_of_completions() -> None:
    """Half of the capacity is gone: fewer requests end than before, and that is no sign of free slots."""
    spans = tuple(
        InFlightSpan(NOW + 5 * step * SECOND, NOW + 5 * (step + 1) * SECOND, Fraction(level), 40, away, away)
        for step, (level, away) in enumerate([(4, 0)] * 3 + [(30, 10), (70, 10), (110, 10), (150, 10)])
    )
    known = Learned(cap=Fraction(200), changed_at=NOW, recent=spans)

    lowered = first_cap.guessed(known, NOW + 40 * SECOND, evidence=backlog.LOWER)
    first = first_cap.guessed(Learned(recent=spans), NOW + 40 * SECOND, evidence=backlog.LOWER)

    assert lowered.cap is not None
    assert lowered.cap < 200
    assert (lowered.rate, first.rate) == (None, 8)
