"""Triggers that can't work are told, and those that can are left in peace."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamlit_controller.core import cycle
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.metric_spec import (
    AverageValue,
    PodsMetric,
    Selector,
    SeriesSelector,
    Target,
    Utilization,
    Value,
)
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Reading
from beamlit_controller.core.spec import Behavior, OffloadSpec
from beamlit_controller.core.trigger import Trigger
from builders import CPU, NOW, QUEUE, container, missing, pod, pod_samples, sample, signals, spec

NOTHING = missing(Reason.NO_SERIES, "there is no series for queue")
MINUTE = timedelta(minutes=1)


def played(asked: OffloadSpec, *readings: tuple[timedelta, Reading], last: Cycle | None = None) -> Cycle:
    """Run a round at each time after `NOW`."""
    for after, reading in readings:
        fresh = replace(reading, at=NOW + after) if hasattr(reading, "at") else reading
        previous = last.decision if last else None
        last = cycle.run(asked, signals(fresh, at=NOW + after), previous=previous, now=NOW + after)
    assert last is not None
    return last


def told(ran: Cycle) -> Trigger:
    assert ran.trigger is not None
    return ran.trigger


def test_a_metric_over_its_target_shows_that_it_can_be() -> None:
    found = told(played(spec(), (0 * MINUTE, sample(14)), (2000 * MINUTE, sample(1))))

    assert (found.reachable, found.reason) == (True, Reason.TARGET_REACHED)
    assert found.message == "the highest since 2026-06-01 12:00 UTC was 140% of the target (queue)"


def test_a_metric_that_is_never_read_is_told_after_a_while() -> None:
    asked = spec()

    early = told(played(asked, (0 * MINUTE, NOTHING), (4 * MINUTE, NOTHING)))
    late = told(played(asked, (0 * MINUTE, NOTHING), (5 * MINUTE, NOTHING)))

    assert (early.reachable, early.reason) == (None, Reason.METRIC_NEVER_SEEN)
    assert (late.reachable, late.reason) == (False, Reason.METRIC_NEVER_SEEN)
    assert "there is no series for queue" in late.message


def test_one_that_was_read_once_is_only_lost() -> None:
    found = told(played(spec(), (0 * MINUTE, sample(3)), (60 * MINUTE, NOTHING)))

    assert (found.reachable, found.reason) == (True, Reason.METRICS_READ)


def test_one_of_several_that_is_never_read_is_told_although_the_others_are() -> None:
    other = replace(QUEUE, metric=SeriesSelector("other"))
    asked = spec(metrics=(QUEUE, other))
    first = cycle.run(asked, replace(signals(sample(3)), readings=(sample(3), NOTHING)), previous=None, now=NOW)
    later = NOW + 6 * MINUTE
    read = replace(signals(sample(3, at=later), at=later), readings=(sample(30, at=later), NOTHING))

    found = told(cycle.run(asked, read, previous=first.decision, now=later))

    assert (found.reachable, found.reason) == (None, Reason.METRIC_NEVER_SEEN)
    assert "other: " in found.message


def test_a_target_that_was_not_reached_for_a_day_is_doubted() -> None:
    calm = [(hour * 60 * MINUTE, sample(4)) for hour in range(25)]

    found = told(played(spec(), *calm))

    assert (found.reachable, found.reason) == (None, Reason.TARGET_NEVER_REACHED)
    assert "was 40% of the target (queue)" in found.message


def test_what_was_offloaded_counts_as_seen() -> None:
    """The metric is at its target with half of the requests gone: twice the target is what came."""
    asked = spec(behavior=Behavior(percentage=50))

    found = told(played(asked, (0 * MINUTE, sample(14)), (4 * MINUTE, sample(10))))

    assert "was 200% of the target" in found.message


def test_another_spec_begins_anew() -> None:
    before = played(spec(), (0 * MINUTE, sample(14)))

    found = told(played(spec(generation=2), (MINUTE, sample(3)), last=before))

    assert "the highest since 2026-06-01 12:01 UTC was 30%" in found.message


@pytest.mark.parametrize(("target", "reachable"), [("0.8", True), ("2", True), ("80", False)])
def test_a_fraction_of_a_server_is_no_percentage(target: str, reachable: bool) -> None:  # noqa: FBT001
    """A few ranks in a pod may add up to more than 1, but not to 80."""
    cache = PodsMetric(SeriesSelector("vllm:kv_cache_usage_perc"), AverageValue(int(1000 * Decimal(target))))

    found = told(cycle.run(spec(metrics=(cache,)), signals(pod_samples("0.5")), previous=None, now=NOW))

    assert found.reachable is reachable
    assert reachable or "expected a target such as 0.8, got 80" in found.message


@pytest.mark.parametrize(("kind", "reachable"), [("fraction", False), ("used", True)])
def test_a_metric_may_be_a_fraction_by_its_label(kind: str, reachable: bool) -> None:  # noqa: FBT001
    blocks = SeriesSelector("nv_trt_llm_kv_cache_block_metrics", Selector((("kv_cache_block_type", kind),)))

    found = told(
        cycle.run(
            spec(metrics=(PodsMetric(blocks, AverageValue(80_000)),)),
            signals(pod_samples("0.5")),
            previous=None,
            now=NOW,
        )
    )

    assert found.reachable is reachable


def test_the_fractions_of_all_servers_may_add_up() -> None:
    total = replace(QUEUE, metric=SeriesSelector("vllm:kv_cache_usage_perc"), target=Value(80_000))

    assert told(cycle.run(spec(metrics=(total,)), signals(sample(3)), previous=None, now=NOW)).reachable


@pytest.mark.parametrize(
    ("name", "target", "reachable"),
    [
        ("vllm:kv_cache_usage_perc", AverageValue(80_000), False),
        ("vllm:kv_cache_usage_perc", AverageValue(600), True),
        ('avg(vllm:kv_cache_usage_perc{namespace="a"})', Value(80_000), False),
        ("max( sglang:token_usage )", Value(90_000), False),
        ("sglang_token_usage", AverageValue(90_000), False),
        ("avg(vllm:kv_cache_usage_perc)", Value(800), True),
        ("100 * avg(vllm:kv_cache_usage_perc)", Value(80_000), True),
        ("sum(vllm:kv_cache_usage_perc)", Value(80_000), True),
        ("avg(vllm:num_requests_waiting)", Value(80_000), True),
    ],
)
def test_a_fraction_in_prometheus_is_no_percentage_either(name: str, target: Target, reachable: bool) -> None:  # noqa: FBT001
    asked = replace(QUEUE, metric=SeriesSelector(name), target=target)

    found = told(cycle.run(spec(metrics=(asked,)), signals(sample(3)), previous=None, now=NOW))

    assert found.reachable is reachable
    assert reachable or "is a fraction from 0 to 1: expected a target such as 0.8" in found.message


@pytest.mark.parametrize(
    ("limit", "percent", "reachable"), [(1, 100, False), (1, 99, True), (2, 150, True), (None, 500, True)]
)
def test_limits_keep_a_utilization_down(limit: int | None, percent: int, reachable: bool) -> None:  # noqa: FBT001
    """The pod requests one cpu."""
    main = replace(container("main"), limits=(("cpu", 1000 * limit),) if limit else ())
    asked = spec(metrics=(replace(CPU, target=Utilization(percent)),))
    read = replace(signals(cpu=60), pods=tuple(pod(f"worker-{number}", containers=(main,)) for number in range(3)))

    found = told(cycle.run(asked, read, previous=None, now=NOW))

    assert found.reachable is reachable
    assert (
        reachable
        or found.message == "cpu can't be above 100% of what is requested, because of the limits; its target is 100%"
    )


def test_another_target_begins_anew() -> None:
    before = played(spec(), (0 * MINUTE, sample(9)))
    higher = spec(metrics=(replace(QUEUE, target=Value(1_000_000)),))

    found = told(played(higher, (MINUTE, sample(9)), last=before))

    assert "the highest since 2026-06-01 12:01 UTC was 1%" in found.message


def test_without_metrics_nothing_is_ever_offloaded_and_disabled_nothing_is_said() -> None:
    none = spec(metrics=())
    empty = replace(signals(sample(3)), readings=())

    assert told(cycle.run(none, empty, previous=None, now=NOW)).reason is Reason.NO_METRICS
    assert played(spec(enabled=False), (0 * MINUTE, sample(3))).trigger is None


@given(st.lists(st.integers(0, 40), min_size=1, max_size=30))
def test_the_highest_is_never_forgotten(values: list[int]) -> None:
    asked = spec(behavior=Behavior(percentage=0))
    ran = played(asked, *((number * MINUTE, sample(value)) for number, value in enumerate(values)))

    assert ran.decision.sight is not None
    assert ran.decision.sight.metrics[0].highest == Fraction(max(values), 10)
