"""The ladder of limits."""

import pytest

from beamlit_controller.envoy import caps


def test_steps_are_never_more_than_a_fourth_apart_above_four() -> None:
    pairs = [pair for pair in zip(caps.LADDER, caps.LADDER[1:], strict=False) if pair[0] >= 4]

    assert caps.LADDER[:9] == (1, 2, 3, 4, 5, 6, 7, 8, 10)
    assert all(low < high <= low * 1.25 for low, high in pairs)


@pytest.mark.parametrize(
    ("most", "step"), [(0, 1), (1, 1), (7, 7), (8, 8), (9, 8), (48, 48), (100, 96), (4095, 3584), (100_000, 4096)]
)
def test_takes_the_largest_step_that_is_not_above(most: int, step: int) -> None:
    assert caps.step(most) == step
