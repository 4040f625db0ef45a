"""Adaptive mode in closed loop, request by request: near a cap that somebody knew, and over its target seldom."""

import functools
import itertools
from dataclasses import replace

import pytest
from benchmarks.adaptive import ADAPTIVE, Product, Unmetered, following
from benchmarks.adaptive_loads import LOADS, SHIFTS
from benchmarks.adaptive_plant import Metric, Plant, Result, Service

from benchmarks import adaptive_plant

pytestmark = pytest.mark.long

SMALL = Plant(LOADS["step"])


def played(plant: Plant) -> tuple[Result, Result]:
    """Give what Adaptive mode makes of servers, and what the cap does that is right at every moment."""
    return adaptive_plant.run(plant, Product(ADAPTIVE)), known(replace(plant, delay=0))


@functools.cache
def known(plant: Plant) -> Result:
    """Give what the right cap does: how late the metric is makes no difference to it."""
    return adaptive_plant.run(plant, following(plant))


@pytest.mark.parametrize(("load", "delay"), list(itertools.product(LOADS, (1, 15, 60))))
def test_at_constant_capacity_it_is_near_a_cap_that_somebody_knew(load: str, delay: int) -> None:
    """A metric that is late does not show the first overload: the gateways see its backlog."""
    plant = replace(SMALL, load=LOADS[load], delay=delay)

    learned, right = played(plant)

    assert learned.far_over <= 0.05
    assert learned.wasted <= 0.03
    assert abs(learned.sent - right.sent) <= 0.03
    assert learned.wait(0.95) <= 2 * right.wait(0.95)


@pytest.mark.parametrize(
    ("load", "shift", "delay"),
    list(itertools.product(("step", "day", "bursts of minutes", "staircase"), SHIFTS, (15, 60))),
)
def test_a_capacity_that_changes_is_learned_anew(load: str, shift: str, delay: int) -> None:
    plant = replace(SMALL, load=LOADS[load], capacity=SHIFTS[shift], delay=delay)

    learned, right = played(plant)

    assert learned.far_over <= 0.10
    assert learned.wasted <= 0.05
    assert abs(learned.sent - right.sent) <= 0.03


@pytest.mark.parametrize(("replicas", "slots"), [(1, 1), (8, 1), (1, 64), (4, 16)])
@pytest.mark.parametrize("service", Service)
def test_it_learns_for_servers_of_any_size(replicas: int, slots: int, service: Service) -> None:
    plant = replace(SMALL, first=replicas, slots=slots, mean=replicas * slots / 6, service=service)

    learned, right = played(plant)

    assert learned.far_over <= 0.05
    assert learned.wasted <= 0.03
    assert abs(learned.sent - right.sent) <= 0.03


@pytest.mark.parametrize("delay", [1, 60])
def test_slots_in_use_teach_it_too(delay: int) -> None:
    plant = replace(SMALL, load=LOADS["day"], metric=Metric.SLOTS, delay=delay)

    learned, right = played(plant)

    assert learned.wasted <= 0.03
    assert abs(learned.sent - right.sent) <= 0.06


@pytest.mark.parametrize("load", ["step", "day", "staircase"])
@pytest.mark.parametrize(("slots", "delay"), [(4, 15), (4, 60), (8, 60)])
def test_few_slots_teach_it_without_hunting(load: str, slots: int, delay: int) -> None:
    plant = replace(SMALL, load=LOADS[load], first=1, slots=slots, metric=Metric.SLOTS, delay=delay)

    learned, _ = played(plant)

    assert learned.far_over <= 0.05
    assert learned.wasted <= 0.03
    assert learned.changes <= 30


@pytest.mark.parametrize("load", ["step", "ramp"])
def test_the_time_that_even_requests_take_teaches_it_too(load: str) -> None:
    plant = replace(SMALL, load=LOADS[load], metric=Metric.LATENCY, service=Service.EVEN)

    learned, right = played(plant)

    assert learned.far_over <= 0.05
    assert learned.wasted <= 0.03
    assert abs(learned.sent - right.sent) <= 0.05


@pytest.mark.parametrize(("load", "period"), [*itertools.product(LOADS, (5,)), ("step", 1), ("day", 1)])
def test_servers_without_metrics_stay_at_a_target_of_the_gateways(load: str, period: int) -> None:
    """The whole way: counters as Envoy has them, the metric, the verdict, the cap."""
    plant = replace(SMALL, load=LOADS[load], metric=Metric.FIRST_BYTE, delay=1, period=period)

    learned, right = adaptive_plant.run(plant, Unmetered(ADAPTIVE)), known(plant)

    assert learned.far_over <= 0.05
    assert learned.wasted <= 0.03
    assert abs(learned.sent - right.sent) <= 0.03
    assert learned.wait(0.95) <= 2 * right.wait(0.95)


@pytest.mark.parametrize("shift", SHIFTS)
def test_servers_without_metrics_may_change_their_capacity(shift: str) -> None:
    plant = replace(SMALL, capacity=SHIFTS[shift], metric=Metric.FIRST_BYTE, delay=1)

    learned, right = adaptive_plant.run(plant, Unmetered(ADAPTIVE)), known(plant)

    assert learned.far_over <= 0.10
    assert learned.wasted <= 0.05
    assert abs(learned.sent - right.sent) <= 0.03


def test_with_an_autoscaler_on_true_demand_replicas_come_and_the_remote_empties() -> None:
    plant = replace(SMALL, scaler=True, seconds=3000)

    learned, _ = played(plant)
    alone, _ = played(replace(plant, scaler=False))

    assert learned.replicas > plant.first
    assert learned.sent < alone.sent / 2


def test_a_part_of_the_requests_that_may_leave_bounds_what_leaves() -> None:
    plant = replace(SMALL, most=20)

    learned, _ = played(plant)

    assert learned.sent <= 0.21
