"""Which metrics and queries are known to be a time to the first token or byte, and in which unit."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamlit_controller.api import first_byte_queries
from beamlit_controller.core.metric_spec import FirstByte

MILLISECONDS = FirstByte(Fraction(1, 1000))
SUM = "sum(rate(vllm:time_to_first_token_seconds_sum[1m]))"
COUNT = "sum(rate(vllm:time_to_first_token_seconds_count[1m]))"


@pytest.mark.parametrize(
    "query",
    [
        "histogram_quantile(0.95, sum by (le) (rate(vllm:time_to_first_token_seconds_bucket[5m])))",
        "histogram_quantile(0.5, sum(rate(sglang:time_to_first_token_seconds[5m])))",
        "histogram_avg(sum(rate(sglang:time_to_first_token_seconds[5m])))",
        f"{SUM} / {COUNT}",
        f"({SUM} / ({COUNT} > 0)) or vector(0)",
        f"{SUM} / clamp_min({COUNT}, 0.1)",
        "sum(increase(chat_ttft_seconds_sum[2m])) / sum(increase(chat_ttft_seconds_count[2m]))",
        "max(histogram_quantile(0.9, rate(chat_ttft_seconds_bucket[1m]))) > 0",
        "max(histogram_quantile(0.9, sum by (le, pod) (rate(chat_ttft_seconds_bucket[1m]))))",
        "avg(max_over_time(app_time_to_first_byte_seconds{quantile='0.95'}[1m]))",
        "clamp_max(max(job:ttft_seconds:p95), 60)",
        "quantile(0.9, job:ttft_seconds:p95_5m)",
        "job:ttft_seconds:p95",
        "chat_ttft_seconds{quantile='0.95'}",
        "vllm.ttft_seconds.avg",
    ],
)
def test_a_time_to_the_first_token_is_known_by_the_names_of_its_series(query: str) -> None:
    known = first_byte_queries.of_query(query)

    assert known is not None
    assert known.unit == 1


@pytest.mark.parametrize(
    ("query", "quantile"),
    [
        ("histogram_quantile(0.95, sum by (le) (rate(vllm:time_to_first_token_seconds_bucket[5m])))", "0.95"),
        ("max(histogram_quantile(.5, sum by (le, pod) (rate(chat_ttft_seconds_bucket[1m])))) or vector(0)", "0.5"),
        ("avg(chat_ttft_seconds{quantile='0.99'})", "0.99"),
        ("avg(chat_ttft_seconds{quantile=~'0.99'})", "0.99"),
        ("job:ttft_seconds:p95", "0.95"),
        ("chat_ttft_ms_p50", "0.5"),
        ("chat_ttft_ms_p999", "0.999"),
        ("chat_ttft_ms.p5", "0.05"),
        ("chat_ttft_seconds_p100", "0.99"),
        ("chat_ttft_seconds:max:5m", "0.99"),
        ("quantile(0.5, job:ttft_seconds:p95_5m)", "0.95"),
        ("histogram_avg(sum(rate(sglang:time_to_first_token_seconds[5m])))", None),
        (f"{SUM} / {COUNT}", None),
        ("avg(chat_ttft_seconds{quantile!='0.99'})", None),
        ("avg(chat_ttft_seconds{quantile='NaN'})", None),
        ("avg(chat_ttft_seconds{quantile='1e-99999999'})", None),
        ("avg(chat_ttft_seconds{quantile='0.0'})", None),
        ("chat_ttft_seconds:avg", None),
        ("chat_ttft_seconds_p0", None),
    ],
)
def test_which_quantile_it_is_is_told_by_the_function_the_label_or_the_end_of_the_name(
    query: str, quantile: str | None
) -> None:
    known = first_byte_queries.of_query(query)

    assert known is not None
    assert known.quantile == (None if quantile is None else Fraction(quantile))


def test_a_selector_tells_the_quantile_like_a_label_in_a_query() -> None:
    known = first_byte_queries.of_query("chat_ttft_seconds", (("pod", "a"), ("quantile", "0.9")))

    assert known == FirstByte(Fraction(1), Fraction(9, 10))


def test_its_unit_is_that_of_the_name() -> None:
    assert first_byte_queries.of_query("max(lmdeploy_time_to_first_token_milliseconds)") == MILLISECONDS
    assert first_byte_queries.of_query("avg(chat_ttft_ms)") == MILLISECONDS
    assert first_byte_queries.of_name("ttfb_us") == FirstByte(Fraction(1, 1_000_000))


@pytest.mark.parametrize(
    "query",
    [
        "sum(vllm:num_requests_waiting)",
        "histogram_quantile(0.9, sum by (le) (rate(vllm:e2e_request_latency_seconds_bucket[1m])))",
        "histogram_quantile(0.9, sum by (le) (rate(a_ttft_seconds_bucket[1m]) + rate(queue_seconds_bucket[1m])))",
        "rate(vllm:time_to_first_token_seconds_count[1m])",
        "max(beamlit_first_byte_seconds{side='local'})",
        '{"vllm:time_to_first_token_seconds"}',
        "vector(1)",
        "histogram_quantile(0.9)",
        "max(chat_ttft_seconds[1e400])",
        "(" * 50_000,
        "",
    ],
)
def test_other_metrics_are_not_taken_for_one(query: str) -> None:
    assert first_byte_queries.of_query(query) is None


@pytest.mark.parametrize(
    "query",
    [
        f"1000 * {SUM} / {COUNT}",
        f"(1000 * {SUM}) / {COUNT}",
        f"{SUM} / {COUNT} * 1000",
        f"{SUM} / (60 * {COUNT})",
        f"{SUM} / ({COUNT} > bool 0)",
        f"{SUM} / sum(rate(requests_count[1m]))",
        f"{SUM} / sum(rate(chat_ttft_seconds_count[1m]))",
        f"{SUM} / avg(rate(vllm:time_to_first_token_seconds_count[1m]))",
        f"{SUM} / sum(rate(vllm:time_to_first_token_seconds_count[5m]))",
        f"{SUM} / sum(increase(vllm:time_to_first_token_seconds_count[1m]))",
        f"{SUM} / count(vllm:time_to_first_token_seconds_count)",
        f"-{SUM} / {COUNT}",
        "max(chat_ttft_seconds) - 1",
        "max(chat_ttft_seconds) >= bool 2",
        "sum(queue) > max(chat_ttft_seconds)",
        "sum(queue) or max(chat_ttft_seconds)",
        "max(chat_ttft_seconds) or sum(queue)",
        "sum(queue) and on() max(chat_ttft_seconds) > 1",
        "clamp_max(sum(queue), scalar(max(chat_ttft_seconds)))",
        "-max(chat_ttft_seconds)",
        "count(chat_ttft_seconds)",
        "absent(chat_ttft_seconds)",
    ],
)
def test_a_value_computed_from_one_that_is_another_is_not(query: str) -> None:
    """Scaled, compared, a fallback, or a mean over something else."""
    assert first_byte_queries.of_query(query) is None


@pytest.mark.parametrize(
    "query",
    [
        "sum(chat_ttft_seconds)",
        "max by (pod) (chat_ttft_seconds)",
        "topk(3, chat_ttft_seconds)",
        "histogram_quantile(0.9, rate(chat_ttft_seconds_bucket[5m]))",
        "rate(chat_ttft_seconds_sum[5m]) / rate(chat_ttft_seconds_count[5m])",
    ],
)
def test_the_sum_of_several_times_is_none(query: str) -> None:
    assert first_byte_queries.of_query(query) is None


@pytest.mark.parametrize(
    "name",
    [
        "vllm:time_to_first_token_seconds_sum",
        "vllm:time_to_first_token_seconds_sum_per_second",
        "job:ttft_seconds_count:rate5m",
        "job:ttft_seconds:error_ratio",
        "inference_objective_request_predicted_ttft_seconds",
        "inference_objective_request_ttft_prediction_duration_seconds",
        "chat_ttft_slo_seconds",
        "time_to_first_token_per_input_token_seconds",
        "minio_s3_requests_ttfb_seconds_distribution",
        "time_since_first_token_seconds",
        "chat_ttft_seconds_stddev",
        "chat_ttft",
        "_ttft" * 200_000,
    ],
)
def test_names_of_what_is_counted_or_derived_from_it_are_not_taken_for_one(name: str) -> None:
    assert first_byte_queries.of_name(name) is None


@given(st.text(alphabet="ttft_seconds_bucket_sum()[]015m/ ><orhistogram_quantile,*", max_size=120))
def test_no_query_raises_an_error(query: str) -> None:
    assert first_byte_queries.of_query(query) in {None, FirstByte(Fraction(1))}
