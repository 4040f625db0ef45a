"""Several metrics in Adaptive mode: each teaches a cap of its own, and the lowest is in force."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamlit_controller.core import adaptive_state, decision
from beamlit_controller.core.adaptive_state import NOTHING, Learned
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.metric_spec import ExternalMetric, SeriesSelector, Value
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.core.spec import Behavior, Mode, Overflow
from beamlit_controller.core.verdict import Assessed, Current, Judgement, Unread, Verdict
from builders import NOW, spec

RECORDED = pydantic.TypeAdapter(Decision)
PERIOD = timedelta(seconds=5)
QUEUE, CACHE = (ExternalMetric(SeriesSelector(name), Value(1000)) for name in ("queue", "cache"))
ASKED = spec(behavior=Behavior(mode=Mode.ADAPTIVE), metrics=(QUEUE, CACHE))
SLOPE = Fraction(1, 2)
"""The queue counts what waits, and its target is two."""

RATIOS = st.integers(0, 300).map(lambda hundredths: Fraction(hundredths, 100))
ROUNDS = st.lists(st.tuples(RATIOS, RATIOS, st.integers(0, 60), st.integers(0, 20)), min_size=1, max_size=40)
Seen = tuple[Fraction | float | None, Fraction | float | None, int, int]


def played(
    seen: Sequence[Seen], *, previous: Decision | None = None, since: int = 0, late: timedelta = timedelta(0)
) -> list[Decision]:
    """Decide round by round: the ratios of the queue and of the cache, what is in flight, and what overflowed."""
    decided: list[Decision] = []
    for step, (queue, cache, in_flight, overflowed) in enumerate(seen, since):
        at = NOW + PERIOD * step
        read = (_read(QUEUE, queue, at - late, SLOPE), _read(CACHE, cache, at - late, None))
        flow = Flow(at - PERIOD, at, in_flight, in_flight, 10, overflowed, overflowed)
        previous = decision.decide(ASKED, previous, _verdict(read), at, flow=flow)
        decided.append(previous)
    return decided


def _read(
    metric: ExternalMetric, ratio: Fraction | float | None, at: datetime, slope: Fraction | None
) -> Assessed | Unread:
    if ratio is None:
        return Unread(metric, Missing(Reason.NO_SERIES, "no value"))
    exact = Fraction(round(1000 * ratio), 1000)
    return Assessed(metric, Current(value=round(1000 * exact)), exact, at - PERIOD, at, slope)


def _verdict(read: tuple[Assessed | Unread, ...]) -> Verdict:
    ratios = [each.ratio for each in read if isinstance(each, Assessed)]
    worst = max(ratios, default=None)
    unread = len(ratios) < len(read)
    judgement = (
        Judgement.OVER if worst is not None and worst > 1 else Judgement.UNKNOWN if unread else Judgement.BETWEEN
    )
    return Verdict(judgement, worst, read)


def test_the_lower_of_two_caps_is_in_force_whichever_metric_is_worse() -> None:
    """Eight fit in the cache by its target; by the queue it would be ten."""
    filling: list[Seen] = [*[(0.0, 0.5, 4, 0), (0.0, 0.75, 6, 0)] * 8, *[(4.0, 1.25, 16, 0)] * 4]
    capped: list[Seen] = [(0.5, 1.0, 8, 9)] * 30

    decided = played([*filling, *capped])[-1]

    queue, cache = decided.by_metric
    assert queue.cap is not None
    assert cache.cap is not None
    assert decided.cap == min(queue.cap, cache.cap)
    assert 6 <= decided.cap <= 10


def test_one_sample_of_a_noisy_metric_does_not_lower_the_cap_beside_a_queue() -> None:
    filling: list[Seen] = [*[(0.0, 0.3, 4, 0), (0.0, 0.5, 6, 0)] * 8, (4.0, 0.9, 16, 0), (4.0, 0.9, 16, 0)]
    noisy: list[Seen] = [(0.8, ratio, 9, 9) for ratio in (0.6, 1.05, 0.7, 0.9) * 8]

    before, *after = played([*filling, *noisy])[len(filling) - 1 :]

    assert before.cap is not None
    assert all(each.cap is not None and each.cap >= before.cap * Fraction(8, 10) for each in after)


def test_nothing_that_one_metric_teaches_is_applied_to_another() -> None:
    filling: list[Seen] = [*[(0.0, 0.5, 8, 0)] * 4, *[(4.0, 0.6, 16, 0)] * 4]

    queue, cache = played(filling)[-1].by_metric

    assert queue.cap is not None
    assert cache.cap is None
    assert cache.full is None


def test_the_metric_whose_cap_is_in_force_is_named() -> None:
    """With several metrics, all of them below their targets, nobody could tell which one kept requests from local."""
    filling: list[Seen] = [*[(0.0, 0.5, 4, 0), (0.0, 0.75, 6, 0)] * 8, *[(4.0, 1.25, 16, 0)] * 4]

    decided = played([*filling, *[(0.5, 1.0, 8, 9)] * 30])[-1]

    queue, cache = decided.by_metric
    assert queue.cap != cache.cap
    name = "queue" if decided.cap == queue.cap else "cache"
    assert decided.message.endswith(f" requests in flight per ready replica, the cap of {name}")


def test_a_cap_that_is_not_of_one_metric_alone_is_not_ascribed_to_any() -> None:
    limited = replace(ASKED, overflow=Overflow(max_in_flight_per_replica=8))
    read = (_read(QUEUE, 0.5, NOW, SLOPE), _read(CACHE, 0.5, NOW, None))

    at_the_limit = decision.decide(limited, None, _verdict(read), NOW)
    alone = decision.decide(replace(limited, metrics=(QUEUE,)), None, _verdict(read[:1]), NOW)

    assert at_the_limit.message.endswith("; at most 8 requests in flight per ready replica")
    assert alone.message.endswith("; at most 8 requests in flight per ready replica")


@pytest.mark.parametrize("unread", [0, 1])
def test_a_metric_that_can_not_be_read_keeps_what_it_taught(unread: int) -> None:
    seen: list[Seen] = [*[(0.0, 0.5, 8, 0)] * 4, *[(4.0, 1.4, 16, 0)] * 8]
    before = played(seen)[-1]
    lost: list[Seen] = [(None, 1.4, 8, 9) if unread == 0 else (4.0, None, 8, 9)]

    after = played(lost, previous=before, since=len(seen))[-1]

    assert after.by_metric[unread] == before.by_metric[unread]
    assert after.cap is not None


def test_a_recalled_state_that_can_not_be_true_is_dropped() -> None:
    wild = Learned(cap=Fraction(-1))
    before = replace(decision.begin(NOW), cap=Fraction(8), by_metric=(wild, Learned(cap=Fraction(8))))

    after = played([(0.5, 0.5, 4, 0)], previous=before)[-1]

    assert [each.cap for each in after.by_metric] == [None, 8]


def test_what_each_metric_taught_is_gone_on_from() -> None:
    decided = played([*[(0.0, 0.5, 8, 0)] * 4, *[(4.0, 1.4, 16, 0)] * 8])[-1]
    by_metric = tuple(adaptive_state.lasting(each) for each in decided.by_metric)
    kept = replace(decided, learned=adaptive_state.lasting(decided.learned), by_metric=by_metric)

    recalled = RECORDED.validate_json(RECORDED.dump_json(kept))

    assert recalled == kept
    assert [each.cap for each in recalled.by_metric] == [each.cap for each in decided.by_metric]


def test_with_other_metrics_the_cap_in_force_stays_until_they_teach_another() -> None:
    before = played([*[(0.0, 0.5, 8, 0)] * 4, *[(4.0, 1.4, 16, 0)] * 8])[-1]

    after = played([(0.5, 0.9, 8, 9)], previous=replace(before, by_metric=(NOTHING,) * 3), since=12)[-1]

    assert after.cap == before.cap


@given(ROUNDS)
def test_the_cap_stays_within_its_bounds(seen: list[Seen]) -> None:
    for each in played(seen):
        caps = [learned.cap for learned in each.by_metric if learned.cap is not None]
        assert each.cap == (min(caps) if caps else None)
        assert each.cap is None or Fraction(1, 2) <= each.cap <= 100_000


@given(ROUNDS)
def test_with_metrics_that_are_late_the_cap_changes_once_in_the_time_that_they_are_late(seen: list[Seen]) -> None:
    """Only the first cap of each is set and corrected by samples that were under way, since the curve does not depend on the cap."""
    late = timedelta(seconds=15)

    decided = played(seen, late=late)

    changed = [step for step in range(1, len(decided)) if decided[step].cap != decided[step - 1].cap]
    begun = [step for step in changed if any(own.cap is None or own.rough for own in decided[step - 1].by_metric)]
    others = itertools.pairwise(step for step in changed if step > max(begun, default=0))
    assert all((after - before) * PERIOD >= late + PERIOD for before, after in others)
