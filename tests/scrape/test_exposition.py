"""One metric on a page, whatever else is on it."""

import math
import time
from datetime import timedelta
from fractions import Fraction

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics import exposition as openmetrics

import builders
from beamlit_controller.core.metric_spec import Aggregation, Operator, Requirement, Selector, SeriesSelector
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.scrape import exposition
from beamlit_controller.scrape.exposition import Total
from beamlit_controller.scrape.page import Page

AT = builders.NOW
SECONDS = int(AT.timestamp())
TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
EVERYTHING = Selector()

VLLM = r"""
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="meta-llama/Llama-3.1-8B"} 3.0
vllm:num_requests_waiting{engine="1",model_name="meta-llama/Llama-3.1-8B"} 4.5
vllm:num_requests_waiting_by_reason{engine="0",reason="vllm:num_requests_waiting"} 100
# HELP vllm:prompt_tokens_total Number of prefill tokens processed.
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{engine="0",model_name="meta-llama/Llama-3.1-8B"} 1.2e+06
# HELP vllm:time_to_first_token_seconds Histogram of time to first token in seconds.
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.001"} 0.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf"} 7.0
vllm:time_to_first_token_seconds_count{engine="0"} 7.0
vllm:time_to_first_token_seconds_sum{engine="0"} 0.30000000000000004
# TYPE requests counter
requests 5
# a comment about vllm:num_requests_waiting{ 9
""".lstrip()


def total(
    page: str | bytes,
    name: str,
    selector: Selector = EVERYTHING,
    *,
    content_type: str = TEXT,
    aggregation: Aggregation = Aggregation.SUM,
) -> Total | Missing:
    body = page.encode() if isinstance(page, str) else page
    metric = SeriesSelector(name, selector)
    page_ = Page(body, content_type)
    return exposition.total(page_, metric, at=AT, stale_after=timedelta(seconds=90), aggregation=aggregation)


def milli(found: Total | Missing) -> int:
    assert isinstance(found, Total), found
    return found.milli


def reason(found: Total | Missing) -> Reason:
    assert isinstance(found, Missing), found
    return found.reason


def labels(**wanted: str) -> Selector:
    return Selector(tuple(wanted.items()))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vllm:num_requests_waiting", 7_500),
        ("vllm:prompt_tokens_total", 1_200_000_000),
        ("vllm:time_to_first_token_seconds_count", 7_000),
        ("vllm:time_to_first_token_seconds_sum", 301),
        ("vllm:time_to_first_token_seconds_bucket", 7_000),
        ("requests", 5_000),
    ],
)
def test_adds_up_the_series_of_the_name_as_it_stands_on_the_page(name: str, expected: int) -> None:
    assert milli(total(VLLM, name)) == expected


def test_only_the_series_that_the_selector_selects() -> None:
    second = Selector((), (Requirement("engine", Operator.NOT_IN, ("0",)),))

    assert milli(total(VLLM, "vllm:num_requests_waiting", labels(engine="0"))) == 3_000
    assert milli(total(VLLM, "vllm:num_requests_waiting", second)) == 4_500


ENGINES = "".join(f'cache{{engine="{number}"}} {value}\n' for number, value in enumerate((0.15, 0.25, 0.9, -0.1)))


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [(Aggregation.SUM, 1_200), (Aggregation.MEAN, 300), (Aggregation.MAX, 900), (Aggregation.MIN, -100)],
)
def test_the_series_of_one_server_are_aggregated_as_asked(aggregation: Aggregation, expected: int) -> None:
    found = exposition.total(
        Page(ENGINES.encode(), TEXT),
        SeriesSelector("cache"),
        at=AT,
        stale_after=timedelta(seconds=90),
        aggregation=aggregation,
    )

    assert milli(found) == expected


def test_a_mean_is_rounded_away_from_zero_and_none_of_the_largest_numbers_is_lost() -> None:
    thirds = 'a{e="0"} 1\na{e="1"} 0\na{e="2"} 0\n'
    largest = 'a{e="0"} 1.7976931348623157e+308\na{e="1"} 1.7976931348623157e+308\n'

    assert milli(total(thirds, "a", aggregation=Aggregation.MEAN)) == 334
    assert milli(total(thirds.replace(" 1", " -1"), "a", aggregation=Aggregation.MEAN)) == -334
    assert milli(total(largest, "a", aggregation=Aggregation.MEAN)) == 17976931348623157 * 10**295


def first(page: str, *names: str) -> Total | Missing:
    identifiers = map(SeriesSelector, names)
    return exposition.first(Page(page.encode(), TEXT), identifiers, at=AT, stale_after=timedelta(seconds=90))


def test_the_first_name_that_is_there_counts_and_the_newest_is_told_where_none_is() -> None:
    assert milli(first("new 1\nold 2\n", "new", "old")) == 1_000
    assert milli(first("old 2\n", "new", "old")) == 2_000
    assert reason(first("new NaN\nold 2\n", "new", "old")) is Reason.NOT_A_NUMBER
    assert reason(first("other 2\n", "new", "old")) is Reason.NO_SERIES


@pytest.mark.parametrize(
    "name", ["", "vllm", "vllm:num_requests", "num_requests_waiting", "requests_total", "vllm:prompt_tokens", "# HELP"]
)
def test_a_name_that_is_not_there_has_no_series(name: str) -> None:
    assert reason(total(VLLM, name)) is Reason.NO_SERIES


def test_labels_that_are_not_there_are_no_series_either_and_the_message_tells_which() -> None:
    found = total(VLLM, "vllm:num_requests_waiting", labels(engine="7"))

    assert isinstance(found, Missing)
    assert found.reason is Reason.NO_SERIES
    assert "labels" in found.message


@pytest.mark.parametrize(
    "line",
    [
        "queue 3",
        "queue 3.0",
        "queue 3e0",
        "queue +3",
        "queue\t3",
        "  queue   3",
        "queue {} 3",
        "queue{} 3",
        'queue{a="b"}3',
        'queue{a="b",} 3',
        'queue { a = "b" } 3',
        f"queue 3 {SECONDS * 1000}",
        '{"queue"} 3',
        '{"queue",a="b"} 3',
        "queue 3\r",
    ],
)
def test_reads_every_way_to_write_a_sample(line: str) -> None:
    assert milli(total(f"other 1\n{line}\nlast 2", "queue")) == 3_000


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",))))
def test_reads_every_label_value(value: str) -> None:
    escaped = value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")

    assert milli(total(f'queue{{v="{escaped}"}} 1\nqueue{{v="not {escaped}"}} 2\n', "queue", labels(v=value))) == 1_000


def test_reads_names_that_need_quotes() -> None:
    page = '{"my.queue",a="my.queue"} 3\n{"say \\"hi\\"\\\\"} 4\n'

    assert milli(total(page, "my.queue")) == 3_000
    assert milli(total(page, 'say "hi"\\')) == 4_000


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_adds_exactly_what_is_written(one: float, other: float) -> None:
    expected = (Fraction(repr(one)) + Fraction(repr(other))) * 1000

    found = milli(total(f'queue{{a="1"}} {one!r}\nqueue{{a="2"}} {other!r}\n', "queue"))

    assert found == (math.ceil(expected) if expected > 0 else math.floor(expected))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("queue NaN", Reason.NOT_A_NUMBER),
        ("queue +Inf", Reason.INFINITE),
        ("queue -Inf", Reason.INFINITE),
        ("queue 1e999", Reason.INFINITE),
        ('queue{a="b"} NaN\nqueue{a="c"} 1', Reason.NOT_A_NUMBER),
        ("queue", Reason.MALFORMED_ANSWER),
        ("queue ", Reason.MALFORMED_ANSWER),
        ("queue three", Reason.MALFORMED_ANSWER),
        ("queue 1_000", Reason.MALFORMED_ANSWER),
        ('queue{a="b} 1', Reason.MALFORMED_ANSWER),
        ("queue{a=b} 1", Reason.MALFORMED_ANSWER),
        ('queue{a="b",a="c"} 1', Reason.MALFORMED_ANSWER),
        ('queue{="b"} 1', Reason.MALFORMED_ANSWER),
        ("queue 1\nqueue 2", Reason.MALFORMED_ANSWER),
        ('queue{a="1",b="2"} 1\nqueue{b="2",a="1"} 1', Reason.MALFORMED_ANSWER),
        (f"queue 1 {(SECONDS - 91) * 1000}", Reason.STALE),
        ("queue 1 NaN", Reason.STALE),
        ("queue " + "9" * 5_000, Reason.INFINITE),
        ("queue " + "9" * 4_000, Reason.INFINITE),
        ("queue 1e-4000", None),
        (f'queue{{a="{"x" * 20_000}"}} 1', Reason.MALFORMED_ANSWER),
        ("".join(f'queue{{a="{i}"}} 1\n' for i in range(6_000)), Reason.ANSWER_TOO_LARGE),
    ],
    ids=lambda value: f"{value[:30]} {len(value)}" if isinstance(value, str) else "Total",
)
def test_what_is_no_number_has_a_reason(line: str, expected: Reason | None) -> None:
    found = total(f"other 1\n{line}\nlast 2\n", "queue")

    assert (found.reason if isinstance(found, Missing) else None) is expected


@pytest.mark.parametrize(
    ("page", "content_type"),
    [
        ("<!doctype html><p>queue 3</p>", "text/html"),
        ("\n <html>queue 3</html>", ""),
        ('{"queue": 3}', "application/json; charset=utf-8"),
        ("\x05queue", "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily"),
        (b'queue{a="\xff"} 3', TEXT),
    ],
    ids=["html", "untold html", "json", "protobuf", "latin-1"],
)
def test_what_is_no_page_of_metrics_is_malformed(page: str | bytes, content_type: str) -> None:
    assert reason(total(page, "queue", content_type=content_type)) is Reason.MALFORMED_ANSWER


def test_mistakes_elsewhere_on_the_page_do_no_harm() -> None:
    assert milli(total('broken{ 1\nqueue 3\n# TYPE queue nonsense\n\x00\nother{a="queue 4', "queue")) == 3_000


# Pages as they are reported: the value that is on them all the same, or why there is none.
FOUND: dict[str, tuple[str | bytes, str, int | Reason]] = {
    "openvinotoolkit/model_server#3689: labelled as JSON": (
        "# TYPE queue gauge\nqueue 3\n",
        "application/json; charset=utf-8",
        3_000,
    ),
    "pretix/pretix#5133: labelled as HTML": ("# TYPE queue gauge\nqueue 3\n", "text/html; charset=utf-8", 3_000),
    "prometheus/prometheus#15485: not labelled, a comma at the end": (
        'queue{chain="a",upstream="b",} 3.0\n',
        "",
        3_000,
    ),
    "statping/statping#572: no newline at the end": ("queue 3", TEXT, 3_000),
    "prometheus/prometheus#6358: blanks at the end": ("queue 3   \n", TEXT, 3_000),
    "prometheus/prometheus#6358: escaped newlines": ("# HELP queue d\\nqueue 3\\n", TEXT, Reason.NO_SERIES),
    "AppMetrics/Prometheus#23: GAUGE": ("# TYPE queue GAUGE\nqueue 3\n\n", TEXT, 3_000),
    "prometheus/prometheus#2983: odd characters elsewhere": (b'other{a="\xff\x00"} 1\nqueue 3\n', TEXT, 3_000),
    "vllm-project/vllm#7188: of Python alone": ("python_info 1\n", TEXT, Reason.NO_SERIES),
    "vllm-project/vllm#8612: empty": ("", TEXT, Reason.NO_SERIES),
    "murtaza-nasir/whisperx-asr-service#13: JSON": ('{"queue": 3}', "application/json", Reason.MALFORMED_ANSWER),
    "ggml-org/llama.cpp#17384: a JSON string": ('"queue 3\\n"', "application/json", Reason.MALFORMED_ANSWER),
    "awslabs/benchmark-ai#759: a label with a dash": ('queue{job-id="b"} 3\n', TEXT, Reason.MALFORMED_ANSWER),
    "ntimo/mailcow-prometheus-endpoint#2: no value": ("queue  \n", TEXT, Reason.MALFORMED_ANSWER),
    "prometheus/prometheus#1990: unknown": ("queue unknown\n", TEXT, Reason.MALFORMED_ANSWER),
    "backuppc/backuppc#403: an address in memory": ("queue ARRAY(0x55)\n", TEXT, Reason.MALFORMED_ANSWER),
    "a proxy's page in the middle": ("queue 3\n<html>Bad gateway</html>", TEXT, 3_000),
    "a page that was cut": ('queue{a="b"} 3\nqueue{a="c"', TEXT, Reason.MALFORMED_ANSWER),
    "gzip without a header": (b"\x1f\x8b\x08\x00queue 3\n", TEXT, Reason.MALFORMED_ANSWER),
    "UTF-16 of PowerShell": ("queue 3\n".encode("utf-16"), TEXT, Reason.MALFORMED_ANSWER),
    "a path of Windows": (r'queue{model="C:\models\llama.gguf"} 3', TEXT, 3_000),
    "a path of Windows that ends in its separator": ('queue{model="C:\\"} 3', TEXT, Reason.MALFORMED_ANSWER),
    "printf of Windows": ("queue -nan(ind)\n", TEXT, Reason.MALFORMED_ANSWER),
    "printf": ("queue -nan\n", TEXT, Reason.NOT_A_NUMBER),
}


@pytest.mark.parametrize(("page", "content_type", "expected"), FOUND.values(), ids=FOUND)
def test_pages_as_people_report_them(page: str | bytes, content_type: str, expected: int | Reason) -> None:
    found = total(page, "queue", content_type=content_type)

    assert (found.milli if isinstance(found, Total) else found.reason) == expected


PRIORITIES = 'queue{priority=""} 9\nqueue{priority="0"} 4\nqueue{priority="5"} 5\n'


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (Selector((), (Requirement("priority", Operator.DOES_NOT_EXIST),)), 9_000),
        (Selector((("priority", ""),)), 9_000),
        (Selector((), (Requirement("priority", Operator.EXISTS),)), 9_000),
        (Selector((), (Requirement("priority", Operator.NOT_IN, ("0",)),)), 14_000),
        (Selector((("other", ""), ("priority", "0"))), 4_000),
    ],
)
def test_an_empty_label_is_like_one_that_is_absent(selector: Selector, expected: int) -> None:
    """As in Prometheus; SGLang has the total of all priorities under `priority=""`."""
    assert milli(total(PRIORITIES, "queue", selector)) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('queue{a="b"} 5 # {trace_id="x"} 1 1.5', 5_000),
        ('queue{a="b"} 5 # {trace_id="x"} 1', 5_000),
        ("queue 5 # {} 1", 5_000),
        (f'queue {{ a = "b" }} 5 {SECONDS * 1000} # {{trace_id="x"}} 1 {SECONDS}.25', 5_000),
        (r'queue{a="\" # {b} 7"} 5', 5_000),
        (r'queue{a="} 3 # {",b="\\"} 5 # {span="# {"} 9', 5_000),
        ('{"queue",a="b"} 5 # {trace_id="x"} 1', 5_000),
    ],
)
def test_an_exemplar_in_the_text_format_is_left_out(line: str, expected: int) -> None:
    """Quarkus, prometheus-net and others send OpenMetrics as text/plain, to whoever does not ask for OpenMetrics."""
    assert milli(total(f"{line}\n", "queue")) == expected


def test_a_byte_order_mark_before_the_page_is_no_part_of_the_first_name() -> None:
    assert milli(total("\ufeffqueue 3\n", "queue")) == 3_000


def test_a_timestamp_in_seconds_is_told_to_be_milliseconds_in_the_text_format() -> None:
    found = total(f"queue 3 {SECONDS}\n", "queue")

    assert reason(found) is Reason.STALE
    assert "milliseconds" in found.message


def test_the_age_of_the_oldest_series_is_told_where_the_page_has_times() -> None:
    page = f'queue{{a="1"}} 1 {(SECONDS - 5) * 1000}\nqueue{{a="2"}} 1 {(SECONDS - 20) * 1000}\nqueue{{a="3"}} 1\n'

    assert total(page, "queue") == Total(3_000, timedelta(seconds=20))
    assert total(f"queue 1 {(SECONDS + 5) * 1000}\n", "queue") == Total(1_000)


# OpenMetrics.


def test_reads_openmetrics() -> None:
    page = f"""# TYPE requests counter
# HELP requests How many.
requests_total{{code="200"}} 17 {SECONDS - 10} # {{trace_id="a # b"}} 1.0 {SECONDS}
requests_created{{code="200"}} 1
# TYPE queue gauge
queue{{a="x # y"}} 3
# TYPE seconds histogram
# UNIT seconds seconds
seconds_bucket{{le="1.0"}} 2 # {{trace_id="c"}} 0.5
seconds_bucket{{le="+Inf"}} 5
seconds_count 5
seconds_sum 9.5
# EOF
"""
    found = {
        name: total(page, name, content_type=OPENMETRICS)
        for name in ("requests_total", "requests_created", "queue", "seconds_bucket", "seconds_count", "seconds_sum")
    }

    assert found["requests_total"] == Total(17_000, timedelta(seconds=10))
    assert {name: milli(value) for name, value in found.items()} == {
        "requests_total": 17_000,
        "requests_created": 1_000,
        "queue": 3_000,
        "seconds_bucket": 7_000,
        "seconds_count": 5_000,
        "seconds_sum": 9_500,
    }
    assert reason(total(page, "requests", content_type=OPENMETRICS)) is Reason.NO_SERIES


def test_lines_of_openmetrics_may_end_with_crlf() -> None:
    """They were malformed, though the text format with CRLF was read."""
    page = '# TYPE queue gauge\r\nqueue{a="1"} 3\r\nqueue{a="2"} 4\r\n# EOF\r\n'
    buckets = '# TYPE seconds histogram\r\nseconds_bucket{le="+Inf"} 5 # {trace_id="c"} 0.5\r\n# EOF\r\n'

    assert milli(total(page, "queue", content_type=OPENMETRICS)) == 7_000
    assert milli(total(buckets, "seconds_bucket", content_type=OPENMETRICS)) == 5_000


@pytest.mark.parametrize("content_type", [TEXT, OPENMETRICS])
@pytest.mark.parametrize("line", ["queue three", 'queue{a="b" 3', "queue", "queue{a=b} 3"])
def test_a_line_that_cannot_be_read_is_shown(line: str, content_type: str) -> None:
    """Some of these gave an error of Python, about float."""
    found = total(f'queue{{a="0"}} 1\n{line}\n', "queue", content_type=content_type)

    assert found == Missing(Reason.MALFORMED_ANSWER, f"a line with this name can't be read: {line}")


@pytest.mark.parametrize("content_type", [TEXT, OPENMETRICS])
@pytest.mark.parametrize("digits", [12, 400, 5_000])
def test_a_time_beyond_all_times_is_no_value(digits: int, content_type: str) -> None:
    page = f"queue 1 -{'9' * digits}\n# EOF\n"

    assert reason(total(page, "queue", content_type=content_type)) in {Reason.STALE, Reason.MALFORMED_ANSWER}


@pytest.mark.parametrize("line", ["queue three", "queue  3", 'queue{a="b"', "queue 3 # {", "queue{} 3 4 5"])
def test_broken_openmetrics_is_malformed(line: str) -> None:
    assert reason(total(f"{line}\n# EOF\n", "queue", content_type=OPENMETRICS)) is Reason.MALFORMED_ANSWER


# Whatever comes.

lines = st.text(alphabet='queue{}"=,\\ \t0123456789.eE+-#abNIinf_:\n', max_size=80)


@given(lines, st.sampled_from([TEXT, OPENMETRICS, ""]))
def test_no_line_raises(line: str, content_type: str) -> None:
    assert isinstance(total(f"queue{line}\n", "queue", content_type=content_type), Total | Missing)


@given(st.binary(max_size=200), st.sampled_from([TEXT, OPENMETRICS, ""]))
def test_no_page_raises(page: bytes, content_type: str) -> None:
    assert isinstance(total(page + b"queue" + page, "queue", content_type=content_type), Total | Missing)


EIGHT_MEGABYTES = 8 * 1024 * 1024


@pytest.mark.parametrize(
    "page",
    [
        b"a 1\n" * (EIGHT_MEGABYTES // 4),
        b"xa 1\n" * (EIGHT_MEGABYTES // 5),
        b"a" * EIGHT_MEGABYTES,
        b"a{" + b",".join(b'l%d="a"' % i for i in range(500_000)) + b"} 1\n",
        b"a{" + b"\\" * EIGHT_MEGABYTES + b'"} 1',
        b"a " + b"9" * EIGHT_MEGABYTES,
        b"a{" + b'x="' + b'\\"' * 8_000 + b"\n",
        b"".join(b'a{x="%d"} 1e308\n' % i for i in range(4_999)),
    ],
    ids=["many", "many others", "one word", "many labels", "backslashes", "digits", "quotes", "large sums"],
)
def test_no_page_takes_long(page: bytes) -> None:
    began = time.process_time()

    total(page, "a")

    assert time.process_time() - began < 10  # each takes some ten milliseconds; without the limits, minutes


# Pages as prometheus-client writes them.


def registry() -> prometheus_client.CollectorRegistry:
    registry = prometheus_client.CollectorRegistry()
    gauge = prometheus_client.Gauge("queue", "Waiting.", ["v"], registry=registry)
    for value in ("a", 'say "hi"', "back\\slash", "new\nline", "}", "# ", "{"):
        gauge.labels(value).set(2.5)
    counter = prometheus_client.Counter("done", "Done.", registry=registry)
    counter.inc(3, exemplar={"trace": "abc"})
    histogram = prometheus_client.Histogram("took_seconds", "Took.", ["v"], registry=registry)
    histogram.labels("a").observe(0.2, exemplar={"trace": "abc"})
    histogram.labels("b").observe(0.3)
    return registry


@pytest.mark.parametrize(
    ("name", "expected"),
    [("queue", 17_500), ("done_total", 3_000), ("took_seconds_count", 2_000), ("took_seconds_sum", 500)],
)
def test_reads_what_the_python_client_writes(name: str, expected: int) -> None:
    text = prometheus_client.generate_latest(registry())
    om = openmetrics.generate_latest(registry())

    assert milli(total(text, name, content_type=prometheus_client.CONTENT_TYPE_PLAIN_0_0_4)) == expected
    assert milli(total(om, name, content_type=openmetrics.CONTENT_TYPE_LATEST)) == expected
    assert milli(total(om, "took_seconds_bucket", content_type=openmetrics.CONTENT_TYPE_LATEST)) == milli(
        total(text, "took_seconds_bucket")
    )
