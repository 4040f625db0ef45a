"""A preset stands for ordinary metrics, read from the servers."""

from collections.abc import Callable
from typing import Any, get_args

import pytest

from beamlit_controller.api import presets
from beamlit_controller.api.manifests import Parsed
from beamlit_controller.api.offloading import OffloadingConfig
from beamlit_controller.core.metric_spec import Aggregation, AverageValue, PodsMetric, SeriesSelector, SlotsPage
from beamlit_controller.core.spec import Mode

Read = Callable[..., Parsed]
HERE: dict[str, Any] = {
    "serviceRef": {"name": "a", "targetPort": 80},
    "metricServiceRef": {"name": "a", "targetPort": 80},
}


@pytest.mark.parametrize("name", sorted(set(presets.PRESETS) - set(presets.WITHOUT_METRICS)))
def test_every_preset_gives_metrics_and_is_told_nothing_more(read: Read, name: str) -> None:
    parsed = read({"preset": name}, spec=HERE)

    (spec,) = parsed.specs
    assert spec.metrics == presets.PRESETS[name]
    assert not parsed.notices


def test_a_queue_whose_server_tells_its_slots_does_so_with_a_target_of_the_user_too(read: Read) -> None:
    own = {"metric": {"name": "llamacpp:requests_deferred"}, "target": {"type": "AverageValue", "averageValue": "3"}}

    (spec,) = read({"metrics": [{"type": "Pods", "pods": own}]}, spec=HERE).specs

    (metric,) = spec.metrics
    assert isinstance(metric, PodsMetric)
    assert metric.slots == SlotsPage("/props", "total_slots")


@pytest.mark.parametrize("name", sorted(set(presets.PRESETS) - set(presets.WITHOUT_METRICS)))
@pytest.mark.parametrize("behavior", [{}, {"percentage": 30}, {"onMetricsLoss": "Release"}])
def test_a_preset_without_a_mode_means_adaptive(read: Read, name: str, behavior: dict[str, Any]) -> None:
    (spec,) = read({"preset": name, "behavior": behavior}, spec=HERE).specs

    assert spec.behavior.mode is Mode.ADAPTIVE
    assert spec.behavior.percentage == behavior.get("percentage", 100)


@pytest.mark.parametrize("mode", list(Mode))
def test_the_mode_that_is_written_beside_a_preset_counts(read: Read, mode: Mode) -> None:
    (spec,) = read({"preset": "vllm", "behavior": {"mode": mode.value}}, spec=HERE).specs

    assert spec.behavior.mode is mode


def test_metrics_without_a_preset_and_a_mode_mean_fixed(read: Read) -> None:
    own = {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "2"}}

    (spec,) = read({"metrics": [{"type": "Pods", "pods": own}], "behavior": {"percentage": 50}}).specs

    assert (spec.behavior.mode, spec.overflow.on_status) == (Mode.FIXED, ())


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("vllm", (503,)),
        ("sglang", (503,)),
        ("tgi", (429,)),
        ("ray-serve", (429, 503)),
        ("llamacpp", (503,)),
        ("dcgm", ()),
    ],
)
def test_a_preset_brings_the_answers_by_which_its_server_says_that_it_is_full(
    read: Read, preset: str, expected: tuple[int, ...]
) -> None:
    (spec,) = read({"preset": preset}, spec=HERE).specs

    assert spec.overflow.on_status == expected


@pytest.mark.parametrize("written", [[], [418]])
def test_answers_that_are_written_beside_a_preset_count_an_empty_list_too(read: Read, written: list[int]) -> None:
    (spec,) = read({"preset": "vllm", "overflow": {"onStatus": written}}, spec=HERE).specs

    assert spec.overflow.on_status == tuple(written)


def test_ollama_has_no_metrics_so_its_preset_needs_no_place_of_them_and_says_so(read: Read) -> None:
    limited, unlimited = (
        read({"preset": "ollama", "overflow": {"maxInFlightPerReplica": 4}}),
        read({"preset": "ollama"}),
    )

    (spec,), (notice,) = limited.specs, unlimited.notices
    assert (spec.metrics, spec.behavior.mode, spec.overflow.on_status) == ((), Mode.FIXED, (503,))
    assert "no metric is given" in notice.message
    assert not limited.notices


@pytest.mark.parametrize(
    ("behavior", "field"),
    [
        ({"engage": {"stepPercentage": 20}}, "engage.stepPercentage"),
        ({"engage": {"periodSeconds": 30}}, "engage.periodSeconds"),
        ({"release": {"stabilizationWindowSeconds": 10}}, "release"),
    ],
)
def test_what_adaptive_mode_does_not_obey_is_said_with_who_chose_the_mode(
    read: Read, behavior: dict[str, Any], field: str
) -> None:
    (implied,) = read({"preset": "vllm", "behavior": behavior}, spec=HERE).notices
    (written,) = read({"preset": "vllm", "behavior": {"mode": "Adaptive"} | behavior}, spec=HERE).notices

    assert implied.field == written.field == f"spec.offloadingConfig.behavior.{field}"
    assert "which preset implies" in implied.message
    assert written.message == "no effect in Adaptive mode"


def test_what_the_api_server_fills_in_is_not_taken_for_the_user_s_word(read: Read) -> None:
    filled = {
        "engage": {"stabilizationWindowSeconds": 0, "tolerance": "0", "stepPercentage": 100, "periodSeconds": 15},
        "release": {"stabilizationWindowSeconds": 60, "tolerance": "0.1", "stepPercentage": 100, "periodSeconds": 15},
    }

    assert not read({"preset": "vllm", "behavior": filled}, spec=HERE).notices


def test_what_can_be_written_is_what_is_there() -> None:
    written, _ = get_args(OffloadingConfig.model_fields["preset"].annotation)

    assert set(get_args(written)) == set(presets.PRESETS)


def test_metrics_beside_a_preset_come_first_and_one_of_the_same_name_goes_before(read: Read) -> None:
    own = {"metric": {"name": "vllm:num_requests_waiting"}, "target": {"type": "AverageValue", "averageValue": "2"}}
    (spec,) = read({"preset": "vllm", "metrics": [{"type": "Pods", "pods": own}]}, spec=HERE).specs

    assert spec.metrics == (
        PodsMetric(SeriesSelector("vllm:num_requests_waiting"), AverageValue(2000), Aggregation.MEAN, waiting=True),
        presets.PRESETS["vllm"][1],
    )


def test_a_metric_of_ones_own_replaces_the_presets_by_any_of_its_names(read: Read) -> None:
    own = {"metric": {"name": "vllm:gpu_cache_usage_perc"}, "target": {"type": "AverageValue", "averageValue": "0.5"}}
    (spec,) = read({"preset": "vllm", "metrics": [{"type": "Pods", "pods": own}]}, spec=HERE).specs

    assert [metric.metric.name for metric in spec.metrics if isinstance(metric, PodsMetric)] == [
        "vllm:gpu_cache_usage_perc",
        "vllm:num_requests_waiting",
    ]


@pytest.mark.parametrize("chosen", ["Sum", "Mean", "Max", "Min"])
def test_the_aggregation_of_ones_own_metric_is_as_written(read: Read, chosen: str) -> None:
    own = {"metric": {"name": "a", "aggregation": chosen}, "target": {"type": "AverageValue", "averageValue": "2"}}
    (spec,) = read({"metrics": [{"type": "Pods", "pods": own}]}, spec=HERE).specs

    assert spec.metrics == (PodsMetric(SeriesSelector("a"), AverageValue(2000), Aggregation(chosen)),)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("queue", Aggregation.SUM),
        ("vllm:kv_cache_usage_perc", Aggregation.MEAN),
        ("vllm:gpu_cache_usage_perc", Aggregation.MEAN),
        ("sglang:token_usage", Aggregation.MEAN),
        ("tgi_queue_size", Aggregation.SUM),
    ],
)
def test_without_a_word_a_fraction_of_a_preset_is_a_mean_and_all_else_a_sum(name: str, expected: Aggregation) -> None:
    assert presets.aggregation(name) is expected


def test_an_aggregation_has_no_effect_where_an_adapter_gives_one_value_for_each_pod(read: Read) -> None:
    own = {"metric": {"name": "a", "aggregation": "Max"}, "target": {"type": "AverageValue", "averageValue": "2"}}
    (notice,) = read({"metrics": [{"type": "Pods", "pods": own}]}).notices

    assert notice.field == "spec.offloadingConfig.metrics[0].pods.metric.aggregation"
    assert "metricServiceRef" in notice.message


def test_a_preset_that_is_not_there_is_answered_with_the_nearest(read: Read) -> None:
    (problem,) = read({"preset": "vlm"}, spec=HERE).problems

    assert problem.field == "spec.offloadingConfig.preset"
    assert problem.message == (
        "expected one of vllm, sglang, tgi, tei, triton, triton-trtllm, trtllm, nim, lmdeploy, ray-serve, llamacpp, ollama, dcgm, "
        'got "vlm"; did you mean vllm?'
    )


def test_a_preset_needs_to_know_where_the_servers_metrics_are(read: Read) -> None:
    (problem,) = read({"preset": "vllm"}).problems

    assert problem.field == "spec.metricServiceRef"
    assert problem.message == "required together with offloadingConfig.preset: its metrics are read from the servers"
