"""Which metrics and queries are known to be a time to the first token or byte, and in which unit."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamlit_controller.api import first_byte_queries

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
        "max(histogram_quantile(0.9, rate(chat_ttft_seconds_bucket[1m]))) > 0",
        "avg(max_over_time(app_time_to_first_byte_seconds{quantile='0.95'}[1m]))",
        "clamp_max(job:ttft_seconds:p95, 60)",
        "quantile(0.9, job:ttft_seconds:p95)",
    ],
)
def test_a_time_to_the_first_token_is_known_by_the_names_of_its_series(query: str) -> None:
    assert first_byte_queries.unit(query) == 1


def test_its_unit_is_that_of_the_name() -> None:
    assert first_byte_queries.unit("max(lmdeploy_time_to_first_token_milliseconds)") == Fraction(1, 1000)
    assert first_byte_queries.unit("avg(chat_ttft_ms)") == Fraction(1, 1000)


@pytest.mark.parametrize(
    "query",
    [
        "sum(vllm:num_requests_waiting)",
        "histogram_quantile(0.9, sum by (le) (rate(vllm:e2e_request_latency_seconds_bucket[1m])))",
        "histogram_quantile(0.9, rate(a_ttft_seconds_bucket[1m]) + rate(queue_seconds_bucket[1m]))",
        "rate(vllm:time_to_first_token_seconds_count[1m])",
        "vllm:time_to_first_token_seconds_sum",
        f"1000 * {SUM} / {COUNT}",
        f"(1000 * {SUM}) / {COUNT}",
        f"{SUM} / {COUNT} * 1000",
        f"{SUM} / sum(rate(requests_count[1m]))",
        "sum(chat_ttft_seconds)",
        "-chat_ttft_seconds",
        "chat_ttft_seconds - 1",
        "chat_ttft",
        '{"vllm:time_to_first_token_seconds"}',
        "vector(1)",
        "histogram_quantile(0.9)",
        "chat_ttft_seconds[1e400]",
        "(" * 50_000,
        "",
    ],
)
def test_other_and_scaled_values_are_not_taken_for_one(query: str) -> None:
    assert first_byte_queries.unit(query) is None


@given(st.text(alphabet="ttft_seconds_bucket_sum()[]015m/ ><orhistogram_quantile,*", max_size=120))
def test_no_query_raises_an_error(query: str) -> None:
    assert first_byte_queries.unit(query) in {None, 1}
