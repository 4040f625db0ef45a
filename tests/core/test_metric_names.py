"""What was learned from a metric is recorded by its name, also if another one has the same."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

import pytest

from beamlit_controller.core import decision, metric_names
from beamlit_controller.core.adaptive_state import Learned
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.metric_spec import ExternalMetric, MetricSpec, Selector, SeriesSelector, Value
from beamlit_controller.core.spec import Behavior, Mode
from beamlit_controller.core.verdict import Assessed, Current, Judgement, Verdict
from builders import NOW, spec

SECOND = timedelta(seconds=1)


def metric(name: str, target: int = 1000, **labels: str) -> ExternalMetric:
    return ExternalMetric(SeriesSelector(name, Selector(tuple(labels.items()))), Value(target))


LONG = "sum(rate(vllm:request_queue_time_seconds_sum{model_name='llama', tier="
ALIKE = [
    (metric("queue", tier="free"), metric("queue", tier="paid")),
    (metric(f"{LONG}'free'}}[1m]))"), metric(f"{LONG}'paid'}}[1m]))")),
]
OTHER = metric("cache")
CAPS, SLOPES = (Fraction(6), Fraction(9)), (Fraction(1, 2), Fraction(1, 3))


def after(before: Decision, metrics: Sequence[MetricSpec]) -> Decision:
    """Decide once more, with another list of metrics that are all within their targets."""
    read = tuple(Assessed(each, Current(value=500), Fraction(1, 2), NOW - 5 * SECOND, NOW) for each in metrics)
    asked = spec(behavior=Behavior(mode=Mode.ADAPTIVE), metrics=tuple(metrics))
    return decision.decide(asked, before, Verdict(Judgement.BETWEEN, Fraction(1, 2), read), NOW)


def learned_from(metrics: Sequence[MetricSpec], names: Sequence[str] = ()) -> Decision:
    """Return a state in which a different cap and slope were learned from each of two metrics, the lower cap from the first."""
    owned = tuple(
        Learned(cap=cap, slope=slope, changed_at=NOW - 60 * SECOND) for cap, slope in zip(CAPS, SLOPES, strict=True)
    )
    known = replace(decision.begin(NOW), cap=CAPS[0], learned=owned[0], by_metric=owned, learned_from=tuple(names))
    return after(known, metrics)


def caps(decided: Decision) -> list[Fraction | None]:
    return [each.cap for each in decided.by_metric]


@pytest.mark.parametrize("metrics", ALIKE, ids=["selectors", "cut"])
def test_metrics_of_the_same_name_that_change_places_keep_what_each_taught(metrics: tuple[MetricSpec, ...]) -> None:
    """The list of names was the same, so each went on with what the other one had taught."""
    before = learned_from(metrics)

    decided = after(before, metrics[::-1])

    assert caps(before) == [*CAPS]
    assert caps(decided) == [*CAPS[::-1]]


@pytest.mark.parametrize("metrics", ALIKE, ids=["selectors", "cut"])
def test_with_a_metric_less_or_more_those_of_the_same_name_keep_what_each_taught(
    metrics: tuple[MetricSpec, ...],
) -> None:
    before = learned_from(metrics)

    more = after(before, (OTHER, *metrics))
    one = after(before, metrics[1:])
    again = after(one, metrics)

    assert caps(more)[1:] == [*CAPS]
    assert (one.cap, one.learned.slope) == (CAPS[0], SLOPES[1])
    assert [each.slope for each in again.by_metric] == [None, SLOPES[1]]


@pytest.mark.parametrize("metrics", ALIKE, ids=["selectors", "cut"])
def test_names_recorded_without_a_digest_are_those_of_the_metrics_in_their_order(
    metrics: tuple[MetricSpec, ...],
) -> None:
    """Earlier versions recorded them so."""
    plain = [metric_names.shown(each) for each in metric_names.of(metrics)]

    decided = learned_from(metrics, plain)

    assert plain[0] == plain[1]
    assert caps(decided) == [*CAPS]
    assert caps(after(decided, metrics[::-1])) == [*CAPS[::-1]]


@pytest.mark.parametrize("metrics", ALIKE, ids=["selectors", "cut"])
def test_the_digest_of_a_name_is_not_shown(metrics: tuple[MetricSpec, ...]) -> None:
    decided = learned_from(metrics)

    assert "#" in decided.learned_from[0]
    assert "#" not in decided.message
    assert f", the cap of {metric_names.shown(decided.learned_from[0])}" in decided.message


def test_names_are_short_and_have_a_digest_only_where_two_are_the_same() -> None:
    names = metric_names.of((*ALIKE[1], OTHER))

    assert names[2] == "cache"
    assert len(set(names)) == 3
    assert max(map(len, names)) <= 70
    assert metric_names.shown("cache") == "cache"


def test_another_target_is_no_other_metric() -> None:
    """What was learned is kept if a target is edited, as it is for a metric with a name of its own."""
    (one, two), edited = ALIKE[0], metric("queue", 4000, tier="paid")

    assert metric_names.of((one, two)) == metric_names.of((one, edited))
