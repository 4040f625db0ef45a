from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from beamlit_controller.core import verdict
from beamlit_controller.core.metric_spec import (
    Aggregation,
    AverageValue,
    ContainerResourceMetric,
    ExternalMetric,
    MetricSpec,
    ObjectMetric,
    ObjectReference,
    PodsMetric,
    ResourceMetric,
    SeriesSelector,
    Utilization,
    Value,
)
from beamlit_controller.core.pods import Grace
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing, PodSamples, Reading, Ready, Scale, Signals
from beamlit_controller.core.spec import Behavior
from beamlit_controller.core.verdict import Assessed, Current, Judgement, Unread
from builders import CPU, NOW, QUEUE, RUNNING, container, missing, pod, pod_samples, pods, sample, signals, spec

SECOND = timedelta(seconds=1)
HITS = ObjectMetric(SeriesSelector("hits"), ObjectReference("v1", "Service", "llm"), Value(10_000))
PER_REPLICA = ExternalMetric(SeriesSelector("queue"), AverageValue(10_000))


def assessed(metric: MetricSpec, read: Signals) -> Assessed:
    (outcome,) = verdict.assess(spec(metrics=(metric,)), read).metrics
    assert isinstance(outcome, Assessed), outcome
    return outcome


def unread(metric: MetricSpec, read: Signals) -> Missing:
    (outcome,) = verdict.assess(spec(metrics=(metric,)), read).metrics
    assert isinstance(outcome, Unread), outcome
    return outcome.missing


@pytest.mark.parametrize(
    ("optional", "absent", "expected"),
    [
        (True, missing(Reason.NO_SERIES), Judgement.UNDER),
        (False, missing(Reason.NO_SERIES), Judgement.UNKNOWN),
        (True, missing(Reason.TIMED_OUT), Judgement.UNKNOWN),
        (True, missing(Reason.NOT_A_NUMBER), Judgement.UNKNOWN),
    ],
)
def test_a_metric_that_a_version_of_the_server_lacks_leaves_it_to_the_others(
    optional: bool,  # noqa: FBT001 - a case of the table
    absent: Missing,
    expected: Judgement,
) -> None:
    lacking = replace(RUNNING, optional=optional)

    seen = verdict.assess(spec(metrics=(QUEUE, lacking)), signals(sample(1), absent))

    assert seen.judgement is expected


def test_where_no_metric_at_all_is_there_nothing_is_known() -> None:
    lacking = replace(RUNNING, optional=True)

    assert verdict.assess(spec(metrics=(lacking,)), signals(missing(Reason.NO_SERIES))).judgement is Judgement.UNKNOWN


# One metric.


def test_a_value_is_held_against_its_target_as_it_is() -> None:
    for metric in (QUEUE, HITS):
        outcome = assessed(metric, signals(sample("12.345")))

        assert outcome.current == Current(value=12_345)
        assert outcome.ratio == Fraction(12_345, 10_000)


def test_a_value_needs_no_pods_and_no_replicas() -> None:
    assert assessed(QUEUE, signals(sample(20), ready=0)).ratio == 2


def test_a_value_per_replica_is_shown_rounded_up_and_compared_exactly() -> None:
    outcome = assessed(PER_REPLICA, signals(sample(10), scale=Scale(spec_replicas=9, status_replicas=3)))

    assert outcome.current == Current(average_value=3334)
    assert outcome.ratio == Fraction(1, 3)


def test_a_value_per_replica_needs_replicas() -> None:
    found = unread(PER_REPLICA, signals(sample(10), scale=Scale(spec_replicas=3, status_replicas=0)))

    assert found == Missing(
        Reason.NO_REPLICAS, "averageValue is per replica, and there are none (status.replicas is 0): use value instead"
    )


def test_an_average_over_pods_is_truncated_toward_zero_before_it_is_compared() -> None:
    above = assessed(RUNNING, signals(pod_samples(10, 10, "10.002")))
    below = assessed(RUNNING, signals(pod_samples(-10, -10, "-10.002")))
    whole = assessed(RUNNING, signals(pod_samples(10, 10, "10.003")))

    assert (above.current, above.ratio) == (Current(average_value=10_000), 1)
    assert (below.current, below.ratio) == (Current(average_value=-10_000), -1)
    assert (whole.current, whole.ratio) == (Current(average_value=10_001), Fraction(10_001, 10_000))


@pytest.mark.parametrize(("together", "expected"), [(Aggregation.SUM, "1/4"), (Aggregation.MEAN, "1/8")])
def test_where_requests_that_wait_are_counted_one_more_is_a_part_of_the_target(
    together: Aggregation, expected: str
) -> None:
    """Where the two engines of a pod have a mean, a request that waits in one of them counts half."""
    waiting = PodsMetric(SeriesSelector("waiting"), AverageValue(4_000), together, waiting=True)
    reading = PodSamples(tuple(replace(each, series=2) for each in pod_samples(1, 3).samples))

    found = assessed(waiting, signals(reading, pods=pods(2)))

    assert found.slope == Fraction(expected)


def test_utilization_is_total_over_total_truncated_to_whole_percent() -> None:
    sizes = (pod("worker-0", containers=(container(cpu=3),)), pod("worker-1", containers=(container(cpu=1),)))

    outcome = assessed(CPU, signals(pod_samples("1.5", "0.539"), pods=sizes))

    assert outcome.current == Current(average_value=1019, average_utilization=50)
    assert outcome.ratio == 1


def test_utilization_of_one_container_looks_at_its_request_alone() -> None:
    metric = ContainerResourceMetric("cpu", "engine", Utilization(50))
    both = (container("engine", cpu=2), container("log", memory=1))

    outcome = assessed(metric, signals(pod_samples("1.2"), pods=(pod(containers=both),)))

    assert outcome.current == Current(average_value=1200, average_utilization=60)
    assert outcome.ratio == Fraction(6, 5)


def test_an_average_of_a_resource_needs_no_requests() -> None:
    bare = (pod(containers=()),)

    for metric in (ResourceMetric("cpu", AverageValue(500)), ContainerResourceMetric("cpu", "main", AverageValue(500))):
        assert assessed(metric, signals(pod_samples("0.8"), pods=bare)).ratio == Fraction(8, 5)


def test_loading_and_missing_pods_do_not_damp_the_ratio() -> None:
    population = (pod("worker-0"), pod("worker-1", phase="Pending"), pod("worker-2"), pod("worker-3", deleting=True))
    reading = PodSamples(pod_samples("0.8", "0.1").samples)

    outcome = assessed(CPU, signals(reading, pods=population))

    assert outcome.ratio == Fraction(8, 5)


def test_pods_that_are_gone_count_for_an_average_and_not_for_utilization() -> None:
    reading = pod_samples("0.8", "0.2")

    assert assessed(CPU, signals(reading, pods=pods(1))).current.average_utilization == 80
    assert assessed(ResourceMetric("cpu", AverageValue(500)), signals(reading, pods=pods(1))).ratio == 1


def test_the_last_of_two_values_of_one_pod_counts() -> None:
    twice = PodSamples((*pod_samples(7).samples, *pod_samples(30).samples))

    assert assessed(RUNNING, signals(twice, ready=1)).ratio == 3


def test_the_time_covered_is_that_of_the_samples_that_count() -> None:
    old, new = pod_samples(1, age=60 * SECOND).samples[0], pod_samples(1, 1, age=15 * SECOND).samples[1]
    ignored = replace(pod_samples(1, 1, 1).samples[2], window=timedelta(hours=1))
    population = (pod("worker-0"), pod("worker-1"), pod("worker-2", phase="Failed"))

    outcome = assessed(RUNNING, signals(PodSamples((old, new, ignored)), pods=population))

    assert outcome.since == NOW - 90 * SECOND
    assert outcome.until == NOW - 15 * SECOND


def test_a_value_covers_its_window() -> None:
    outcome = assessed(QUEUE, signals(sample(1, age=20 * SECOND, window=60 * SECOND)))

    assert (outcome.since, outcome.until) == (NOW - 80 * SECOND, NOW - 20 * SECOND)


def test_the_grace_of_starting_pods_can_be_set() -> None:
    overloaded = (pod(ready=Ready("False", NOW), started=NOW - timedelta(minutes=6)),)
    read = signals(pod_samples("0.8"), pods=overloaded)

    patient = verdict.assess(spec(metrics=(CPU,)), read, Grace(cpu_initialization_period=timedelta(minutes=7)))

    assert assessed(CPU, read).ratio == Fraction(8, 5)
    assert isinstance(patient.metrics[0], Unread)


def test_amounts_beyond_64_bits_are_exact() -> None:
    huge = 2**80 + 1

    assert assessed(QUEUE, signals(sample(huge))).ratio == Fraction(huge, 10)
    assert assessed(CPU, signals(pod_samples(huge), ready=1)).current.average_utilization == 100 * huge


# Why a metric has no value.


def test_a_failed_reading_is_passed_on_as_it_is() -> None:
    failure = missing(Reason.TIMED_OUT, "no answer in 3 s")

    for metric in (QUEUE, HITS, RUNNING, CPU):
        assert unread(metric, signals(failure)) == failure


def test_pods_that_all_failed_are_counted_under_the_first_reason() -> None:
    refused = missing(message="127.0.0.1:8001 refused the connection")
    late = missing(Reason.TIMED_OUT, "no answer in 1 s")

    one = unread(RUNNING, signals(PodSamples((), (("worker-0", refused),))))
    two = unread(RUNNING, signals(PodSamples((), (("worker-0", refused), ("worker-1", late)))))

    assert one == Missing(Reason.CONNECTION_FAILED, "worker-0: 127.0.0.1:8001 refused the connection")
    assert two == Missing(
        Reason.CONNECTION_FAILED, "none of 2 pods has a value; worker-0: 127.0.0.1:8001 refused the connection"
    )


def test_a_pod_that_failed_is_missing_and_the_others_count() -> None:
    reading = PodSamples(pod_samples(20).samples, (("worker-1", missing()), ("worker-2", missing())))

    assert assessed(RUNNING, signals(reading)).ratio == 2


def test_no_values_and_no_pods_are_told_apart() -> None:
    assert unread(RUNNING, signals(PodSamples(()))) == Missing(
        Reason.NO_SERIES, "expected a value of each pod, got an empty list"
    )
    assert unread(RUNNING, signals(pod_samples(1), ready=0)) == Missing(
        Reason.NO_PODS, "expected the model's pods, its selector matches none"
    )


def test_values_of_pods_that_do_not_count_are_no_values() -> None:
    population = (
        pod("worker-0", phase="Pending"),
        pod("worker-1", deleting=True),
        pod("worker-2"),
        pod("worker-3"),
    )
    reading = PodSamples(pod_samples(1, 1).samples, (("worker-3", missing(message="no answer in 1 s")),))

    found = unread(RUNNING, signals(reading, pods=population))

    assert found == Missing(
        Reason.NO_READY_PODS,
        "expected a value of a ready pod, there is none: 1 not ready yet (worker-0), "
        "2 without a value (worker-2 and 1 more), 1 terminating or failed (worker-1); worker-3: no answer in 1 s",
    )


def test_utilization_names_the_pod_that_requests_nothing() -> None:
    population = (pod("worker-0"), pod("worker-1", phase="Failed", containers=(container("main", memory=1),)))

    assert unread(CPU, signals(cpu=80, pods=population)) == Missing(
        Reason.NO_REQUESTS,
        "averageUtilization needs every pod to request cpu; worker-1's container main does not: "
        "set its resources.requests, or use averageValue",
    )


def test_utilization_of_requests_of_zero_is_not_infinite() -> None:
    idle = tuple(pod(f"worker-{i}", containers=(container(cpu=0),)) for i in range(2))

    assert unread(CPU, signals(cpu=80, ready=2, pods=idle)) == Missing(
        Reason.NO_REQUESTS,
        "averageUtilization needs pods that request cpu; worker-0 and 1 more request 0: "
        "set resources.requests, or use averageValue",
    )


def test_utilization_of_strangers_alone_is_none() -> None:
    found = unread(CPU, signals(pod_samples("0.8"), pods=(pod("another"),)))

    assert found == Missing(Reason.NO_PODS, "expected values of the model's pods, got only those of others")


@pytest.mark.parametrize(
    ("metric", "reading"), [(QUEUE, pod_samples(1)), (HITS, pod_samples(1)), (RUNNING, sample(1)), (CPU, sample(1))]
)
def test_a_reading_of_another_kind_is_a_programming_error(metric: MetricSpec, reading: Reading) -> None:
    with pytest.raises(TypeError, match=f"{type(metric).__name__} was given a reading of type"):
        verdict.assess(spec(metrics=(metric,)), signals(reading))


def test_a_reading_too_few_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        verdict.assess(spec(metrics=(QUEUE, QUEUE)), signals(sample(1)))


# All metrics together.


def judgement(*values: float | None, engage: str = "0", release: str = "0.1") -> Judgement:
    """Judge metrics whose target is 10, by their values; None can't be read."""
    base = Behavior()
    behavior = replace(
        base,
        engage=replace(base.engage, tolerance=Decimal(engage)),
        release=replace(base.release, tolerance=Decimal(release)),
    )
    wanted = spec(metrics=(QUEUE,) * len(values), behavior=behavior)
    readings = tuple(missing() if value is None else sample(str(value)) for value in values)
    return verdict.assess(wanted, replace(signals(), readings=readings)).judgement


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([10.001], Judgement.OVER),
        ([10], Judgement.BETWEEN),
        ([9.001], Judgement.BETWEEN),
        ([9], Judgement.UNDER),
        ([0], Judgement.UNDER),
        ([-5], Judgement.UNDER),
        ([None], Judgement.UNKNOWN),
        ([], Judgement.UNKNOWN),
        ([11, None], Judgement.OVER),
        ([None, 11], Judgement.OVER),
        ([11, 1], Judgement.OVER),
        ([1, None], Judgement.UNKNOWN),
        ([9.5, None], Judgement.UNKNOWN),
        ([1, 9.5], Judgement.BETWEEN),
        ([1, 2], Judgement.UNDER),
    ],
)
def test_any_metric_raises_and_only_all_together_lower(values: list[float | None], expected: Judgement) -> None:
    assert judgement(*values) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(11, Judgement.BETWEEN), (11.001, Judgement.OVER), (8.001, Judgement.BETWEEN), (8, Judgement.UNDER)],
)
def test_the_tolerances_are_the_users(value: float, expected: Judgement) -> None:
    assert judgement(value, engage="0.1", release="0.2") == expected


def test_the_ratio_is_the_highest_that_could_be_read() -> None:
    several = spec(metrics=(QUEUE, QUEUE, QUEUE))

    outcome = verdict.assess(several, signals(sample(5), missing(), sample(7)))

    assert outcome.ratio == Fraction(7, 10)
    assert [type(metric) for metric in outcome.metrics] == [Assessed, Unread, Assessed]
    assert verdict.assess(spec(), signals(missing())).ratio is None


# Laws.

loads = st.lists(st.integers(0, 10**15), min_size=1, max_size=8)
targets = st.integers(1, 10**12)
factors = st.integers(1, 10**6)
requests = st.integers(1, 10**9)


def of_pods(values: list[int], metric: MetricSpec, request: int = 1000) -> Fraction:
    """Return the ratio over pods that use these thousandths and each request as many of cpu."""
    population = tuple(
        pod(f"worker-{i}", containers=(container(cpu=Fraction(request, 1000)),)) for i in range(len(values))
    )
    reading = pod_samples(*(Fraction(value, 1000) for value in values))
    return assessed(metric, signals(reading, pods=population)).ratio


def running(target: int) -> PodsMetric:
    return PodsMetric(SeriesSelector("running"), AverageValue(target))


@given(st.integers(-(10**15), 10**15), targets, factors, st.integers(1, 100))
def test_scaling_a_value_and_its_target_changes_nothing(value: int, target: int, factor: int, replicas: int) -> None:
    def ratio(make: Callable[[int], Value | AverageValue], by: int) -> Fraction:
        metric = ExternalMetric(SeriesSelector("queue"), make(target * by))
        scale = Scale(replicas, replicas)
        return assessed(metric, signals(sample(Fraction(value * by, 1000)), scale=scale)).ratio

    assert ratio(Value, 1) == ratio(Value, factor)
    assert ratio(AverageValue, 1) == ratio(AverageValue, factor)


@given(loads, targets, factors)
def test_scaling_all_pods_and_their_target_changes_nothing_where_the_average_is_whole(
    values: list[int], target: int, factor: int
) -> None:
    whole = [value * len(values) for value in values]

    assert of_pods(whole, running(target)) == of_pods([value * factor for value in whole], running(target * factor))


@given(loads, targets, factors)
def test_else_scaling_uncovers_less_than_the_thousandth_that_was_cut_off(
    values: list[int], target: int, factor: int
) -> None:
    uncovered = of_pods([value * factor for value in values], running(target * factor)) - of_pods(
        values, running(target)
    )

    assert 0 <= uncovered < Fraction(1, target)


@given(loads, requests, factors, st.integers(1, 200))
def test_scaling_all_usage_and_all_requests_changes_nothing(
    values: list[int], request: int, factor: int, percent: int
) -> None:
    metric = ResourceMetric("cpu", Utilization(percent))

    assert of_pods(values, metric, request) == of_pods([value * factor for value in values], metric, request * factor)


@given(loads, st.data(), st.integers(0, 10**12), targets, st.integers(1, 200))
def test_adding_load_never_lowers_the_ratio(
    values: list[int], data: st.DataObject, more: int, target: int, percent: int
) -> None:
    where = data.draw(st.integers(0, len(values) - 1))
    loaded = [value + more if index == where else value for index, value in enumerate(values)]

    for metric in (running(target), ResourceMetric("cpu", Utilization(percent))):
        assert of_pods(values, metric) <= of_pods(loaded, metric)


@given(loads, targets)
def test_the_ratio_lies_within_those_of_the_pods(values: list[int], target: int) -> None:
    ratios = [Fraction(value, target) for value in values]

    assert min(ratios) <= of_pods(values, running(target)) <= max(ratios)


@given(st.lists(st.none() | st.integers(-100, 100), max_size=5), st.integers(0, 5))
def test_losing_a_metric_never_offloads_and_never_releases(values: list[int | None], lost: int) -> None:
    assume(lost < len(values))
    before, after = judgement(*values), judgement(*values[:lost], None, *values[lost + 1 :])

    assert after in {Judgement.UNKNOWN, before}
    assert after in {Judgement.UNKNOWN, Judgement.OVER}


@given(st.lists(st.none() | st.integers(-100, 100), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_metrics_does_not_matter(values: list[int | None], random: object) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)

    assert judgement(*values) == judgement(*shuffled)
