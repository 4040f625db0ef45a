"""What the metrics APIs answer, as readings: what is not right is Missing with its reason, and never 0."""

import re
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing, PodSample, PodSamples, Sample
from beamlit_controller.kubernetes import metrics_answers

Json = dict[str, Any]
AT = "2026-06-01T12:00:00Z"
NOW = datetime(2026, 6, 1, 12, 0, 30, tzinfo=UTC)


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
    reading = metrics_answers.resource({"items": [usage(main="156340393n", log="1n")]}, "cpu", None, at=NOW)

    assert isinstance(reading, PodSamples)
    (sample,) = reading.samples
    assert (sample.milli, sample.window) == (158, timedelta(seconds=15))


@pytest.mark.parametrize("log", [{"usage": {"memory": "1Ki"}}, {"usage": {}}, {"usage": None}, {}])
def test_a_pod_with_a_container_that_lacks_the_resource_has_no_value(log: Json) -> None:
    lacking = usage("two", main="1")
    lacking["containers"].append({"name": "log", **log})

    reading = metrics_answers.resource({"items": [usage(main="1"), lacking, usage("three")]}, "cpu", None, at=NOW)

    assert isinstance(reading, PodSamples)
    assert [sample.pod for sample in reading.samples] == ["one"]


def test_one_container_is_looked_at_alone() -> None:
    reading = metrics_answers.resource(
        {"items": [usage(main="1", log="2"), usage("two", main="1")]}, "cpu", "log", at=NOW
    )

    assert isinstance(reading, PodSamples)
    assert [(sample.pod, sample.milli) for sample in reading.samples] == [("one", 2000)]


def test_of_two_values_of_a_pod_the_last_counts() -> None:
    reading = metrics_answers.pods({"items": [value("1"), value("2")]}, at=NOW)

    assert isinstance(reading, PodSamples)
    assert [sample.milli for sample in reading.samples] == [2000]


def test_external_values_are_summed_and_both_names_of_the_window_are_read() -> None:
    reading = metrics_answers.external(
        {"items": [value("1500m", windowSeconds=10), value("2", window=30), value(3)]}, at=NOW
    )

    assert isinstance(reading, Sample)
    assert (reading.milli, reading.window) == (6500, timedelta(seconds=60))


def test_a_value_without_a_window_may_have_the_time_of_a_query() -> None:
    """Adapters stamp it so: a value with a window was measured over that."""
    without = metrics_answers.external({"items": [value(1, windowSeconds=10), value(2)]}, at=NOW)
    with_one = metrics_answers.external({"items": [value(1, windowSeconds=10), value(2, window=0)]}, at=NOW)
    of_pods = metrics_answers.pods({"items": [value(1)]}, at=NOW)

    assert isinstance(without, Sample)
    assert isinstance(with_one, Sample)
    assert isinstance(of_pods, PodSamples)
    assert (without.undated, with_one.undated) == (True, False)
    assert [each.undated for each in of_pods.samples] == [True]


@pytest.mark.parametrize("time", [{"timestamp": None}, {"timestamp": "0001-01-01T00:00:00Z"}, {}])
def test_a_value_without_a_time_is_used_as_one_of_unknown_age(time: Json) -> None:
    """Go writes the zero time of an adapter that sets none as null, and the HPA looks at no time. It was malformed."""
    item = {key: each for key, each in value("5", windowSeconds=10).items() if key != "timestamp"} | time
    of_external = metrics_answers.external({"items": [item, value("1", windowSeconds=10)]}, at=NOW)
    of_object = metrics_answers.one_object({"items": [item]}, at=NOW)
    of_pods = metrics_answers.pods({"items": [item]}, at=NOW)

    assert of_external == Sample(6000, NOW, timedelta(seconds=10), undated=True)
    assert of_object == Sample(5000, NOW, timedelta(seconds=10), undated=True)
    assert of_pods == PodSamples((PodSample("one", 5000, NOW, timedelta(seconds=10), undated=True),))


def test_the_usage_of_a_pod_without_a_time_or_a_window_is_used() -> None:
    item = usage(main="1") | {"timestamp": None, "window": None}

    reading = metrics_answers.resource({"items": [item]}, "cpu", None, at=NOW)

    assert reading == PodSamples((PodSample("one", 1000, NOW, timedelta(0), undated=True),))


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (
            value("5", timestamp="2026-06-01t12:00:00z"),
            'expected a time such as 2006-01-02T15:04:05Z as timestamp, got "2026',
        ),
        (value("5", timestamp=5), "as timestamp, got 5"),
        (value("5", timestamp="1970-01-01T00:00:00Z"), "as timestamp, got"),
        (value("5", windowSeconds="60"), 'expected a window in seconds, got "60"'),
        (value("5", windowSeconds=1e400), "expected a window, a duration of at most 24 h, got a number out of range"),
        (value(None), "expected a quantity as value, got nothing"),
        (value({}), "expected a quantity as value, got a mapping"),
        (value("5", windowSeconds=10**400), "expected a window, a duration of at most 24 h, got a number out of range"),
        (value("5", timestamp=10**400), "as timestamp, got a number out of range"),
        (value(10**200), "expected a quantity as value, got a number out of range"),
        ("x", "expected objects in items, got"),
        (None, "expected objects in items, got"),
    ],
)
def test_a_malformed_value_is_described_without_words_of_python(item: object, said: str) -> None:
    reading = metrics_answers.external({"items": [item]}, at=NOW)

    assert isinstance(reading, Missing)
    assert reading.reason is Reason.MALFORMED_ANSWER
    assert said in reading.message
    assert not re.search(r"Error|None|isoformat|NoneType|dict", reading.message)


def test_an_object_has_one_value() -> None:
    assert isinstance(metrics_answers.one_object({"items": [value()]}, at=NOW), Sample)
    refused = metrics_answers.one_object({"items": [value(), value()]}, at=NOW)

    assert isinstance(refused, Missing)
    assert "got 2" in refused.message


READERS = [
    partial(metrics_answers.resource, name="cpu", container=None, at=NOW),
    partial(metrics_answers.pods, at=NOW),
    partial(metrics_answers.one_object, at=NOW),
    partial(metrics_answers.external, at=NOW),
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


@pytest.mark.parametrize("text", ["", "30", "s", "1 m", "-1s", "1d", "1.2.3s", ".s", None, 5])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        metrics_answers.duration(text)
