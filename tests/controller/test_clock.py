"""The clock of decisions, with a wall clock that is set while it runs, in virtual time."""

import asyncio
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamlit_controller.controller.clock import PARTED, AnchoredClock
from builders import NOW


class Wall:
    """A wall clock, and the loop's, both moved by hand."""

    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> datetime:
        return self.time


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("passed", "wall", "told"),
    [
        (10, 10, 10),
        (10, 10.9, 10),  # slewed: it runs on evenly
        (10, 9.1, 10),
        (10, 9, 10),
        (10, 3610, 3610),  # the machine slept, or the clock was late
        (10, -3590, -3590),  # the clock was ahead
        (10, 8.9, 8.9),
        (3600, 0, 0),
    ],
)
async def test_it_runs_evenly_and_takes_the_wall_clocks_word_once_they_part(
    passed: float, wall: float, told: float
) -> None:
    its_wall = Wall()
    clock = AnchoredClock(its_wall)

    await asyncio.sleep(passed)
    its_wall.time = NOW + timedelta(seconds=wall)

    assert clock.now() == NOW + timedelta(seconds=told)


@pytest.mark.looptime
async def test_after_a_step_it_runs_evenly_again() -> None:
    wall = Wall()
    clock = AnchoredClock(wall)
    wall.time = NOW - timedelta(hours=1)
    stepped = clock.now()

    await asyncio.sleep(5)
    wall.time += timedelta(seconds=5.5)

    assert clock.now() - stepped == timedelta(seconds=5)


@pytest.mark.looptime
async def test_its_origin_is_that_of_the_loops_clock_and_moves_only_by_steps() -> None:
    wall = Wall()
    clock = AnchoredClock(wall)
    wall.time = NOW + timedelta(seconds=5)
    await asyncio.sleep(5)
    before = clock.origin

    slewed = clock.now(), clock.origin
    wall.time += timedelta(hours=8)
    stepped = clock.now(), clock.origin

    assert slewed == (NOW + timedelta(seconds=5), before)
    assert stepped == (slewed[0] + timedelta(hours=8), before + timedelta(hours=8))


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(-1e6, 1e6) | st.floats(-1, 1)), max_size=20))
def test_it_is_never_further_from_the_wall_clock_than_it_may_be(steps: list[tuple[float, float]]) -> None:
    """Whatever happens to the two, it is near the wall clock, and near the even one unless they parted."""

    async def play() -> None:
        wall = Wall()
        clock = AnchoredClock(wall)
        before = clock.now()
        for passed, error in steps:
            moved_to.offset += passed
            wall.time += timedelta(seconds=passed + error)
            now = clock.now()
            assert abs(now - wall.time) <= PARTED
            assert now == wall.time or abs(now - before - timedelta(seconds=passed)) < timedelta(milliseconds=1)
            before = now

    moved_to = _Loop()
    try:
        moved_to.run_until_complete(play())
    finally:
        moved_to.close()


class _Loop(asyncio.SelectorEventLoop):
    """A loop whose clock is moved by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = 0.0

    def time(self) -> float:
        return self.offset
