"""Metrics that have a value at any load: the cap follows their mean, not single samples."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

import pytest

from beamlit_controller.core import decision, gradual_metric, metric_kind
from beamlit_controller.core.adaptive_state import Learned, Mean, Point
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.load_curve import Observed
from beamlit_controller.core.spec import Behavior, Mode
from builders import NOW, spec, verdict

PERIOD = timedelta(seconds=5)
CALM = [(ratio, in_flight, 0) for ratio, in_flight in ((0.9, 14), *[(0.3, 5), (0.5, 8), (0.4, 6)] * 8)]
"""Slots in use: half as many in flight are half of the ratio."""


def played(
    rounds: Iterable[tuple[float, int, int]], *, previous: Decision | None = None, since: int = 0
) -> list[Decision]:
    """Decide round by round: a ratio that covers the last five seconds, what two replicas have in flight then, and what overflowed."""
    asked = spec(behavior=Behavior(percentage=80, mode=Mode.ADAPTIVE))
    decisions: list[Decision] = []
    for step, (ratio, in_flight, overflowed) in enumerate(rounds, since):
        at = NOW + PERIOD * step
        flow = Flow(at - PERIOD, at, in_flight, in_flight, 10, overflowed, overflowed)
        seen = verdict(ratio, at=at, age=timedelta(0), window=PERIOD)
        previous = decision.decide(asked, previous, seen, at, flow=flow, ready=2)
        decisions.append(previous)
    return decisions


def cap(decided: Decision) -> Fraction:
    assert decided.cap is not None
    return decided.cap


def test_a_metric_with_a_value_at_any_load_is_told_from_a_queue() -> None:
    queue = [(ratio, in_flight, 0) for ratio, in_flight in ((0.9, 18), *[(0.0, 5), (0.0, 8)] * 8)]

    slots, waiting = played(CALM)[-1], played(queue)[-1]

    assert metric_kind.is_gradual(slots.learned)
    assert not metric_kind.is_gradual(waiting.learned)


def test_one_sample_of_a_noisy_metric_gives_no_cap() -> None:
    noisy = [(ratio, 10, 0) for ratio in (0.9, 0.4, 0.8, 0.3) * 4]

    decided = played([*CALM, *noisy, (1.1, 10, 0), (0.6, 10, 0)])

    assert {each.cap for each in decided} == {None}


def test_samples_that_outweigh_the_noise_give_the_first_cap_near_what_was_well() -> None:
    decided = played([*CALM, *[(1.1, 20, 0)] * 6])[-1]

    assert 6 <= cap(decided) <= 10


def test_a_cap_stays_while_its_metric_is_at_its_target_in_the_mean() -> None:
    begun = [*CALM, *[(1.1, 20, 0)] * 6]
    about = [(ratio, 15, 9) for ratio in (0.9, 1.05, 0.85, 1.1) * 20]

    decided = played([*begun, *about])[len(begun) + 12 :]

    assert len({each.cap for each in decided}) == 1


def test_a_mean_above_the_target_lowers_the_cap_and_one_below_it_raises_it() -> None:
    begun = [*CALM, *[(1.1, 20, 0)] * 6]

    first = cap(played(begun)[-1])
    level = round(2 * first)
    lowered = cap(played([*begun, *[(1.3, level, 9)] * 12])[-1])
    raised = cap(played([*begun, *[(0.6, level, 9)] * 12])[-1])

    assert lowered < first < raised
    assert raised <= 2 * first


def test_a_single_request_that_takes_very_long_does_not_halve_a_cap() -> None:
    times = [(ratio, in_flight, 0) for ratio, in_flight in ((0.9, 14), *[(0.4, 6), (0.6, 8), (0.5, 7)] * 8)]
    begun = played([*times, *[(1.4, 20, 0)] * 6])
    rounds = [*times, *[(1.4, 20, 0)] * 6, *[(0.9, 14, 5)] * 12]

    decided = played([*rounds, (9.0, 14, 5), *[(0.9, 14, 5)] * 3])

    assert cap(decided[-1]) >= cap(played(rounds)[-1]) * Fraction(8, 10)
    assert cap(begun[-1]) > 0


def test_samples_at_the_maximum_of_a_metric_lower_a_cap_that_is_not_reached() -> None:
    """Each says the same, 111 %: the noise at lower loads is no reason to doubt it."""
    begun = [*CALM, *[(1.11, 20, 0)] * 6]
    noisy = [(ratio, 10, 0) for ratio in (0.9, 0.4, 0.8, 0.3) * 6]
    before = played([*begun, *noisy])[-1]

    after = played([*begun, *noisy, *[(1.11, 12, 0)] * 8])[-1]

    assert cap(after) < cap(before)


LEVELS = (0.3, 0.5, 0.7, 0.9, 0.6, 0.4)


def level(ratio: float, overflowed: int = 0, *, fit: int = 20) -> tuple[float, int, int]:
    """Return a round of a metric that is proportional to the number in flight, and at its target with so many."""
    return ratio, round(ratio * fit), overflowed


def test_a_metric_proportional_to_the_number_in_flight_tells_how_many_fit() -> None:
    """The cap was learned too high; below the target the metric shows that ten fit per replica."""
    calm = played([level(ratio) for ratio in LEVELS * 3 for _ in range(6)])
    before = replace(calm[-1], cap=Fraction(16), percentage=80)
    before = replace(before, learned=replace(before.learned, cap=Fraction(16), changed_at=NOW))

    decided = played([(1.02, 31, 9)] * 12, previous=before, since=len(calm))

    assert decided[-1].learned.by_level.off <= Fraction(1, 10)
    assert cap(decided[-1]) <= 12


def test_servers_that_change_are_noticed_however_long_they_were_as_before() -> None:
    """The mean of many samples would hide the added capacity for minutes."""
    begun = [*CALM, *[(1.1, 20, 0)] * 6]
    before = played([*begun, *[(0.97, 15, 9)] * 60])

    after = played([(0.6, 15, 9)] * 8, previous=before[-1], since=len(before))

    assert cap(after[-1]) > cap(before[-1])


def test_a_queue_under_a_cap_far_too_high_stays_a_queue() -> None:
    """What waits at 60 to 85 % of that cap is no value at any load: only eight fit, and the slope is known."""
    queue = [(0.0, 10, 0), (0.0, 14, 0)] * 4
    before = played(queue)[-1]
    wrong = replace(before.learned, cap=Fraction(16), full=Fraction(8), slope=Fraction(1, 2))
    before = replace(before, cap=Fraction(16), learned=wrong, percentage=80)

    decided = played([(0.9, 20, 0), (0.8, 19, 0)] * 20, previous=before, since=len(queue))

    assert not any(metric_kind.is_gradual(each.learned) for each in decided)


def test_a_ratio_far_over_the_target_shows_that_a_metric_is_steep_even_if_it_is_clamped_for_means() -> None:
    """Some requests wait below the target as well; a cap that was far too high shows how steep the curve is."""
    busy = [(0.3, 30, 0), (0.9, 31, 0), (0.4, 29, 0)] * 4
    before = played(busy)[-1]
    wrong = replace(before.learned, cap=Fraction(22), changed_at=NOW)
    before = replace(before, cap=Fraction(22), learned=wrong, percentage=80)

    decided = played([(12.0, 44, 9)] * 2, previous=before, since=len(busy))

    assert decided[-1].learned.height == 0
    assert not metric_kind.is_gradual(decided[-1].learned)


@pytest.mark.parametrize(("height", "raised"), [(Fraction(1), True), (Fraction(3, 2), False)])
def test_slots_in_use_are_kept_at_their_target_and_a_duration_just_below(height: Fraction, *, raised: bool) -> None:
    """Near the maximum a few percent less in use are many requests less in flight; a duration may rise far above its target."""
    under_cap = Mean(24, Fraction(95, 100), Fraction(10))
    seen = Observed(Point(Fraction(10), Fraction(95, 100)), (Fraction(10),), steady=True, bound=True)

    wanted, _ = gradual_metric.wanted(Fraction(10), Learned(height=height, full_load=under_cap), seen)

    assert (wanted > 10) is raised
