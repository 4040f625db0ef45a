"""Metrics proportional to the duration of requests: the gateways' counts tell the cap, however late the metric is."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest

from beamlit_controller.core import adaptive_state, clock_skew, decision, duration_metric
from beamlit_controller.core.adaptive_state import Proportion
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.in_flight_span import InFlightSpan
from beamlit_controller.core.metric_kind import NONE
from beamlit_controller.core.metric_spec import GatewayFigure, GatewayMetric, Value
from beamlit_controller.core.spec import Behavior, Mode
from builders import NOW, spec, verdict

PERIOD = timedelta(seconds=5)
SLOTS, TAKES = 8, 2
TARGET = 4
"""The servers have eight slots, requests take two seconds, and the target is four: half of sixteen in flight wait."""


def steady(in_flight: int, served: int, *, count: int = 12, overflowed: int = 0) -> tuple[InFlightSpan, ...]:
    return tuple(
        InFlightSpan(NOW + PERIOD * at, NOW + PERIOD * (at + 1), Fraction(in_flight), served, 0, overflowed)
        for at in range(count)
    )


def rounds(levels: Iterable[int], *, slots: int = SLOTS, late: int = 0) -> list[tuple[int, int, Fraction]]:
    """Return what is in flight, what ended in five seconds, and the ratio, of which the last `late` rounds are not seen yet."""
    seen = []
    for level in levels:
        ended = min(level, slots) * 5 // TAKES
        seen.append((level, ended, Fraction(max(level, slots) * TAKES, slots * TARGET)))
    return [(level, ended, seen[max(0, at - late)][2]) for at, (level, ended, _) in enumerate(seen)]


def played(
    seen: list[tuple[int, int, Fraction]], *, previous: Decision | None = None, since: int = 0, late: int = 0
) -> list[Decision]:
    asked = spec(behavior=Behavior(mode=Mode.ADAPTIVE))
    decided: list[Decision] = []
    for step, (in_flight, ended, ratio) in enumerate(seen, since):
        at = NOW + PERIOD * step
        overflowed = 20 if previous is not None and previous.cap is not None and in_flight >= previous.cap - 1 else 0
        flow = Flow(at - PERIOD, at, in_flight, in_flight, ended, overflowed, overflowed)
        read = verdict(ratio, at=at, age=PERIOD * late, window=PERIOD)
        previous = decision.decide(asked, previous, read, at, flow=flow)
        decided.append(previous)
    return decided


RISING = [*[4] * 12, *[8] * 4, *[10, 12, 14, 16, 18, 20, 22, 24], *[16] * 6]


def test_the_mean_duration_follows_from_the_counts_of_a_steady_load() -> None:
    spans = steady(16, 20)

    assert duration_metric.duration(spans, NOW + PERIOD * 9, NOW + PERIOD * 10) == 4


def test_requests_that_came_before_a_time_do_not_count() -> None:
    """Sixteen are in flight when only those that come later count: they end four seconds later."""
    spans = steady(16, 20)
    since, until = NOW + PERIOD * 6, NOW + PERIOD * 7

    assert duration_metric.duration(spans, since, until, came_since=since) is None
    assert duration_metric.duration(spans, since, until + PERIOD, came_since=since) == 4


@pytest.mark.parametrize("spans", [(), steady(16, 0), steady(16, 20, count=1)])
def test_without_enough_requests_no_duration_is_known(spans: tuple[InFlightSpan, ...]) -> None:
    until = spans[-1].until if spans else NOW

    assert duration_metric.duration(spans, until - PERIOD, until) is None


@pytest.mark.parametrize(("ratio", "falls"), [("0.9", False), ("1.1", True)])
def test_a_cap_falls_only_over_the_target(ratio: str, falls: bool) -> None:  # noqa: FBT001 - a case of the table
    """While a backlog drains or few requests come, fewer end than the servers could finish."""
    before = played(rounds(RISING))[-1].learned
    assert before.cap is not None
    slow = replace(before, changed_at=NOW, recent=steady(16, 10, overflowed=20))

    wanted = duration_metric.wanted(slow, before.cap, Fraction(ratio))

    assert wanted is not None
    assert (wanted < before.cap) is falls


def test_spans_that_a_clock_that_was_set_made_empty_end_no_round() -> None:
    """Recorded times in the future become the present one, all the same."""
    before = played(rounds(RISING))[-1]
    assert before.learned.is_duration
    early = NOW + PERIOD
    clamped = clock_skew.clamped(before, early)

    assert duration_metric.duration(clamped.learned.recent, early - PERIOD, early) is None
    assert duration_metric.wanted(clamped.learned, Fraction(1), Fraction(1)) is None
    assert duration_metric.first(clamped.learned) is None


def test_a_proportion_tells_its_value_at_the_target_and_how_far_samples_are_from_it() -> None:
    exact = wrong = Proportion()
    for ratio in (Fraction(1, 2), Fraction(1), Fraction(2)) * 8:
        exact = exact.with_(4 * ratio, ratio, least=NONE)
        wrong = wrong.with_(Fraction(4), ratio, least=NONE)

    assert (exact.value, exact.off) == (4, 0)
    assert wrong.off > Fraction(3, 10)
    assert Proportion().with_(Fraction(4), Fraction(0), least=NONE).off == 1


def test_the_cap_is_what_the_servers_finish_in_the_duration_of_the_target() -> None:
    decided = played(rounds(RISING))[-1]

    assert decided.learned.is_duration
    assert decided.learned.by_duration.value == pytest.approx(TARGET, rel=0.1)
    assert decided.cap is not None
    assert 13 <= decided.cap <= 16


@pytest.mark.parametrize("late", [0, 4])
def test_a_change_of_the_capacity_is_followed_in_few_steps_although_the_metric_is_late(late: int) -> None:
    """With half of the slots as many in flight take twice as long."""
    before = played(rounds(RISING, late=late), late=late)[-1]
    cap = before.cap
    assert cap is not None

    halved = rounds([int(cap)] * 16, slots=SLOTS // 2, late=late)
    decided = played(halved, previous=before, since=len(RISING), late=late)

    caps = {each.cap for each in decided}
    assert decided[-1].cap is not None
    assert 6 <= decided[-1].cap <= 9
    assert len(caps) <= 3


def test_a_metric_of_slots_in_use_is_not_taken_for_a_duration() -> None:
    seen = [
        (level, ended, min(Fraction(level, SLOTS), Fraction(1)) / Fraction(9, 10)) for level, ended, _ in rounds(RISING)
    ]

    assert not any(each.learned.is_duration for each in played(seen))


def test_nor_is_a_queue_that_is_empty_below_the_capacity() -> None:
    seen = [(level, ended, Fraction(max(0, level - SLOTS), 4)) for level, ended, _ in rounds(RISING)]

    assert not any(each.learned.is_duration for each in played(seen))


def test_the_time_to_the_first_byte_that_the_gateways_measure_is_no_duration() -> None:
    metric = GatewayMetric(GatewayFigure.FIRST_BYTE, Value(1000))
    asked, previous = spec(behavior=Behavior(mode=Mode.ADAPTIVE), metrics=(metric,)), None
    for step, (in_flight, ended, ratio) in enumerate(rounds(RISING)):
        at = NOW + PERIOD * step
        read = verdict(ratio, at=at, age=timedelta(0), window=PERIOD)
        (measured,) = read.metrics
        read = replace(read, metrics=(replace(measured, metric=metric),))
        flow = Flow(at - PERIOD, at, in_flight, in_flight, ended, 0, 0)
        previous = decision.decide(asked, previous, read, at, flow=flow)

    assert previous is not None
    assert previous.learned.by_duration == Proportion()


def test_what_changes_with_every_sample_is_not_recorded() -> None:
    lasting = [adaptive_state.lasting(each.learned) for each in played(rounds([4, 5] * 12))]

    assert all(each == lasting[-1] for each in lasting)


def restarted(decided: Decision, **changes: Any) -> Decision:  # noqa: ANN401 - whatever the fields of Learned take
    return replace(decided, learned=replace(adaptive_state.lasting(decided.learned), **changes))


def test_that_a_metric_is_a_duration_outlives_a_restart() -> None:
    """A calm load can not show it again."""
    before = restarted(played(rounds(RISING))[-1])

    after = played(rounds([3, 4] * 20), previous=before, since=len(RISING))

    assert before.learned.by_duration == Proportion()
    assert all(each.learned.is_duration for each in after)


def test_the_cap_follows_a_duration_again_once_enough_samples_came_after_a_restart() -> None:
    before = restarted(played(rounds(RISING))[-1])
    assert before.cap is not None

    halved = rounds([int(before.cap)] * 16, slots=SLOTS // 2)
    decided = played(halved, previous=before, since=len(RISING))[-1]

    assert decided.learned.is_duration
    assert decided.cap is not None
    assert 6 <= decided.cap <= 9


def test_a_metric_that_is_no_duration_any_more_after_a_restart_is_not_taken_for_one_for_long() -> None:
    before = restarted(played(rounds(RISING))[-1])
    levels = [2, 4, 6, 8] * 6
    slots = [(level, ended, Fraction(level, SLOTS)) for level, ended, _ in rounds(levels)]
    queue = [(level, ended, Fraction(max(0, level - 6), 4)) for level, ended, _ in rounds(levels)]

    for seen in (slots, queue):
        assert not played(seen, previous=before, since=len(RISING))[-1].learned.is_duration


@pytest.mark.parametrize("recorded", [Proportion(), Proportion(24), Proportion(1, Fraction(1, 1000))])
def test_a_recorded_duration_without_a_proportion_does_not_move_the_cap(recorded: Proportion) -> None:
    before = restarted(played(rounds(RISING))[-1], by_duration=recorded)

    after = played(rounds([15] * 3), previous=before, since=len(RISING))

    assert {each.cap for each in after} == {before.cap}
