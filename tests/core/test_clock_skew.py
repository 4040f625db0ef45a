"""A decision, seen from a clock that was set."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamlit_controller.core import clock_skew, cycle
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.spec import Behavior, Mode
from builders import NOW, missing, pod_samples, sample, signals, spec

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


AHEAD = [timedelta(seconds=30), timedelta(hours=1), timedelta(days=300)]


@pytest.mark.parametrize("mode", [Mode.PROPORTIONAL, Mode.ADAPTIVE])
@pytest.mark.parametrize("ahead", AHEAD, ids=str)
def test_one_sample_from_the_future_does_not_end_the_judging(mode: Mode, ahead: timedelta) -> None:
    """Read before the clock was set back, or dated by a server whose clock is wrong; it even looked as if the metric fell."""
    plain, odd = overloaded(mode, timedelta(0)), overloaded(mode, ahead)

    assert odd.percentage == plain.percentage >= 90
    assert (odd.cap is None) == (plain.cap is None) == (mode is Mode.PROPORTIONAL)
    assert odd.cap == plain.cap or (odd.cap is not None and odd.cap < 40)


def overloaded(mode: Mode, ahead: timedelta) -> Decision:
    """Return what is decided after two minutes at four times the target; the third sample is that much ahead."""
    previous = None
    for step, value in enumerate([5, 14, 12, *[40] * 24]):
        now = NOW + PERIOD * step
        dated = sample(value, at=now + ahead if step == 2 else now, window=timedelta(0))
        previous = cycle.run(
            spec(behavior=Behavior(mode=mode)), signals(dated, at=now, flow=flow(now)), previous=previous, now=now
        ).decision
    assert previous is not None
    return previous


def flow(until: datetime) -> Flow:
    return Flow(until - PERIOD, until, in_flight=120, most_in_flight=120, served=20, sent=0, overflowed=0)


@given(st.timedeltas(min_value=timedelta(days=-300), max_value=timedelta(days=300)))
def test_signals_stay_as_they_are_unless_they_are_further_ahead_than_clocks_may_differ(ahead: timedelta) -> None:
    read = signals(sample(at=NOW + ahead), pod_samples(5, 6, at=NOW + ahead), missing(), flow=flow(NOW + ahead))
    latest = NOW + clock_skew.AHEAD

    bounded = clock_skew.bounded(read, NOW)

    if NOW + ahead <= latest:
        assert bounded is read
    else:
        assert bounded.readings == (sample(at=latest), pod_samples(5, 6, at=latest), missing())
        assert bounded.flow == replace(flow(latest), since=min(NOW + ahead - PERIOD, latest))


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
