"""Quantiles of histograms: the same as a real Prometheus computes, from the same scrapes."""

import asyncio
import json
import re
import tracemalloc
from datetime import timedelta
from fractions import Fraction
from math import inf, nan
from pathlib import Path

import pytest

from beamlit_controller.core.metric_spec import SeriesSelector
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.scrape import exposition, histogram
from beamlit_controller.scrape.histogram import BucketSeries, HistogramWindow, QuantileValue
from beamlit_controller.scrape.page import Page
from builders import NOW

WINDOW = timedelta(seconds=60)
STEP = timedelta(seconds=15)
Scrapes = dict[str, list[int]]
"""For each `_bucket` series, by its labels, its counts at 0, 15, 30, 45 and 60 s."""

CASES: dict[str, Scrapes] = {
    "within a bucket": {'le="1"': [0, 5, 10, 15, 20], 'le="2"': [0, 10, 20, 30, 40], 'le="+Inf"': [0, 10, 20, 30, 40]},
    "in the first bucket": {'le="1"': [0, 9, 9, 9, 99], 'le="2"': [0, 9, 9, 9, 100], 'le="+Inf"': [0, 9, 9, 9, 100]},
    "first bucket at zero": {'le="0"': [0, 8, 9, 9, 99], 'le="2"': [0, 9, 9, 9, 99], 'le="+Inf"': [0, 9, 9, 9, 99]},
    "first bucket below zero": {'le="-2"': [0, 0, 0, 0, 99], 'le="2"': [0, 0, 0, 0, 99], 'le="+Inf"': [0, 0, 0, 0, 99]},
    "above all bounds": {'le="1"': [0, 0, 0, 0, 1], 'le="2.5"': [0, 0, 0, 0, 2], 'le="+Inf"': [0, 10, 20, 30, 40]},
    "counted before, nothing since": {
        'le="1"': [5, 5, 5, 5, 5],
        'le="2"': [7, 7, 7, 7, 7],
        'le="+Inf"': [9, 9, 9, 9, 9],
    },
    "counted before, and since": {
        'le="1"': [500, 500, 501, 501, 501],
        'le="2"': [500, 501, 504, 505, 507],
        'le="+Inf"': [500, 501, 504, 506, 508],
    },
    "a server that began anew": {
        'le="1"': [90, 95, 2, 4, 6],
        'le="2"': [190, 195, 8, 16, 20],
        'le="+Inf"': [190, 196, 9, 18, 22],
    },
    "several engines": {
        'engine="0",le="1"': [0, 1, 2, 3, 4],
        'engine="0",le="2"': [0, 2, 4, 6, 8],
        'engine="0",le="+Inf"': [0, 2, 4, 6, 8],
        'engine="1",le="1"': [50, 50, 50, 50, 50],
        'engine="1",le="2"': [50, 51, 53, 60, 70],
        'engine="1",le="+Inf"': [50, 51, 53, 60, 71],
    },
    "no +Inf": {'le="1"': [0, 5, 10, 15, 20], 'le="2"': [0, 10, 20, 30, 40]},
    "only +Inf": {'le="+Inf"': [0, 10, 20, 30, 40]},
    "counts that fall with the bound": {
        'le="1"': [0, 0, 0, 0, 10],
        'le="2"': [0, 0, 0, 0, 8],
        'le="4"': [0, 0, 0, 0, 12],
        'le="+Inf"': [0, 0, 0, 0, 12],
    },
    "bounds written in several ways": {
        'le="0.50"': [0, 0, 0, 0, 10],
        'le="1e0"': [0, 0, 0, 0, 30],
        'le="+Inf"': [0, 0, 0, 0, 30],
    },
}
QUANTILES = ("0.5", "0.95", "0.999")


def ours(series: Scrapes, part: str) -> float:
    """Return the quantile as the controller computes it, from pages; NaN where there is none."""
    seen: HistogramWindow | None = None
    for number in range(5):
        lines = [f"t_bucket{{{labels}}} {counts[number]}" for labels, counts in series.items()]
        page = Page("\n".join([*lines, ""]).encode(), "text/plain; version=0.0.4")
        read = exposition.buckets(page, SeriesSelector("t"))
        assert not isinstance(read, Missing), read
        seen = histogram.scraped(seen, read, NOW + number * STEP, WINDOW)
    assert seen is not None
    found = histogram.quantile(seen, Fraction(part))
    return float(found.value) if isinstance(found, QuantileValue) else nan


async def theirs(folder: Path, case: str) -> dict[str, float]:
    """Return what the PromQL of a real Prometheus computes from the same counts."""
    listed = [
        {"series": f"t_bucket{{{labels}}}", "values": " ".join(map(str, counts))}
        for labels, counts in CASES[case].items()
    ]
    wrong = [{"labels": "{}", "value": -12345}]
    queries = [f"histogram_quantile({part}, sum by (le) (increase(t_bucket[1m1ms])))" for part in QUANTILES]
    asked = [{"expr": query, "eval_time": "60s", "exp_samples": wrong} for query in queries]
    group = {"interval": "15s", "input_series": listed, "promql_expr_test": asked}
    (folder / "test.yaml").write_text(json.dumps({"evaluation_interval": "15s", "tests": [group]}))
    command = ("promtool", "test", "rules", str(folder / "test.yaml"))
    running = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await running.communicate()
    values = [float(each) for each in re.findall(r"got: \{\} (\S+)", said.decode())]
    assert len(values) == len(QUANTILES), said.decode()
    return dict(zip(QUANTILES, values, strict=True))


@pytest.mark.parametrize("case", CASES)
async def test_a_quantile_is_what_a_real_prometheus_computes(case: str, tmp_path: Path) -> None:
    expected = await theirs(tmp_path, case)

    found = {part: ours(CASES[case], part) for part in QUANTILES}

    assert found == pytest.approx(expected, rel=1e-4, nan_ok=True)


def seen(*scrapes: tuple[float, int], window: timedelta = WINDOW) -> HistogramWindow:
    """Return what was observed by scrapes at these seconds, each with so many requests below a second in all."""
    whole: HistogramWindow | None = None
    for second, count in scrapes:
        series = [BucketSeries(frozenset({("le", str(bound))}), bound, Fraction(count)) for bound in (1.0, inf)]
        whole = histogram.scraped(whole, series, NOW + timedelta(seconds=second), window)
    assert whole is not None
    return whole


def test_one_scrape_is_no_value_yet() -> None:
    found = histogram.quantile(seen((0, 10)), Fraction(1, 2))

    assert isinstance(found, Missing)
    assert found.reason is Reason.NO_OBSERVATIONS


def test_what_was_observed_before_the_window_does_not_count() -> None:
    found = histogram.quantile(seen((0, 0), (30, 10), (80, 10), (85, 10)), Fraction(1, 2))

    assert isinstance(found, Missing)
    assert found.reason is Reason.NO_OBSERVATIONS


def test_a_quantile_says_which_time_it_covers() -> None:
    found = histogram.quantile(seen((0, 0), (10, 5), (30, 10)), Fraction(1, 2))

    assert found == QuantileValue(Fraction(1, 2), timedelta(seconds=30))


def test_scrapes_in_quick_succession_are_remembered_in_few_steps_and_cover_the_window() -> None:
    every_second = [(float(second), second) for second in range(1000)]

    whole = seen(*every_second, window=timedelta(seconds=600))
    found = histogram.quantile(whole, Fraction(1, 2))

    assert len(whole.scrapes) <= histogram.MOST_SCRAPES + 2
    assert isinstance(found, QuantileValue)
    assert timedelta(seconds=580) <= found.window <= timedelta(seconds=600)


def page_of(bounds: range) -> Page:
    return Page("".join(f't_bucket{{le="{bound}"}} 0\n' for bound in bounds).encode(), "text/plain")


def test_a_page_of_thousands_of_bounds_is_no_value() -> None:
    found = exposition.buckets(page_of(range(4_000)), SeriesSelector("t"))

    assert isinstance(found, Missing)
    assert found.reason is Reason.ANSWER_TOO_LARGE
    assert isinstance(exposition.buckets(page_of(range(histogram.MOST_BUCKETS)), SeriesSelector("t")), list)


def test_a_server_with_new_bounds_on_each_page_is_not_remembered_without_end() -> None:
    whole: HistogramWindow | None = None
    for number in range(50):
        series = exposition.buckets(page_of(range(200 * number, 200 * number + 200)), SeriesSelector("t"))
        assert not isinstance(series, Missing)
        whole = histogram.scraped(whole, series, NOW + number * timedelta(seconds=1), WINDOW)

    assert whole is not None
    assert len(whole.scrapes) == 1
    assert len(whole.scrapes[0][1]) == len(whole.raw) == histogram.MOST_BUCKETS


def test_labels_are_not_remembered_however_long_they_are() -> None:
    lines = "".join(f't_bucket{{a="{"x" * 4_000}",le="{bound}"}} 7\n' for bound in range(50))
    series = exposition.buckets(Page(lines.encode()), SeriesSelector("t"))
    assert not isinstance(series, Missing)

    whole = histogram.scraped(None, series, NOW, WINDOW)

    assert all(len(name) <= 16 for name in whole.raw)
    assert whole.size < 50 * 1_000


def test_the_size_of_a_window_is_about_that_in_memory() -> None:
    tracemalloc.start()
    try:
        whole: HistogramWindow | None = None
        for second in range(60):
            series = [
                BucketSeries(frozenset({("le", str(bound))}), float(bound), Fraction(10**6 + 7 * second + bound))
                for bound in range(200)
            ]
            whole = histogram.scraped(whole, series, NOW + timedelta(seconds=second), WINDOW)
        series = []
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert whole is not None
    assert size < whole.size < 2 * size


def test_other_buckets_begin_anew() -> None:
    """A server that was restarted with other buckets: what it counted by the old ones says nothing of the new."""
    before = seen((0, 10), (10, 90))
    series = [BucketSeries(frozenset({("le", str(bound))}), bound, Fraction(5)) for bound in (2.0, inf)]

    found = histogram.quantile(histogram.scraped(before, series, NOW + STEP, WINDOW), Fraction(1, 2))

    assert isinstance(found, Missing)
    assert found.reason is Reason.NO_OBSERVATIONS


@pytest.mark.parametrize("line", ['t_bucket{le="x"} 1', "t_bucket 1", 't_bucket{le="1"} -1', 't_bucket{le="NaN"} 1'])
def test_what_is_no_bucket_is_told(line: str) -> None:
    read = exposition.buckets(Page(f"{line}\n".encode(), "text/plain"), SeriesSelector("t"))

    assert isinstance(read, Missing)
    assert read.reason is Reason.MALFORMED_ANSWER
