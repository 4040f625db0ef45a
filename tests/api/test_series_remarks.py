"""What `check` says of the series that a metric reads as they are."""

import pytest

from beamlit_controller.api import manifests, series_remarks
from beamlit_controller.api.settings import Settings

MODEL = """
apiVersion: deployment.beamlit.com/v1alpha1
kind: ModelDeployment
metadata: {{name: llama}}
spec:
  modelSourceRef: {{apiVersion: apps/v1, kind: Deployment, name: llama}}
  serviceRef: {{name: llama, targetPort: 8000}}
  {straight}
  offloadingConfig:
    remoteBackend: {{host: api.example.com}}
    metrics: [{metric}]
"""
STRAIGHT = "metricServiceRef: {name: llama, targetPort: 8000}"


def external(name: str, target: str = "Value, value: 10") -> str:
    return f"{{type: External, external: {{metric: {{name: '{name}'}}, target: {{type: {target}}}}}}}"


def pods(name: str) -> str:
    return f"{{type: Pods, pods: {{metric: {{name: '{name}'}}, target: {{type: AverageValue, averageValue: 10}}}}}}"


def notes(metric: str, settings: Settings, straight: str = "") -> list[str]:
    parsed = manifests.parse(MODEL.format(metric=metric, straight=straight), settings=settings)
    assert not parsed.problems
    return [str(each) for each in parsed.notices if "metrics[0]" in str(each)]


# A fraction of each pod is summed over the pods; an average divides it by their number again.
@pytest.mark.parametrize(
    ("name", "by_value", "said"),
    [
        (
            "vllm:kv_cache_usage_perc",
            True,
            "use a target of type AverageValue, or the query avg(vllm:kv_cache_usage_perc)",
        ),
        ("DCGM_FI_DEV_GPU_UTIL", True, "avg(DCGM_FI_DEV_GPU_UTIL)"),
        ("sglang:token_usage", True, "by its name it is a fraction"),
        ("vllm:generation_tokens_total", False, "is a counter by its name"),
        ("sum(vllm:num_requests_waiting) > 10", False, "is a filter"),
    ],
)
def test_what_a_name_gives_is_told(name: str, by_value: bool, said: str) -> None:  # noqa: FBT001 - a case of a table
    assert any(said in remark for remark in series_remarks.of_name(name, by_value=by_value))


@pytest.mark.parametrize(
    ("name", "by_value"),
    [("vllm:kv_cache_usage_perc", False), ("vllm:num_requests_waiting", True), ("avg(vllm:kv_cache_usage_perc)", True)],
)
def test_of_what_is_meant_nothing_is_told(name: str, by_value: bool) -> None:  # noqa: FBT001 - a case of a table
    assert not [*series_remarks.of_name(name, by_value=by_value)]


def test_check_tells_it_with_the_place(prometheus: Settings) -> None:
    (counter,) = notes(external("requests_total"), prometheus)

    assert "spec.offloadingConfig.metrics[0].external.metric.name" in counter
    assert "fraction" in " ".join(notes(external("gpu_usage", "Value, value: 1"), prometheus))
    assert not notes(external("gpu_usage", "AverageValue, averageValue: 1"), prometheus)


def test_a_counter_of_the_servers_is_told_where_it_is_read_from_them() -> None:
    (counter,) = notes(pods("requests_total"), Settings(), STRAIGHT)

    assert "spec.offloadingConfig.metrics[0].pods.metric.name" in counter
    assert not notes(pods("requests_total"), Settings())
    assert not notes(external("requests_total"), Settings())


def test_a_selector_beside_another_products_name_says_that_it_is_no_name(prometheus: Settings) -> None:
    metric = external("sqs-messages-visible").replace("}, target", ", selector: {matchLabels: {queue: a}}}, target")

    parsed = manifests.parse(MODEL.format(metric=metric, straight=""), settings=prometheus)

    assert '"sqs-messages-visible" is not one' in str(parsed.problems[0])
