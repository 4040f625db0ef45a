"""A remote that answers 429 gets less."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamlit_controller.core import throttle
from beamlit_controller.core.remote_health import Attempts


def counted(good: int, refused: int) -> Attempts:
    return Attempts((("answered", 200, good), ("answered", 429, refused)))


def most(previous: int = 100, percentage: int = 50, *, good: int = 0, refused: int = 0) -> int:
    return throttle.most(previous, percentage=percentage, before=Attempts(), after=counted(good, refused))


@pytest.mark.parametrize(
    ("good", "refused", "wanted"),
    [
        (75, 25, 37),  # a quarter refused: a quarter less of the 50 that were sent
        (40, 60, 25),  # at most by half at once
        (0, 10, 25),
        (95, 5, 100),  # one in twenty is nothing
    ],
)
def test_falls_in_proportion_to_what_was_refused(good: int, refused: int, wanted: int) -> None:
    assert most(good=good, refused=refused) == wanted


def test_falls_from_what_may_be_sent_if_that_is_less_than_what_was_decided() -> None:
    assert most(previous=20, percentage=80, refused=10) == 10


def test_never_falls_to_nothing() -> None:
    assert most(previous=1, percentage=50, refused=10) == 1


def test_rises_step_by_step_once_the_remote_takes_all_again() -> None:
    seen = [30]
    while seen[-1] < 100:
        seen.append(most(previous=seen[-1], good=10))

    assert seen[:4] == [30, 35, 40, 45]
    assert seen[-1] == 100


def test_stays_while_nothing_is_answered() -> None:
    assert most(previous=30) == 30


def test_looks_only_at_what_is_new() -> None:
    before, after = counted(0, 100), counted(50, 100)

    assert throttle.most(30, percentage=50, before=before, after=after) == 35


@given(st.integers(1, 100), st.integers(0, 100), st.integers(0, 10_000), st.integers(0, 10_000))
def test_is_always_a_percentage_that_leaves_something(previous: int, percentage: int, good: int, refused: int) -> None:
    assert 1 <= most(previous, percentage, good=good, refused=refused) <= 100
