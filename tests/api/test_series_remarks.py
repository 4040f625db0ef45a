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


TTFT = "histogram_quantile(0.95, sum by (le) (rate(vllm:time_to_first_token_seconds_bucket[5m])))"


@pytest.mark.parametrize(
    "query",
    [
        TTFT,
        f"({TTFT}) * 1000",
        "avg(vllm:num_requests_running)",
        "max(vllm:num_requests_waiting)",
        "max(avg_over_time(my_gpu_util[1m])) or vector(0)",
        "max(job:request_duration_seconds:p95)",
        "min(sglang:num_queue_reqs)",
        "avg(sum by (pod) (vllm:num_requests_waiting))",
        "max(sum by (instance) (vllm:num_requests_waiting))",
        "quantile(0.9, vllm:num_requests_waiting)",
        "sum(rate(latency_sum[1m])) / sum(rate(latency_count[1m]))",
        "100 * sum(cpu_seconds) / sum(cpu_requests)",
        "sum(queue) > bool 10",
        "scalar(avg(vllm:num_requests_waiting))",
        "sum(max(vllm:num_requests_waiting))",
    ],
)
def test_what_does_not_grow_with_the_replicas_is_not_to_be_divided_by_them(query: str) -> None:
    """The default type of KEDA is AverageValue, whatever the query is."""
    (remark,) = series_remarks.of_name(query, by_value=False)

    assert "use a target of type Value" in remark
    assert not [*series_remarks.of_name(query, by_value=True)]


@pytest.mark.parametrize(
    "query",
    [
        "sum(vllm:num_requests_waiting)",
        "sum(rate(requests_total[1m])) * 60",
        "count(vllm:num_requests_waiting)",
        "max(sum(queue))",
        "max(sum by (model) (queue))",
        "sum(max by (pod) (queue))",
        "sum(tokens_waiting) / avg(tokens_per_request)",
        "sum(queue) * scalar(avg(weight))",
        # Several exporters report one queue, which all replicas share.
        'max(rabbitmq_queue_messages_ready{queue="llm"})',
        "max(kafka_consumergroup_lag)",
        "avg(kafka_consumergroup_lag)",
        "min(rabbitmq_queue_messages_ready)",
        "max(job:queue_length:sum)",
        'max(beamlit_demand_replicas{name="llama"})',
        "max(sum by (instance) (rabbitmq_queue_messages_ready))",
        "sum(started_total) - sum(finished_total)",
        "sum(vllm:kv_cache_usage_perc)",
    ],
)
def test_a_total_is_to_be_divided_by_the_replicas(query: str) -> None:
    assert not [*series_remarks.of_name(query, by_value=False)]


@pytest.mark.parametrize(
    ("query", "summed"),
    [
        ("sum(vllm:kv_cache_usage_perc)", True),
        ('sum(avg_over_time(sglang:token_usage{a="b"}[1m]))', True),
        ("(sum((my_cache_ratio)))", True),
        ("sum(DCGM_FI_DEV_GPU_UTIL)", True),
        ("sum(vllm:kv_cache_usage_perc) / count(vllm:kv_cache_usage_perc)", False),
        ("sum(container_memory_usage)", False),
        ("sum(vllm:num_requests_waiting)", False),
        ("sum(rate(errors_ratio[1m]))", False),
        ("avg(vllm:kv_cache_usage_perc)", False),
    ],
)
def test_a_sum_of_fractions_is_told(query: str, summed: bool) -> None:  # noqa: FBT001 - a case of a table
    remarks = [*series_remarks.of_name(query, by_value=True)]

    assert any("is a fraction by its name" in remark for remark in remarks) is summed
    assert summed or not remarks


@pytest.mark.parametrize(
    ("query", "target", "highest"),
    [
        ("max(avg_over_time(vllm:kv_cache_usage_perc[1m]))", "80", "1"),
        ("avg(vllm:kv_cache_usage_perc) or vector(0)", "80", "1"),
        ("quantile(0.9, sglang:token_usage)", "90", "1"),
        ("max(max by (pod) (trtllm_kv_cache_utilization))", "80", "1"),
        ('avg(nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction"})', "80", "1"),
        ("(max(lmdeploy:gpu_cache_usage_perc))", "1", "1"),
        ("100 * avg(vllm:kv_cache_usage_perc)", "800", "100"),
        ("avg(vllm:kv_cache_usage_perc) * 100 / 2", "80", "50"),
        ("sum(queue) > bool 10", "10", "1"),
        ("10 < bool sum(queue)", "1", "1"),
        ("absent(up) or vector(0)", "1", "1"),
        ("clamp_max(sum(queue), 10)", "10", "10"),
        ("clamp(avg(vllm:kv_cache_usage_perc), 0, 5)", "2", "1"),
        ("max(sglang:token_usage > 0.5)", "80", "1"),
    ],
)
def test_a_target_that_a_query_never_exceeds_is_told(
    query: str, target: str, highest: str, prometheus: Settings
) -> None:
    given = notes(external(query.replace("'", "''"), f"Value, value: {target}"), prometheus)

    (remark,) = [each for each in given if "never exceeds" in each]
    assert f"is at most {highest}, so it never exceeds {target}" in remark
    assert "spec.offloadingConfig.metrics[0].external.target.value" in remark


@pytest.mark.parametrize(
    ("query", "target"),
    [
        ("max(avg_over_time(vllm:kv_cache_usage_perc[1m]))", "800m"),
        ("100 * avg(vllm:kv_cache_usage_perc)", "80"),
        ("avg(DCGM_FI_DEV_GPU_UTIL)", "90"),
        ("avg(my_cache_perc) or vector(0)", "80"),
        ('avg(nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="used"})', "80"),
        ("avg(vllm:kv_cache_usage_perc) + max(queue)", "80"),
        ("avg(vllm:kv_cache_usage_perc) or max(queue)", "80"),
        ("clamp_min(avg(vllm:kv_cache_usage_perc), 100)", "80"),
        ("sum(vllm:num_requests_waiting > bool 10)", "3"),
        ("sum(queue) > bool 10", "500m"),
        (TTFT, "2"),
    ],
)
def test_a_target_within_reach_is_not_remarked(query: str, target: str, prometheus: Settings) -> None:
    assert not notes(external(query, f"Value, value: {target}"), prometheus)


@pytest.mark.parametrize(
    ("query", "target", "said"),
    [
        (TTFT, "2000", "in seconds, which never exceeds 2000: write the target in seconds, such as 2 for 2 s"),
        ("max(ttft_milliseconds)", "2", "in milliseconds, which always exceeds 2: write the target in milliseconds"),
        ("max(ttft_milliseconds)", "2000", ""),
        ("max(duration_seconds)", "2000", ""),
    ],
)
def test_a_time_in_another_unit_is_told(query: str, target: str, said: str, prometheus: Settings) -> None:
    given = notes(external(query, f"Value, value: {target}"), prometheus)

    assert said in given[0] if said else not given


def test_a_time_of_the_servers_in_another_unit_is_told() -> None:
    metric = pods("vllm:time_to_first_token_seconds").replace("}, target", ", histogram: {quantile: 0.95}}, target")

    (remark,) = notes(metric.replace("averageValue: 10", "averageValue: 2000"), Settings(), STRAIGHT)

    assert "spec.offloadingConfig.metrics[0].pods.target.averageValue" in remark
    assert not notes(metric, Settings(), STRAIGHT)


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
