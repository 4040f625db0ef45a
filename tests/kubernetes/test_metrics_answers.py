"""What the metrics APIs answer, as readings: what is not right is Missing with its reason, and never 0."""

from datetime import timedelta
from typing import Any

import pytest

from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing, PodSamples, Sample
from beamlit_controller.kubernetes import metrics_answers

Json = dict[str, Any]
AT = "2026-06-01T12:00:00Z"


def usage(name: str = "one", **containers: str) -> Json:
    return {
        "metadata": {"name": name},
        "timestamp": AT,
        "window": "15s",
        "containers": [{"name": each, "usage": {"cpu": cpu}} for each, cpu in containers.items()],
    }


def value(amount: object = "5", name: str = "one", **changes: Any) -> Json:  # noqa: ANN401 - whatever an item has
    return {"describedObject": {"name": name}, "timestamp": AT, "value": amount, **changes}


def test_a_pod_uses_the_sum_of_its_containers_each_rounded_up() -> None:
    reading = metrics_answers.resource({"items": [usage(main="156340393n", log="1n")]}, "cpu", None)

    assert isinstance(reading, PodSamples)
    (sample,) = reading.samples
    assert (sample.milli, sample.window) == (158, timedelta(seconds=15))


@pytest.mark.parametrize("log", [{"usage": {"memory": "1Ki"}}, {"usage": {}}, {"usage": None}, {}])
def test_a_pod_with_a_container_that_lacks_the_resource_has_no_value(log: Json) -> None:
    lacking = usage("two", main="1")
    lacking["containers"].append({"name": "log", **log})

    reading = metrics_answers.resource({"items": [usage(main="1"), lacking, usage("three")]}, "cpu", None)

    assert isinstance(reading, PodSamples)
    assert [sample.pod for sample in reading.samples] == ["one"]


def test_one_container_is_looked_at_alone() -> None:
    reading = metrics_answers.resource({"items": [usage(main="1", log="2"), usage("two", main="1")]}, "cpu", "log")

    assert isinstance(reading, PodSamples)
    assert [(sample.pod, sample.milli) for sample in reading.samples] == [("one", 2000)]


def test_of_two_values_of_a_pod_the_last_counts() -> None:
    reading = metrics_answers.pods({"items": [value("1"), value("2")]})

    assert isinstance(reading, PodSamples)
    assert [sample.milli for sample in reading.samples] == [2000]


def test_external_values_are_summed_and_both_names_of_the_window_are_read() -> None:
    reading = metrics_answers.external({"items": [value("1500m", windowSeconds=10), value("2", window=30), value(3)]})

    assert isinstance(reading, Sample)
    assert (reading.milli, reading.window) == (6500, timedelta(seconds=60))


def test_a_value_without_a_window_may_have_the_time_of_a_query() -> None:
    """Adapters stamp it so: a value with a window was measured over that."""
    without = metrics_answers.external({"items": [value(1, windowSeconds=10), value(2)]})
    with_one = metrics_answers.external({"items": [value(1, windowSeconds=10), value(2, window=0)]})
    of_pods = metrics_answers.pods({"items": [value(1)]})

    assert isinstance(without, Sample)
    assert isinstance(with_one, Sample)
    assert isinstance(of_pods, PodSamples)
    assert (without.undated, with_one.undated) == (True, False)
    assert [each.undated for each in of_pods.samples] == [True]


def test_an_object_has_one_value() -> None:
    assert isinstance(metrics_answers.one_object({"items": [value()]}), Sample)
    refused = metrics_answers.one_object({"items": [value(), value()]})

    assert isinstance(refused, Missing)
    assert "got 2" in refused.message


READERS = [
    lambda answer: metrics_answers.resource(answer, "cpu", None),
    metrics_answers.pods,
    metrics_answers.one_object,
    metrics_answers.external,
]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("answer", [{}, {"items": None}, {"items": []}])
def test_an_empty_list_is_no_value(read: Any, answer: Json) -> None:  # noqa: ANN401 - one of the readers
    reading = read(answer)

    assert isinstance(reading, Missing)
    assert reading.reason is Reason.NO_SERIES


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "item",
    [
        {},
        [],
        "x",
        None,
        {
            **value("1"),
            "metadata": {"name": "one"},
            "timestamp": "yesterday",
            "containers": [{"name": "a", "usage": {"cpu": "1"}}],
        },
        {
            **value("1"),
            "metadata": {"name": "one"},
            "timestamp": "2026-06-01T12:00:00",
            "window": "1s",
            "containers": [{"name": "a", "usage": {"cpu": "1"}}],
        },
        {
            **value("NaN"),
            "metadata": {"name": "one"},
            "containers": [{"name": "a", "usage": {"cpu": "NaN"}}],
            "window": "1s",
        },
        {
            **value("1"),
            "window": "soon",
            "metadata": {"name": "one"},
            "containers": [{"name": "a", "usage": {"cpu": "1"}}],
        },
    ],
)
def test_what_is_no_value_is_said_and_never_counted(read: Any, item: object) -> None:  # noqa: ANN401 - the same
    reading = read({"items": [item]})

    assert isinstance(reading, Missing)
    assert reading.reason is Reason.MALFORMED_ANSWER


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("1m0s", 60), ("17.5s", 17.5), ("1h1m1s", 3661), ("250ms", 0.25), ("0", 0)]
)
def test_reads_durations_as_go_prints_them(text: str, seconds: float) -> None:
    assert metrics_answers.duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "30", "s", "1 m", "-1s", "1d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        metrics_answers.duration(text)
