"""How much time a query covers."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamlit_controller.api import promql_ranges


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        ("sum(vllm:num_requests_waiting)", 0),
        ("rate(x_sum[1m]) / rate(x_count[1m])", 60),
        ("sum(rate(x[5m])) / sum(rate(y[90s]))", 300),
        ("max_over_time(rate(x[5m])[10m:30s])", 900),
        ("max_over_time(rate(x[5m])[10m:30s] offset 1h)", 4500),
        ("x offset 5m", 300),
        ("x offset -5m", 0),
        ("rate(x[ 1h30m ])", 5400),
        ("rate(x[300])", 300),
        ("last_over_time(x[90s])", 0),
        ("last_over_time(x[90s] offset 1m)", 60),
        ("last_over_time(avg_over_time(x[5m])[1m:])", 300),
        ("sum(last_over_time(x{a='b'}[2m])) / avg_over_time(y[30s])", 30),
        ('sum(x{pod=~"llm-[0-9]", code=~"[1d]"})', 0),
        ("sum(x) # [1h]", 0),
        ("histogram_quantile(0.95, sum by (le) (rate(x_bucket[2m])))", 120),
        ("rate(x[10y])", 86_400),
        ("vector(1)", 0),
    ],
)
def test_the_ranges_of_a_query_add_up_along_its_longest_path(query: str, seconds: float) -> None:
    assert promql_ranges.covered(query) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "query",
    ["", "rate(x[])", "rate(x[$__rate_interval])", "(" * 50_000, "-" * 50_000, "x[999999999999y]", "rate(x[1e400])"],
)
def test_nothing_is_known_of_what_cannot_be_parsed(query: str) -> None:
    assert promql_ranges.covered(query) is None


@given(st.text(alphabet="lastover_time()[]0123456789.mshyd :-+@{}xoffset ", max_size=200))
def test_any_query_covers_at_most_a_day_or_is_not_parsed(query: str) -> None:
    covered = promql_ranges.covered(query)

    assert covered is None or timedelta(0) <= covered <= timedelta(days=1)
