"""Samples that still describe requests that waited in a backlog before the cap changed."""

from datetime import timedelta
from fractions import Fraction

import pytest

from beamlit_controller.core import load_curve
from beamlit_controller.core.adaptive_state import Learned, RatioSample
from beamlit_controller.core.in_flight_span import InFlightSpan
from builders import NOW

SECOND = timedelta(seconds=1)


def drained(*levels: int, served: int = 10, cap: int = 8, ready: int = 1) -> Learned:
    """Return what is known one second per level after a cap was set: the numbers in flight per replica since then."""
    spans = tuple(
        InFlightSpan(NOW + SECOND * (step - 1), NOW + SECOND * step, Fraction(level), served, 0, 0, ready)
        for step, level in enumerate(levels)
    )
    return Learned(cap=Fraction(cap), changed_at=NOW, recent=spans)


def sample(since: int) -> RatioSample:
    """Return a sample that begins so many seconds after the cap was set."""
    return RatioSample(Fraction(3), NOW + SECOND * since, NOW + SECOND * (since + 5))


@pytest.mark.parametrize(("since", "shows"), [(1, True), (4, True), (8, True), (9, False)])
def test_a_sample_shows_the_backlog_until_some_seconds_after_the_last_request_of_it_ended(
    since: int, *, shows: bool
) -> None:
    """Forty requests that are in flight when the cap is set have ended four seconds later, at ten per second."""
    learned = drained(40, 30, 20, 10, 8, 8, 8, 8)

    assert load_curve.shows_backlog(learned, sample(since)) is shows


def test_what_all_replicas_finish_counts() -> None:
    learned = drained(40, 35, 30, 25, 20, 15, 10, 8, 8, ready=2)

    assert load_curve.shows_backlog(learned, sample(12))
    assert not load_curve.shows_backlog(learned, sample(13))


def test_while_the_backlog_has_not_ended_each_sample_shows_it() -> None:
    assert load_curve.shows_backlog(drained(40, 38, 36, served=2), sample(60))


@pytest.mark.parametrize(
    "learned",
    [
        drained(17, 16, 12, 8),
        Learned(cap=Fraction(8), changed_at=NOW),
        Learned(),
        Learned(cap=Fraction(8), changed_at=NOW, recent=drained(40, 40).recent[1:]),
    ],
    ids=["hardly more than the cap", "not counted", "nothing learned", "no longer counted"],
)
def test_without_a_backlog_no_sample_shows_one(learned: Learned) -> None:
    assert not load_curve.shows_backlog(learned, sample(0))
