"""What `/models` shows: the JSON that is made of the rounds."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any, Protocol

import pytest

from beamlit_controller.api.models_view import ModelsView
from beamlit_controller.api.problems import Problem
from beamlit_controller.controller.ports import Clock
from beamlit_controller.core import cycle
from beamlit_controller.core.decision import REMEMBERED, Decision
from beamlit_controller.core.metric_spec import Aggregation
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import PodSamples, Signals
from beamlit_controller.core.spec import Behavior, ModelKey, RemoteBackend, Scheme
from beamlit_controller.core.traffic import Minute, RequestCounters
from beamlit_controller.telemetry import models
from beamlit_controller.telemetry.models import ModelDetails, ModelsSink
from builders import CPU, NOW, QUEUE, RUNNING, missing, pod_samples, sample, signals, spec

KEY = ModelKey("models", "llama")
SECOND = timedelta(seconds=1)
HALF = Behavior(percentage=50)
AT_ONCE = replace(HALF, release=replace(HALF.release, stabilization_window=timedelta(0)))


class Settable(Clock, Protocol):
    def forward(self, seconds: float) -> None: ...


def told(sink: ModelsSink, read: Signals, previous: Decision | None = None, **changes: object) -> Decision:
    record = cycle.run(spec(**changes), read, previous=previous, now=read.at, took=SECOND / 100, lag=SECOND / 1000)
    sink.record(record)
    return record.decision


def answer(sink: ModelsSink) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(models.as_json(sink.snapshot()))
    return content


def only(sink: ModelsSink) -> dict[str, Any]:
    (model,) = answer(sink)["models"]
    return dict(model)


def test_a_model_is_shown_with_what_was_read_judged_and_decided(clock: Settable) -> None:
    sink = ModelsSink(clock)
    told(sink, signals(value=20, ready=2, total=3), behavior=Behavior(percentage=50))
    clock.forward(2)

    model = only(sink)

    assert (model["namespace"], model["name"], model["model"], model["enabled"]) == ("models", "llama", "llama", True)
    assert (model["at"], model["tookSeconds"], model["lagSeconds"]) == ("2026-06-01T12:00:00Z", 0.01, 0.001)
    assert model["local"] == {"ready": 2, "total": 3}
    assert model["verdict"] == {"judgement": "over", "ratio": 2.0}
    assert model["decision"] == {
        "percentage": 50,
        "reason": "MetricAboveTarget",
        "message": "queue 20 > 10",
        "since": "2026-06-01T12:00:00Z",
        "demand": 2.0,
        "cap": None,
        "enough": True,
    }
    assert model["metrics"] == [
        {
            "name": "queue",
            "selector": "",
            "type": "External",
            "targetType": "Value",
            "target": "10",
            "value": "20",
            "ratio": 2.0,
            "state": "over",
            "ageSeconds": 2.0,
            "since": "2026-06-01T11:59:30Z",
            "until": "2026-06-01T12:00:00Z",
            "missing": None,
            "podFailures": [],
            "aggregated": "",
        }
    ]


def test_a_metric_that_could_not_be_read_says_why_and_has_no_figures(clock: Settable) -> None:
    sink = ModelsSink(clock)

    told(sink, signals(missing(Reason.NO_SERIES, "the query has no result")))

    (metric,) = only(sink)["metrics"]
    assert metric["missing"] == {"reason": "NoSeries", "message": "the query has no result", "lasts": True}
    assert metric["state"] == "unreadable"
    assert [metric[name] for name in ("value", "ratio", "ageSeconds", "since", "until")] == [None] * 5
    assert only(sink)["verdict"] == {"judgement": "unknown", "ratio": None}


def test_pods_that_a_metric_is_known_without_are_named(clock: Settable) -> None:
    sink = ModelsSink(clock)
    reading = PodSamples(pod_samples(4).samples, (("worker-1", missing(Reason.TIMED_OUT, "no answer")),))

    told(sink, signals(reading), metrics=(RUNNING,))

    (metric,) = only(sink)["metrics"]
    assert (metric["value"], metric["target"], metric["state"]) == ("4", "10", "under")
    assert metric["podFailures"] == [{"pod": "worker-1", "reason": "TimedOut", "message": "no answer"}]


def test_a_value_of_several_series_says_how_many_and_how(clock: Settable) -> None:
    sink = ModelsSink(clock)
    per_engine = replace(RUNNING, aggregation=Aggregation.MEAN)
    of_engines = PodSamples(tuple(replace(each, series=8) for each in pod_samples(4, 5).samples))

    told(sink, signals(of_engines, replace(sample(20), series=4)), metrics=(per_engine, QUEUE))

    said = [metric["aggregated"] for metric in only(sink)["metrics"]]
    assert said == ["mean of 8 series per server", "sum of 4 series"]


@pytest.mark.parametrize(
    ("value", "state"), [("10.001", "over"), (10, "between"), ("9.001", "between"), (9, "under"), (0, "under")]
)
def test_the_state_of_a_metric_is_that_of_its_ratio_between_the_tolerances(
    clock: Settable, value: int | str, state: str
) -> None:
    sink = ModelsSink(clock)

    told(sink, signals(value=value))

    assert only(sink)["metrics"][0]["state"] == state


def test_changes_of_the_percentage_are_kept_newest_first(clock: Settable) -> None:
    sink = ModelsSink(clock)
    first = told(sink, signals(value=5), behavior=AT_ONCE)
    second = told(sink, signals(value=20, at=NOW + SECOND), first, behavior=AT_ONCE)
    told(sink, signals(value=0, at=NOW + 60 * SECOND), second, behavior=AT_ONCE)

    model = only(sink)

    assert [
        (change["previous"], change["percentage"], change["reason"], change["at"]) for change in model["changes"]
    ] == [
        (50, 0, "MetricBelowTarget", "2026-06-01T12:01:00Z"),
        (0, 50, "MetricAboveTarget", "2026-06-01T12:00:01Z"),
    ]
    assert model["lastChange"] == model["changes"][0]


def test_a_model_that_never_changed_has_no_last_change(clock: Settable) -> None:
    sink = ModelsSink(clock)

    told(sink, signals(value=5))

    assert (only(sink)["lastChange"], only(sink)["changes"]) == (None, [])


def test_a_restored_decision_brings_its_changes_and_is_none_itself(clock: Settable) -> None:
    before = told(ModelsSink(clock), signals(value=20))
    sink = ModelsSink(clock)

    told(sink, signals(value=20, at=NOW + SECOND), before)

    assert only(sink)["decision"]["percentage"] == 100
    assert [(change["previous"], change["percentage"]) for change in only(sink)["changes"]] == [(0, 100)]


def test_only_the_latest_changes_are_kept(clock: Settable) -> None:
    sink, previous = ModelsSink(clock), None
    for number in range(2 * REMEMBERED):
        percentage = 10 + number
        previous = told(sink, signals(value=20, at=NOW + number * SECOND), previous, behavior=Behavior(percentage))

    shown = [change["percentage"] for change in only(sink)["changes"]]

    assert shown == list(range(9 + 2 * REMEMBERED, 9 + REMEMBERED, -1))


def test_a_failed_round_is_shown_beside_the_last_good_one_until_the_next(clock: Settable) -> None:
    sink = ModelsSink(clock)
    told(sink, signals(value=20))
    clock.forward(5)

    sink.failed(KEY, RuntimeError("unexpected"))

    assert only(sink)["failure"] == {"at": "2026-06-01T12:00:05Z", "error": "RuntimeError('unexpected')"}
    assert only(sink)["decision"]["percentage"] == 100
    told(sink, signals(value=20))
    assert only(sink)["failure"] is None


def test_a_model_whose_rounds_all_failed_is_waiting(clock: Settable) -> None:
    sink = ModelsSink(clock)

    sink.failed(KEY, RuntimeError("unexpected"))

    failure = {"at": "2026-06-01T12:00:00Z", "error": "RuntimeError('unexpected')"}
    assert answer(sink)["waiting"] == [{"namespace": "models", "name": "llama", "failure": failure}]
    assert answer(sink)["models"] == []
    assert json.loads(models.one_as_json(sink.snapshot(KEY)))["failure"] == failure


def test_a_forgotten_model_is_not_shown(clock: Settable) -> None:
    sink = ModelsSink(clock)
    told(sink, signals())
    told(sink, signals(), key=ModelKey("models", "mistral"))

    sink.forget(KEY)

    assert [model["name"] for model in answer(sink)["models"]] == ["mistral"]
    assert sink.keys() == [ModelKey("models", "mistral")]


def test_models_are_in_order_and_one_can_be_had_alone(clock: Settable) -> None:
    sink = ModelsSink(clock)
    for name in ("b", "a", "c"):
        told(sink, signals(), key=ModelKey("models", name))

    assert [model["name"] for model in answer(sink)["models"]] == ["a", "b", "c"]
    assert json.loads(models.one_as_json(sink.snapshot(ModelKey("models", "b"))))["name"] == "b"


def test_what_surrounds_a_model_is_asked_for_when_somebody_looks(clock: Settable) -> None:
    gateways: dict[ModelKey, dict[str, object]] = {}
    mistakes: list[Problem] = []
    around = ModelDetails(
        gateway=lambda key: gateways.get(key, {}),
        notices=lambda key: (f"{key} is noticed",),
        problems=lambda: mistakes,
    )
    sink = ModelsSink(clock, around)
    told(sink, signals())
    assert only(sink)["gateway"] is None

    gateways[KEY] = {"pid": 12, "listen": "127.0.0.1:8080", "connected": True, "restarts": 0}
    mistakes.append(Problem("llama.yaml", "spec.modle", "no such field, did you mean model?"))

    assert only(sink)["gateway"] == gateways[KEY]
    assert only(sink)["notices"] == ["models/llama is noticed"]
    assert answer(sink)["problems"] == [
        {"where": "llama.yaml", "field": "spec.modle", "message": "no such field, did you mean model?"}
    ]


def test_what_is_on_its_way_is_shown_with_the_seconds_left(clock: Settable) -> None:
    sink = ModelsSink(clock)
    first = told(sink, signals(value=20), behavior=HALF)
    told(sink, signals(value=0, at=NOW + 40 * SECOND), first, behavior=HALF)
    clock.forward(50)

    assert only(sink)["timers"] == {
        "engagesIn": None,
        "releasesIn": 50.0,
        "trialReleaseIn": None,
        "metricsLostIn": None,
    }
    assert only(sink)["outlook"] == ["releases in 50 s if demand stays at 90% of the target or less"]


def test_the_remote_and_dry_run_are_told_with_the_whole_spec(clock: Settable) -> None:
    sink = ModelsSink(clock)
    remote = RemoteBackend(Scheme.HTTPS, "api.example.com", 443, "/models/llama")

    told(sink, signals(), remote=remote, behavior=Behavior(dry_run=True))

    assert only(sink)["remote"] == "https://api.example.com/models/llama"
    assert only(sink)["dryRun"] is True
    assert only(sink)["spec"]["remote"]["host"] == "api.example.com"
    assert only(sink)["spec"]["behavior"]["dryRun"] is True


def test_several_remotes_are_told_by_name_in_their_order(clock: Settable) -> None:
    sink = ModelsSink(clock)
    one = RemoteBackend(Scheme.HTTPS, "one.example.com", 443, "/v1", name="one")
    two = RemoteBackend(Scheme.HTTP, "10.0.0.8", 8000, name="two")

    told(sink, signals(), remote=one, next_remotes=(two,))

    assert only(sink)["remotes"] == [
        {"name": "one", "address": "https://one.example.com/v1", "weight": None},
        {"name": "two", "address": "http://10.0.0.8:8000", "weight": None},
    ]


def test_who_reads_the_answer_with_our_views_gets_the_same(clock: Settable) -> None:
    sink = ModelsSink(clock)
    told(sink, signals(sample(20), missing()), metrics=(QUEUE, CPU))

    read = ModelsView.model_validate_json(models.as_json(sink.snapshot()))

    assert read == models.view(sink.snapshot())


def test_what_really_happened_is_shown_beside_what_was_decided(clock: Settable) -> None:
    """With everything sent away because local was down, all that was shown was a share of 0."""
    seen = Minute(timedelta(seconds=60), RequestCounters(in_flight=0, unavailable=120))
    sink = ModelsSink(clock, ModelDetails(minute=lambda _: seen))
    told(sink, signals(value=2, ready=0, total=1))

    traffic = only(sink)["traffic"]

    assert (traffic["localPerSecond"], traffic["remotePerSecond"], traffic["sent"]) == (0, 2, 1)
    assert traffic["left"] == {"share": 0, "overflow": 0, "unavailable": 1, "forced": 0}
    assert traffic["text"].startswith("0/s local, 2/s remote: 100 % went to the remote (100 % unavailable)")
