"""What would have been decided on recorded metrics, by the very code that decides live."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamlit_controller.core import replay
from beamlit_controller.core.metric_spec import (
    AverageValue,
    ContainerResourceMetric,
    MetricSpec,
    ResourceMetric,
    Utilization,
)
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.replay import Recording
from beamlit_controller.core.spec import Behavior, Mode, Override
from builders import CPU, NOW, QUEUE, RUNNING, spec

STEP = timedelta(seconds=15)
WINDOW = timedelta(seconds=30)
HALF = Behavior(percentage=50)


def recording(*values: float | None, rates: tuple[float, ...] = ()) -> Recording:
    """Return a recording of one metric, in whole units, every 15 s."""
    times = tuple(NOW + number * STEP for number in range(len(values)))
    return Recording(times, tuple((None if value is None else round(1000 * value),) for value in values), rates)


def test_a_share_follows_the_demand_and_goes_when_it_is_gone() -> None:
    """Twice the target for 10 min: half of it is offloaded all the time, though the metric falls to its target."""
    course = replay.rehearse(spec(behavior=HALF), recording(*[20] * 40, *[3] * 40), window=WINDOW)

    assert course.percentages[0] == 50
    assert set(course.percentages[:40]) == {50}
    assert course.percentages[-1] == 0
    assert [change.percentage for change in course.changes] == [50, 0]
    assert course.changes[0].reason is Reason.METRIC_ABOVE_TARGET
    assert course.ratios[0] == 2
    assert course.ratios[10] == 1


def test_the_plain_rule_swings_on_the_same_recording() -> None:
    course = replay.rehearse(spec(behavior=HALF), recording(*[18] * 40), window=WINDOW, plain=True)

    assert len(course.changes) > 10
    assert replay.stats_of(course).flaps > 10


def test_adaptive_is_played_as_a_cap_that_has_been_learned() -> None:
    asked = spec(behavior=Behavior(percentage=60, mode=Mode.ADAPTIVE))

    course = replay.rehearse(asked, recording(3, 20, 100, None, 3), window=WINDOW)

    assert course.percentages == (0, 50, 60, 0, 0)
    assert course.ratios[1] == 1


@given(st.lists(st.none() | st.integers(0, 40), min_size=1, max_size=60), st.sampled_from(Mode))
def test_no_recording_leads_out_of_bounds(values: list[int | None], mode: Mode) -> None:
    asked = spec(behavior=Behavior(percentage=70, mode=mode))
    course = replay.rehearse(asked, recording(*values), window=WINDOW)

    assert all(0 <= share <= 70 for share in course.percentages)
    assert len(course.percentages) == len(course.ratios) == len(values)
    assert course == replay.rehearse(asked, recording(*values), window=WINDOW)


def test_where_nothing_was_recorded_the_share_is_held() -> None:
    course = replay.rehearse(spec(behavior=HALF), recording(20, 20, *[None] * 20, 3), window=WINDOW)

    assert set(course.percentages[1:22]) == {50}
    assert course.ratios[5] is None


@pytest.mark.parametrize(
    "asked",
    [
        {"enabled": False},
        {"override": Override(0)},
        {"behavior": replace(HALF, dry_run=True)},
    ],
    ids=["disabled", "overridden", "dry run"],
)
def test_it_is_rehearsed_as_if_it_were_in_force(asked: dict[str, object]) -> None:
    course = replay.rehearse(spec(**{"behavior": HALF} | asked), recording(20, 20), window=WINDOW)

    assert course.percentages == (50, 50)


@pytest.mark.parametrize(
    ("metric", "value", "ratio"),
    [
        (CPU, 75, 1.5),
        (ResourceMetric("memory", AverageValue(4000)), 6, 1.5),
        (ContainerResourceMetric("cpu", "server", Utilization(40)), 50, 1.25),
        (RUNNING, 15, 1.5),
        (QUEUE, 15, 1.5),
    ],
    ids=["utilization", "average of a resource", "of a container", "pods", "value"],
)
def test_every_kind_of_metric_is_held_against_its_target(metric: MetricSpec, value: float, ratio: float) -> None:
    assert replay.demands(spec(metrics=(metric,)), recording(value)) == (ratio,)


def test_a_resource_beside_one_of_a_container() -> None:
    metrics = (CPU, *(ContainerResourceMetric("cpu", name, Utilization(50)) for name in ("server", "proxy")))
    both = Recording((NOW,), ((60_000, 40_000, 80_000),))

    assert replay.demands(spec(metrics=metrics), both) == (1.6,)


def test_a_value_is_divided_by_the_replicas_for_an_average() -> None:
    asked = spec(metrics=(replace(QUEUE, target=AverageValue(10_000)),))

    assert replay.demands(asked, replace(recording(60), replicas=4)) == (1.5,)


def test_the_figures_sum_a_course_up() -> None:
    course = replay.rehearse(spec(behavior=HALF), recording(5, 20, 20, 20, rates=(2, 10, 10, 10)), window=WINDOW)

    found = replay.stats_of(course)

    assert (found.seconds, found.offloading, found.changes, found.flaps, found.most) == (60, 45, 1, 0, 50)
    assert found.over == pytest.approx(30)  # a sample of 30 s shows what the share has done after as many
    assert found.mean == pytest.approx(37.5)
    assert found.requests == 32 * 15
    assert found.offloaded == 30 * 15 / 2


def test_a_hole_in_the_recording_is_no_time_at_all() -> None:
    times = (*(NOW + number * STEP for number in range(5)), NOW + timedelta(days=1))
    holed = Recording(times, ((1000,),) * 6)

    assert sum(holed.lasting) == 4 * 15 + 10 * 15 + 15


def test_a_hole_with_rows_is_hardly_any_time_either() -> None:
    assert sum(recording(20, *[None] * 1000, 20).lasting) == 12 * 15


def test_one_row_is_a_recording() -> None:
    course = replay.rehearse(spec(behavior=HALF), recording(20), window=WINDOW)

    assert course.percentages == (50,)
    assert replay.stats_of(course).mean == 0.0


def test_times_are_those_of_the_recording() -> None:
    began: datetime = NOW + 2 * STEP
    course = replay.rehearse(spec(behavior=HALF), recording(5, 5, 20), window=WINDOW)

    assert course.changes[0].at == began
