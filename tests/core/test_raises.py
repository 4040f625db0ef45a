"""Raises of the cap that have no effect."""

from datetime import timedelta
from fractions import Fraction

import pytest

from beamlit_controller.core import raises
from beamlit_controller.core.adaptive_state import Learned, Mean
from beamlit_controller.core.climb import Climb
from beamlit_controller.core.in_flight_span import InFlightSpan
from builders import NOW

PERIOD = timedelta(seconds=5)


@pytest.mark.parametrize(("ratio", "served", "raised"), [("0.55", 40, False), ("0.55", 60, True), ("0.9", 40, True)])
def test_a_cap_is_raised_no_further_once_neither_the_metric_nor_the_completions_rise(
    ratio: str,
    served: int,
    raised: bool,  # noqa: FBT001 - a case of the table
) -> None:
    """The servers have fewer slots than the target allows for: the cap went up without end, and clients waited for minutes."""
    spans = tuple(
        InFlightSpan(NOW - PERIOD * (step + 1), NOW - PERIOD * step, Fraction(16), served, 30, 30, ready=2)
        for step in reversed(range(10))
    )
    climb = Climb(Fraction(8), Fraction(8), Fraction(55, 100), ended=400, rate=Fraction(4))
    known = Learned(
        cap=Fraction(16),
        height=Fraction(1),
        full_load=Mean(6, Fraction(ratio), Fraction(16)),
        changed_at=NOW - PERIOD * 12,
        recent=spans,
        climb=climb,
    )

    wanted, taught = raises.effective(Fraction(16), Fraction(20), known, NOW)

    assert (wanted > 16) is raised
    assert raised or wanted == 8
    assert taught.climb is not None
    assert taught.climb.flat is not raised


@pytest.mark.parametrize(("later", "ratio", "raised"), [(5, "0.55", False), (11, "0.55", True), (5, "0.8", True)])
def test_a_cap_that_had_no_effect_is_raised_again_later_or_once_the_metric_differs(
    later: int,
    ratio: str,
    raised: bool,  # noqa: FBT001 - a case of the table
) -> None:
    flat = Climb(Fraction(8), Fraction(8), Fraction(55, 100), ended=400, rate=Fraction(4), flat=True)
    known = Learned(
        cap=Fraction(8), height=Fraction(1), full_load=Mean(6, Fraction(ratio), Fraction(8)), changed_at=NOW, climb=flat
    )

    wanted, _ = raises.effective(Fraction(8), Fraction(12), known, NOW + timedelta(minutes=later))

    assert (wanted > 8) is raised
