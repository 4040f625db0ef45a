"""A preset stands for ordinary metrics, read from the servers."""

from collections.abc import Callable
from typing import Any, get_args

import pytest

from beamlit_controller.api import presets
from beamlit_controller.api.manifests import Parsed
from beamlit_controller.api.offloading import OffloadingConfig
from beamlit_controller.core.spec import AverageValue, MetricIdentifier, PodsMetric

Read = Callable[..., Parsed]
HERE: dict[str, Any] = {
    "serviceRef": {"name": "a", "targetPort": 80},
    "metricServiceRef": {"name": "a", "targetPort": 80},
}


@pytest.mark.parametrize("name", sorted(presets.PRESETS))
def test_every_preset_gives_metrics_and_is_told_nothing_more(read: Read, name: str) -> None:
    parsed = read({"preset": name}, spec=HERE)

    (spec,) = parsed.specs
    assert spec.metrics == presets.PRESETS[name]
    assert not parsed.notices


def test_what_can_be_written_is_what_is_there() -> None:
    written, _ = get_args(OffloadingConfig.model_fields["preset"].annotation)

    assert set(get_args(written)) == set(presets.PRESETS)


def test_metrics_beside_a_preset_come_first_and_one_of_the_same_name_goes_before(read: Read) -> None:
    own = {"metric": {"name": "vllm:num_requests_waiting"}, "target": {"type": "AverageValue", "averageValue": "2"}}
    (spec,) = read({"preset": "vllm", "metrics": [{"type": "Pods", "pods": own}]}, spec=HERE).specs

    assert spec.metrics == (
        PodsMetric(MetricIdentifier("vllm:num_requests_waiting"), AverageValue(2000)),
        PodsMetric(MetricIdentifier("vllm:kv_cache_usage_perc"), AverageValue(800)),
    )


def test_a_preset_that_is_not_there_is_answered_with_the_nearest(read: Read) -> None:
    (problem,) = read({"preset": "vlm"}, spec=HERE).problems

    assert problem.field == "spec.offloadingConfig.preset"
    assert problem.message == (
        'expected one of vllm, sglang, tgi, triton, ray-serve, llamacpp, got "vlm"; did you mean vllm?'
    )


def test_a_preset_needs_to_know_where_the_servers_metrics_are(read: Read) -> None:
    (problem,) = read({"preset": "vllm"}).problems

    assert problem.field == "spec.metricServiceRef"
    assert problem.message == "required beside offloadingConfig.preset: its metrics are read from the servers"
