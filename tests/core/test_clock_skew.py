"""A decision, seen from a clock that was set."""

from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from beamlit_controller.core import clock_skew, cycle
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.decision import Decision
from builders import NOW, signals, spec

PERIOD = timedelta(seconds=5)
VALUES = st.lists(st.sampled_from([1, 8, 20, 40]), min_size=1, max_size=30)


def played(values: list[int], *, since: datetime = NOW, previous: Decision | None = None) -> list[Cycle]:
    cycles = []
    for step, value in enumerate(values):
        now = since + PERIOD * step
        cycles.append(cycle.run(spec(), signals(value=value, at=now), previous=previous, now=now))
        previous = cycles[-1].decision
    return cycles


@given(VALUES, VALUES, st.timedeltas(min_value=timedelta(days=-300), max_value=timedelta(days=300)))
def test_what_is_decided_is_the_same_by_any_clock(before: list[int], after: list[int], step: timedelta) -> None:
    last = played(before)[-1].decision
    then = NOW + PERIOD * len(before)

    plainly = played(after, since=then, previous=last)
    stepped = played(after, since=then + step, previous=clock_skew.shifted(last, step))

    assert [each.decision.percentage for each in stepped] == [each.decision.percentage for each in plainly]
    assert [each.decision.reason for each in stepped] == [each.decision.reason for each in plainly]


@given(VALUES, st.timedeltas(min_value=timedelta(days=-300), max_value=timedelta(days=300)))
def test_moved_and_moved_back_it_is_the_same(values: list[int], step: timedelta) -> None:
    last = played(values)[-1].decision

    assert clock_skew.shifted(clock_skew.shifted(last, step), -step) == last


def test_the_history_keeps_its_times() -> None:
    last = played([20, 20])[-1].decision

    moved = clock_skew.shifted(last, timedelta(hours=1))

    assert moved.history == last.history
    assert moved.since == last.since + timedelta(hours=1)


@given(VALUES, st.timedeltas(min_value=timedelta(0), max_value=timedelta(hours=1)))
def test_nothing_is_later_than_now_and_what_is_not_stays(values: list[int], back: timedelta) -> None:
    last = played(values)[-1].decision
    now = last.since - back

    known = clock_skew.clamped(last, now)

    assert known.since == now
    assert max(share.at for share in known.shares) <= now
    assert all(change.at <= now for change in known.history)
    assert clock_skew.clamped(last, NOW + timedelta(days=1)) == last
    assert replace(known, since=last.since).percentage == last.percentage
