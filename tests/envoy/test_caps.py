"""The ladder of limits, and how a number between two steps is made of them."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamlit_controller.envoy import caps

MILLION = 1_000_000


def test_steps_are_never_more_than_a_fourth_apart_above_four() -> None:
    pairs = [pair for pair in zip(caps.LADDER, caps.LADDER[1:], strict=False) if pair[0] >= 4]

    assert caps.LADDER[:9] == (1, 2, 3, 4, 5, 6, 7, 8, 10)
    assert all(low < high <= low * 1.25 for low, high in pairs)
    assert all(high <= low * 1.125 for low, high in pairs if 64 <= low < 1024)


@pytest.mark.parametrize(
    ("most", "on"),
    [
        (None, {}),
        (Fraction(7), {7: MILLION}),
        (Fraction(17, 5), {3: 600_000, 4: MILLION}),
        (Fraction(9), {8: 500_000, 10: MILLION}),
        (Fraction(1, 4), {0: 750_000, 1: MILLION}),
        (Fraction(0), {0: MILLION}),
        (Fraction(100_000), {4096: MILLION}),
    ],
)
def test_a_number_between_two_steps_is_a_part_of_the_requests_judged_by_the_upper_one(
    most: Fraction | None, on: dict[int, int]
) -> None:
    assert _on(caps.numerators(most, first=0, last=MILLION)) == on


def test_a_share_leaves_first_and_the_cap_judges_the_others() -> None:
    assert _on(caps.numerators(Fraction(7, 2), first=500_000, last=MILLION)) == {0: 500_000, 3: 750_000, 4: MILLION}


def test_a_bound_leaves_the_requests_above_it_unjudged() -> None:
    assert _on(caps.numerators(Fraction(7, 2), first=0, last=200_000)) == {3: 100_000, 4: 200_000}


LIMITS = st.fractions(min_value=0, max_value=5000)


@given(LIMITS, st.integers(0, 100), st.integers(0, 100))
def test_the_mean_limit_of_the_judged_requests_is_the_number_and_none_is_judged_by_a_step_further_away(
    most: Fraction, one: int, other: int
) -> None:
    first, last = sorted((one * caps.PERCENT, other * caps.PERCENT))

    judged = _judged(caps.numerators(most, first=first, last=last), first=first)

    assert sum(judged.values()) == last - first
    wanted = min(most, caps.LADDER[-1])
    total = sum(step * part for step, part in judged.items())
    assert abs(total - wanted * (last - first)) <= 1 + max(judged, default=0)  # numerators are whole
    assert all(step <= max(Fraction(1), wanted * Fraction(5, 4), wanted + 1) for step in judged)


@given(LIMITS, LIMITS)
def test_a_higher_limit_is_nowhere_a_lower_one(one: Fraction, other: Fraction) -> None:
    low, high = (caps.numerators(each, first=0, last=MILLION) for each in sorted((one, other)))

    assert all(_step_of(low, draw) <= _step_of(high, draw) for draw in range(0, MILLION, 9_973))


def _on(numerators: dict[int, int]) -> dict[int, int]:
    return {number: part for number, part in numerators.items() if part}


def _judged(numerators: dict[int, int], *, first: int) -> dict[int, int]:
    """Return how many of a million draws each step judges, as Envoy finds the route: the first that a draw is below."""
    judged, reached = {}, first
    for number, part in sorted(numerators.items()):
        if part > reached:
            judged[number] = part - reached
            reached = part
    return judged


def _step_of(numerators: dict[int, int], draw: int) -> float:
    return next((number for number, part in sorted(numerators.items()) if draw < part), float("inf"))
