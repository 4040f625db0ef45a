"""Adaptive mode in closed loop, request by request: near a cap that somebody knew, and over its target seldom.

These are courses that were the hardest. `ADAPTIVE_LOADS=all python -m benchmarks adaptive` plays all loads, and
`python -m benchmarks.adaptive_sweep` random ones.
"""

from dataclasses import replace

import pytest
from benchmarks.adaptive import ADAPTIVE, Product, following, learning
from benchmarks.adaptive_loads import LOADS, SHIFTS
from benchmarks.adaptive_plant import Metric, Plant, Result, Service

from benchmarks import adaptive_course, adaptive_sweep

pytestmark = pytest.mark.long

SMALL = Plant(LOADS["step"])


def played(plant: Plant) -> tuple[Result, Result]:
    """Return what Adaptive mode makes of servers, and what the cap does that is right at every moment."""
    return adaptive_course.run(plant, learning(plant)), known(replace(plant, delay=0))


def known(plant: Plant) -> Result:
    """Return what the right cap does: how late the metric is makes no difference to it."""
    return adaptive_course.run(plant, following(plant))


@pytest.mark.parametrize(
    ("load", "metric", "delay"),
    [
        ("day", Metric.WAITING, 1),
        ("bursts of 12 s", Metric.QUEUE, 15),
        ("bursts of 90 s", Metric.WAITING, 60),
        ("adversary", Metric.QUEUE, 60),
    ],
)
def test_at_constant_capacity_it_is_near_a_cap_that_somebody_knew(load: str, metric: Metric, delay: int) -> None:
    """A metric that is late does not show the first overload: the gateways see its backlog."""
    plant = replace(SMALL, load=LOADS[load], metric=metric, delay=delay)

    learned, right = played(plant)

    assert learned.far_over <= 0.05
    assert learned.wasted <= 0.03
    assert abs(learned.sent - right.sent) <= 0.03
    assert learned.wait(0.95) <= 2 * right.wait(0.95)


@pytest.mark.parametrize(
    ("load", "metric", "shift", "delay"),
    [
        ("step", Metric.QUEUE, "halved", 60),
        ("bursts of minutes", Metric.WAITING, "grown", 15),
        ("staircase", Metric.WAITING, "halved and back", 60),
    ],
)
def test_a_capacity_that_changes_is_learned_anew(load: str, metric: Metric, shift: str, delay: int) -> None:
    plant = replace(SMALL, load=LOADS[load], metric=metric, capacity=SHIFTS[shift], delay=delay)

    learned, right = played(plant)

    assert learned.far_over <= 0.10
    assert learned.wasted <= 0.05
    assert abs(learned.sent - right.sent) <= 0.03


@pytest.mark.parametrize(
    ("replicas", "slots", "service", "metric"),
    [
        (1, 1, Service.EXPONENTIAL, Metric.QUEUE),
        (8, 1, Service.TWO_KINDS, Metric.WAITING),
        (4, 16, Service.LONG_TAIL, Metric.QUEUE),
    ],
)
def test_it_learns_for_servers_of_any_size(replicas: int, slots: int, service: Service, metric: Metric) -> None:
    plant = replace(SMALL, first=replicas, slots=slots, mean=replicas * slots / 6, service=service, metric=metric)

    learned, right = played(plant)

    assert learned.far_over <= 0.05
    assert learned.wasted <= 0.03
    assert abs(learned.sent - right.sent) <= 0.03


@pytest.mark.parametrize("seed", [1, 2])
def test_a_queue_under_a_steady_overload_is_not_taken_for_a_duration(seed: int) -> None:
    """All samples are alike then, so the ratio seems to be proportional to anything, the time of requests included."""
    plant = Plant(LOADS["ramp"], metric=Metric.QUEUE, delay=60, seed=seed)

    learned = adaptive_course.run(plant, Product(ADAPTIVE))

    assert learned.far_over <= 0.02
    assert learned.wasted <= 0.01


def test_slots_in_use_teach_it_too() -> None:
    plant = replace(SMALL, load=LOADS["day"], metric=Metric.SLOTS, delay=60)

    learned, right = played(plant)

    assert learned.wasted <= 0.03
    assert abs(learned.sent - right.sent) <= 0.06


@pytest.mark.parametrize(("load", "slots", "delay"), [("step", 4, 15), ("staircase", 4, 60)])
def test_few_slots_teach_it_without_hunting(load: str, slots: int, delay: int) -> None:
    plant = replace(SMALL, load=LOADS[load], first=1, slots=slots, metric=Metric.SLOTS, delay=delay)

    learned = adaptive_course.run(plant, Product(ADAPTIVE))

    assert learned.far_over <= 0.05
    assert learned.wasted <= 0.03
    assert learned.changes <= 30


@pytest.mark.parametrize(
    ("number", "metric"),
    [
        (35, Metric.WAITING),
        (21, Metric.WAITING),
        (160, Metric.WAITING),
        (192, Metric.WAITING),
        (0, Metric.QUEUE),
        (95, Metric.QUEUE),
        (92, Metric.QUEUE),
        (54, Metric.QUEUE),
        (74, Metric.SLOTS),
        (56, Metric.SLOTS),
        (94, Metric.SLOTS),
        (28, Metric.SLOTS),
        (91, Metric.SLOTS),
        (59, Metric.SLOTS),
        (82, Metric.LATENCY),
        (5, Metric.FIRST_BYTE),
        (12, Metric.FIRST_BYTE),
        (85, Metric.FIRST_BYTE),
        (133, Metric.FIRST_BYTE),
        (81, Metric.FIRST_BYTE_QUERY),
        (52, Metric.FIRST_BYTE_QUERY),
        (38, Metric.FIRST_BYTE_NAMED),
        (51, Metric.FIRST_BYTE_NAMED),
        (69, Metric.FIRST_BYTE_NAMED),
        (0, Metric.FIRST_BYTE_NAMED),
        (53, Metric.FIRST_BYTE_NAMED),
        (82, Metric.FIRST_BYTE_NAMED),
        (16, Metric.FIRST_BYTE_P95),
        (60, Metric.FIRST_BYTE_P95),
    ],
)
def test_random_servers_that_were_once_learned_wrongly_are_within_the_bounds(number: int, metric: Metric) -> None:
    """Capacity found late, metrics taken for another kind, first caps far off, and estimates that a backlog or old floors overrode."""
    assert adaptive_sweep.play(adaptive_sweep.drawn(number, [metric])).worst <= 1


@pytest.mark.parametrize(
    ("number", "metric"),
    [
        (16, Metric.QUEUE),
        (97, Metric.QUEUE),
        (38, Metric.SLOTS),
        (46, Metric.SLOTS),
        (18, Metric.LATENCY),
        (1, Metric.LATENCY),
        (54, Metric.FIRST_BYTE_NAMED),
        (81, Metric.FIRST_BYTE_NAMED),
    ],
)
def test_a_query_whose_value_is_of_an_unknown_age_teaches_it_too(number: int, metric: Metric) -> None:
    """Each replica is scraped by itself, every 5 to 60 s, and the query is evaluated every 5 s."""
    assert adaptive_sweep.play(adaptive_sweep.scraped(adaptive_sweep.drawn(number, [metric]))).worst <= 1


def test_the_time_that_even_requests_take_teaches_it_too() -> None:
    plant = replace(SMALL, metric=Metric.LATENCY, service=Service.EVEN)

    learned, right = played(plant)

    assert learned.far_over <= 0.05
    assert learned.wasted <= 0.03
    assert abs(learned.sent - right.sent) <= 0.05


@pytest.mark.parametrize(("load", "period"), [("bursts of 12 s", 5), ("day", 2)])
def test_servers_without_metrics_stay_at_a_target_of_the_gateways(load: str, period: int) -> None:
    """The whole way: counters as Envoy has them, the metric, the verdict, the cap."""
    plant = replace(SMALL, load=LOADS[load], metric=Metric.FIRST_BYTE, delay=1, period=period)

    learned, right = played(plant)

    assert learned.far_over <= 0.05
    assert learned.wasted <= 0.03
    assert abs(learned.sent - right.sent) <= 0.03
    assert learned.wait(0.95) <= 2 * right.wait(0.95)


def test_servers_without_metrics_may_change_their_capacity() -> None:
    plant = replace(SMALL, capacity=SHIFTS["halved"], metric=Metric.FIRST_BYTE, delay=1)

    learned, right = played(plant)

    assert learned.far_over <= 0.10
    assert learned.wasted <= 0.05
    assert abs(learned.sent - right.sent) <= 0.03


def test_with_an_autoscaler_on_true_demand_replicas_come_and_the_remote_empties() -> None:
    plant = replace(SMALL, scaler=True, seconds=3000)

    learned = adaptive_course.run(plant, Product(ADAPTIVE))
    alone = adaptive_course.run(replace(plant, scaler=False), Product(ADAPTIVE))

    assert learned.replicas > plant.first
    assert learned.sent < alone.sent / 2


def test_a_part_of_the_requests_that_may_leave_bounds_what_leaves() -> None:
    plant = replace(SMALL, most=20)

    learned = adaptive_course.run(plant, Product(ADAPTIVE))

    assert learned.sent <= 0.21
