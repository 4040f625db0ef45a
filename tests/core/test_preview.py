"""What would change a decision, in sentences."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from beamlit_controller.core import cycle, preview
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.metric_spec import ExternalMetric, SeriesSelector, Value
from beamlit_controller.core.signals import Reading
from beamlit_controller.core.spec import Behavior, Mode, OnMetricsLoss, Overflow, Override
from builders import CPU, NOW, QUEUE, RUNNING, missing, pod_samples, sample, signals, spec

HALF = Behavior(percentage=50)
SECOND = timedelta(seconds=1)


def after(*readings: tuple[int, Reading | int], **changes: object) -> Cycle:
    """Run a round at each of these seconds with one reading, and give the last."""
    whole, previous, record = spec(**changes), None, None
    for second, reading in readings:
        at = NOW + second * SECOND
        read = sample(reading, at=at, window=timedelta(0)) if isinstance(reading, int) else reading
        record = cycle.run(whole, signals(read, at=at), previous=previous, now=at)
        previous = record.decision
    assert record is not None
    return record


def sentences(record: Cycle, later: int = 0) -> tuple[str, ...]:
    return preview.sentences(record, record.at + later * SECOND)


def test_a_disabled_model_waits_for_its_author() -> None:
    assert sentences(after((0, 20), enabled=False)) == ("nothing, while spec.enabled is false",)


def test_an_override_says_when_it_ends() -> None:
    for_a_minute = after((0, 20), override=Override(25, NOW + 60 * SECOND))

    assert sentences(for_a_minute, later=10) == ("the override ends in 50 s; the metrics decide then",)
    assert sentences(after((0, 20), override=Override(25))) == ("nothing, until the override is cleared",)


def test_so_does_one_without_metrics() -> None:
    record = cycle.run(spec(metrics=()), replace(signals(), readings=()), previous=None, now=NOW)

    assert sentences(record) == ("no share is offloaded until spec.offloadingConfig.metrics names a metric",)


def test_so_does_one_that_may_offload_nothing() -> None:
    assert sentences(after((0, 5), behavior=Behavior(percentage=0))) == ("nothing, while behavior.percentage is 0",)


ADAPTIVE = Behavior(mode=Mode.ADAPTIVE)
CAPPED = Overflow(max_in_flight_per_replica=4)
FALLS = "the cap falls when queue > 10"


def learned(record: Cycle) -> Cycle:
    """Return the round with a cap that is lower than the one of the spec."""
    return replace(record, decision=replace(record.decision, cap=Fraction(3)))


def test_a_learned_cap_falls_and_rises_and_is_not_released() -> None:
    begun = after((0, 5), behavior=replace(ADAPTIVE, percentage=80), overflow=CAPPED)

    assert begun.decision.cap == 4
    assert sentences(learned(begun)) == (FALLS, "it rises when requests are offloaded although the metrics are low")
    assert sentences(begun) == (FALLS, "it does not rise above overflow.maxInFlightPerReplica, which is 4")


def test_a_cap_does_not_rise_while_any_metric_can_not_be_read() -> None:
    """It was said to rise and to fall by metrics that nobody could read."""
    some = spec(behavior=ADAPTIVE, metrics=(QUEUE, RUNNING), overflow=CAPPED)
    one_read = cycle.run(some, signals(sample(5), missing()), previous=None, now=NOW)
    none_read = after((0, 5), (5, missing()), behavior=ADAPTIVE, overflow=CAPPED)

    assert sentences(one_read) == (
        "the cap falls when queue > 10 or vllm:num_requests_running > 10 per pod",
        "it does not rise until every metric can be read: vllm:num_requests_running",
    )
    assert sentences(none_read) == ("stays unchanged while no metric can be read (onMetricsLoss is Hold)",)


def test_a_cap_of_nothing_says_what_ends_it() -> None:
    policy = replace(ADAPTIVE, on_metrics_loss=OnMetricsLoss.OFFLOAD)
    lost = after((0, 5), (5, missing()), (70, missing()), behavior=policy, overflow=CAPPED)

    assert lost.decision.cap == 0
    assert sentences(lost)[0] == "a cap limits the requests in flight again when the metrics can be read"


def test_a_share_for_lack_of_counts_says_what_ends_it() -> None:
    previous = None
    for second in (0, 35):
        read = replace(signals(sample(40, at=NOW + second * SECOND)), flow=missing())
        over = cycle.run(spec(behavior=ADAPTIVE), read, previous=previous, now=NOW + second * SECOND)
        previous = over.decision

    assert over.decision.cap == 0
    assert sentences(over) == (
        "a cap limits the requests in flight once a gateway reports its request counts",
        "releases when demand stays at 90% of the target or less for 60 s; it is 400% now",
    )


def test_without_a_cap_it_says_when_there_will_be_one_and_that_only_what_is_above_leaves() -> None:
    """It was said to offload all requests, and to do so in 0 s."""
    engage = replace(ADAPTIVE.engage, stabilization_window=30 * SECOND, tolerance=Decimal("0.2"))
    waits = replace(ADAPTIVE, engage=engage)

    assert sentences(after((0, 5), behavior=ADAPTIVE)) == (
        "limits the requests in flight when queue > 10; requests above the limit go to the remote",
    )
    assert sentences(after((0, 5), behavior=replace(waits, percentage=80))) == (
        "limits the requests in flight when queue > 120% of 10 for 30 s; requests above the limit, at most 80 % of all, go to the remote",
    )
    assert sentences(after((0, 25), behavior=ADAPTIVE)) == (
        "limits the requests in flight with the next samples if a metric stays above its target; requests above the limit go to the remote",
    )
    assert sentences(after((0, 25), behavior=waits), later=10) == (
        "limits the requests in flight in 20 s if a metric stays above its target; requests above the limit go to the remote",
    )


def test_local_offloads_when_any_metric_is_over() -> None:
    read = signals(sample(5), pod_samples(1, 1), pod_samples("0.1"))
    record = cycle.run(spec(metrics=(QUEUE, RUNNING, CPU), behavior=HALF), read, previous=None, now=NOW)

    assert sentences(record) == (
        "offloads 50 % when queue > 10 or vllm:num_requests_running > 10 per pod or cpu > 50%",
    )


def test_a_tolerance_a_step_and_a_window_are_told() -> None:
    engage = replace(HALF.engage, tolerance=Decimal("0.2"), step_percentage=20, stabilization_window=30 * SECOND)
    record = after((0, 5), behavior=replace(HALF, engage=engage))

    assert sentences(record) == ("offloads 20 % when queue > 120% of 10 for 30 s",)


def test_a_window_that_has_begun_is_counted_down() -> None:
    behavior = replace(HALF, engage=replace(HALF.engage, stabilization_window=30 * SECOND))
    record = after((0, 20), (10, 20), behavior=behavior)

    assert sentences(record, later=5) == ("offloads 50 % in 15 s if a metric stays over its target",)


def test_long_queries_are_cut() -> None:
    query = ExternalMetric(SeriesSelector("sum(" + "x" * 500 + ")"), Value(1000))

    (said,) = sentences(after((0, 0), metrics=(query,)))

    assert len(said) < 120


def test_offloading_all_that_is_allowed_says_so_and_how_it_ends() -> None:
    assert sentences(after((0, 20), behavior=HALF)) == (
        "no more than 50 % is offloaded: limited by behavior.percentage",
        "releases when demand stays at 90% of the target or less for 60 s; it is 200% now",
    )


def test_steps_are_told_both_ways() -> None:
    behavior = replace(
        HALF, engage=replace(HALF.engage, step_percentage=20), release=replace(HALF.release, step_percentage=10)
    )

    assert sentences(after((0, 20), behavior=behavior)) == (
        "rises to 40 % if a metric measured after the last change is over its target",
        "releases when demand stays at 90% of the target or less for 60 s, by 10 points a step; it is 200% now",
    )


def test_a_release_on_its_way_is_counted_down() -> None:
    record = after((0, 20), (40, 0), behavior=HALF)

    assert sentences(record, later=20) == ("releases in 40 s if demand stays at 90% of the target or less",)


def test_demand_that_can_not_be_seen_ends_in_a_trial() -> None:
    record = after((0, 20), (40, 9))

    assert sentences(record, later=60) == (
        "releases when demand stays at 90% of the target or less for 60 s; it can't be measured now",
        "in 540 s a trial release shows whether demand is still there",
    )


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (OnMetricsLoss.HOLD, "stays unchanged while no metric can be read (onMetricsLoss is Hold)"),
        (OnMetricsLoss.RELEASE, "releases in 60 s, if still no metric can be read (onMetricsLoss is Release)"),
        (OnMetricsLoss.OFFLOAD, "offloads 50 % in 60 s, if still no metric can be read (onMetricsLoss is Offload)"),
    ],
)
def test_a_loss_of_all_metrics_says_what_follows(policy: OnMetricsLoss, said: str) -> None:
    record = after((0, 5), (5, missing()), behavior=replace(HALF, on_metrics_loss=policy))

    assert sentences(record) == ("offloads 50 % when queue > 10", said)


PROPORTIONAL = replace(HALF, mode=Mode.PROPORTIONAL)


def test_proportional_offloads_what_keeps_the_metric_at_its_target() -> None:
    assert sentences(after((0, 5), behavior=PROPORTIONAL)) == (
        "offloads what keeps the metric at its target, 20 % at most at first, when queue > 10",
    )


def test_proportional_rises_by_steps_and_falls_when_less_is_enough() -> None:
    assert sentences(after((0, 12), (15, 9), behavior=PROPORTIONAL)) == (
        "rises to at most 40 % if a metric measured after the last change is over its target",
        "falls when 10 points less are enough for 60 s; demand is 112% of the target now",
        "in 600 s a trial with 10 % shows whether demand is still there",
    )


def test_proportional_says_what_it_falls_to_and_when() -> None:
    record = after((0, 12), (15, 5), (35, 5), behavior=PROPORTIONAL)

    assert record.decision.message == "queue 5 <= 10; falls to 10 % in 40 s if demand stays low"
    assert sentences(record)[1] == "falls to 10 % in 40 s if demand stays this low; it is 62% of the target now"


def test_proportional_keeps_a_few_requests() -> None:
    record = after(*((second, 90) for second in range(0, 90, 15)), behavior=replace(PROPORTIONAL, percentage=100))

    assert (
        sentences(record)[0] == "no more than 95 % is offloaded: the rest stays local, so that demand can be measured"
    )
