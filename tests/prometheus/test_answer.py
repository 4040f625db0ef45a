"""What each answer of Prometheus means: a number only where there is exactly one meaning, else the reason."""

import json
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing, Sample
from beamlit_controller.prometheus import answer, http_answer
from beamlit_controller.prometheus.answer import Question, Range
from beamlit_controller.prometheus.http_answer import HttpAnswer

AT = datetime(2026, 6, 1, 12, 0, 0, 250_000, tzinfo=UTC)
WINDOW = timedelta(seconds=90)
QUERY = "last_over_time(queue[90s])"


def read(body: object, status: int = 200, *, location: str = "", hide: tuple[str, ...] = ()) -> Sample | Missing:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return answer.read(HttpAnswer(status, content, location), Question(QUERY, AT, WINDOW), hide=hide)


def success(result: object, kind: str = "vector", **more: object) -> dict[str, object]:
    return {"status": "success", "data": {"resultType": kind, "result": result}, **more}


def vector(*values: Any, at: float = AT.timestamp(), **more: object) -> dict[str, object]:  # noqa: ANN401 - odd ones too
    return success([{"metric": {"pod": f"p{i}"}, "value": [at, value]} for i, value in enumerate(values)], **more)


def milli(body: object) -> int:
    reading = read(body)
    assert isinstance(reading, Sample), reading
    return reading.milli


def reason(body: object, status: int = 200) -> Reason:
    reading = read(body, status)
    assert isinstance(reading, Missing), reading
    return reading.reason


def test_a_series_is_its_value() -> None:
    assert read(vector("12.5")) == Sample(12_500, AT, WINDOW, undated=True)


def with_times(*times: object, name: str = "queue") -> dict[str, object]:
    """Return a response with values 1, 2, …, and the times of their samples in seconds before `AT`."""
    named = {"__name__": name} if name else {}
    whole = [{"metric": {**named, "pod": f"p{i}"}, "value": [AT.timestamp(), f"{i + 1}"]} for i, _ in enumerate(times)]
    for i, ago in enumerate(times):
        if ago is not None:
            text = f"{AT.timestamp() - ago:.3f}" if isinstance(ago, int | float) else ago
            labels = {"pod": f"p{i}", "beamlit_sample_time": "true"}
            whole.append({"metric": labels, "value": [AT.timestamp(), text]})
    return success(whole[::-1])


def dated(body: object, averaged: timedelta = timedelta(0)) -> Sample | Missing:
    """Read a response to a query that also asked for times."""
    question = Question(QUERY, AT, WINDOW, averaged=averaged, times=True)
    return answer.read(HttpAnswer(200, json.dumps(body).encode()), question)


@pytest.mark.parametrize("name", ["queue", ""])
@pytest.mark.parametrize(
    ("times", "latest", "oldest"),
    [
        ((12,), 12, 12),
        ((12, 40.5), 12, 40.5),
        ((0, 90), 0, 90),
        ((12, None), 12, 90),
        ((12, "NaN"), 12, 90),
        ((12, "soon"), 12, 90),
        ((12, "1" * 500), 12, 90),
        ((12, "1e300"), 0, 12),
        ((-5, 12), 0, 12),
        ((1000, 12), 12, 90),
    ],
    ids=["one", "two", "bounds", "ended", "NaN", "no number", "long", "far future", "future", "past"],
)
def test_the_times_of_the_samples_date_a_sum(
    times: tuple[float | str | None, ...], latest: float, oldest: float, name: str
) -> None:
    """What is not a time within the window may be as old as a value can be."""
    at, window = AT - timedelta(seconds=latest), timedelta(seconds=oldest - latest)

    reading = dated(with_times(*times, name=name))

    total = sum(range(1, len(times) + 1)) * 1000
    assert reading == Sample(total, at, window, series=len(times), scattered=oldest > latest)


def test_a_sum_of_series_that_have_ended_is_as_old_as_it_may_be() -> None:
    """It gets no newer while the servers can't be scraped."""
    assert dated(with_times(None, None)) == Sample(3_000, AT - WINDOW, timedelta(0), series=2)


def test_the_mean_of_a_recording_rule_covers_time_before_its_evaluation() -> None:
    covered = timedelta(minutes=5)

    assert dated(with_times(12, 40), averaged=covered) == Sample(
        3_000, AT - timedelta(seconds=12), timedelta(seconds=28) + covered, series=2
    )


def test_a_label_of_another_meaning_is_a_series() -> None:
    named = {"metric": {"beamlit_sample_time": "x"}, "value": [AT.timestamp(), "7"]}
    body = with_times(12)
    data = body["data"]
    assert isinstance(data, dict)
    data["result"].append(named)

    assert dated(body) == Sample(8_000, AT - timedelta(seconds=12), timedelta(seconds=78), series=2, scattered=True)
    assert milli(success([named])) == 7_000


def test_times_alone_are_no_series() -> None:
    times = with_times(12)
    data = times["data"]
    assert isinstance(data, dict)
    data["result"] = data["result"][:1]

    reading = dated(times)

    assert isinstance(reading, Missing)
    assert reading.reason is Reason.NO_SERIES


@pytest.mark.parametrize("label", [["a"], {"a": []}, None, 1], ids=str)
def test_labels_that_are_no_text_do_not_matter(label: object) -> None:
    one = {"metric": {"pod": label}, "value": [AT.timestamp(), "1"]}
    labels = {"pod": label, "beamlit_sample_time": "true"}
    time = {"metric": labels, "value": [AT.timestamp(), f"{AT.timestamp():.3f}"]}

    assert dated(success([one, time])) == Sample(1_000, AT, timedelta(0))


def test_a_mean_may_be_as_much_older_as_it_covers() -> None:
    covered = timedelta(minutes=5)
    body = json.dumps(vector("1")).encode()

    reading = answer.read(HttpAnswer(200, body), Question("rate(x[5m])", AT, WINDOW, averaged=covered))

    assert reading == Sample(1_000, AT, WINDOW + covered, undated=True, averaged=covered)


def test_a_query_that_covers_an_unknown_time_is_from_any_moment_in_the_window() -> None:
    body = json.dumps(vector("1")).encode()

    assert answer.read(HttpAnswer(200, body), Question("odd", AT, WINDOW, averaged=None)) == Sample(1_000, AT, WINDOW)


def test_several_series_are_their_sum_and_it_is_told_how_many_they_were() -> None:
    assert read(vector("1", "2.5", "-0.5")) == Sample(3_000, AT, WINDOW, series=3, undated=True)


def test_a_scalar_is_one_value() -> None:
    assert milli(success([AT.timestamp(), "7"], "scalar")) == 7_000


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0", 0), ("-0", 0), ("0.0001", 1), ("-0.0001", -1), ("0.0015", 2), ("1e+06", 10**9), ("5e-324", 1), (".5", 500)],
)
def test_thousandths_are_rounded_away_from_zero(value: str, expected: int) -> None:
    assert milli(vector(value)) == expected


def test_decimals_are_added_exactly() -> None:
    assert milli(vector(*["0.1"] * 30)) == 3_000


def test_the_largest_and_smallest_numbers_are_added_exactly() -> None:
    assert milli(vector("1.7976931348623157e+308", "5e-324")) == 17976931348623157 * 10**295 + 1
    assert milli(vector("1.7976931348623157e+308", "5e-324", "-1.7976931348623157e+308")) == 1


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8))
@example([1e308, 5e-324, -1e308])
def test_any_numbers_are_added_exactly(values: list[float]) -> None:
    total = sum(Fraction(repr(value)) for value in values) * 1000

    assert milli(vector(*map(repr, values))) == (ceil(total) if total > 0 else floor(total))


def test_infos_do_no_harm() -> None:
    assert milli(vector("1", infos=["metric might not be a counter"], warnings=[])) == 1_000


MONOTONICITY = (
    "PromQL info: input to histogram_quantile needed to be fixed for monotonicity "
    "(see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) for metric name"
)

# Notes of level info as they came in `warnings`, and where they were reported.
HARMLESS = {
    "prometheus/prometheus#14135, 2.52 and before": [f'{MONOTONICITY} ""'],
    "prometheus/prometheus#13671, rate alone": [
        'PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "queue" (1:6)'
    ],
    "prometheus/prometheus#12945, histograms": [
        'PromQL info: metric might not be a counter, name does not end in _total/_sum/_count: "latency" (1:20)'
    ],
    "prometheus/prometheus#16553, two at once": [f'{MONOTONICITY} "series"', f'{MONOTONICITY} ""'],
    "prometheus/prometheus#15578, with details": [
        f'{MONOTONICITY} "series_1", from buckets 2.5 to 100, with a max diff of 10, over 3 samples (1:4)'
    ],
    "thanos-io/thanos#8278": [f'{MONOTONICITY} "" (1:25)'],
    "thanos-io/thanos#7597, more than have room": [f'{MONOTONICITY} ""'] * 10 + ["7 more info annotations omitted"],
    "grafana/mimir, native histograms": [
        'PromQL info: input to histogram_quantile has NaN observations, result is NaN for metric name "a" (1:25)'
    ],
}

# What says that a part is missing or wrong, by the product that says so.
PARTIAL: dict[str, dict[str, object]] = {
    "Prometheus, remote read": {"warnings": ["remote_read: remote server returned HTTP status 500"]},
    "Prometheus, a real warning": {"warnings": ["PromQL warning: quantile value should be between 0 and 1, got 95"]},
    "Prometheus, warnings left out": {"warnings": [f'{MONOTONICITY} ""', "3 more warning annotations omitted"]},
    "Prometheus, which ones were left out is not told": {
        "warnings": [f'{MONOTONICITY} ""', "3 more annotations omitted"]
    },
    "Thanos, a store is down": {
        "warnings": [
            "receive series from Addr: 10.0.0.7:10901: rpc error: code = Unavailable desc = connection refused"
        ]
    },
    "Thanos, no store": {"warnings": ["No StoreAPIs matched for this query"]},
    "Thanos, both kinds": {"warnings": [f'{MONOTONICITY} ""', "failed to receive any data in 5s from sidecar"]},
    "Cortex, cortexproject/cortex#6526": {"warnings": ["Query result may contain partial data"]},
    "Mimir": {"warnings": ["the query exceeded the maximum number of chunks (err-mimir-max-chunks-per-query)"]},
    "Amazon, as Cortex": {"warnings": ["query result may contain partial data"], "infos": []},
    "Google": {"warnings": ["Some data was not available for this query"], "infos": []},
    "Azure": {"warnings": ["Partial response: a shard did not answer"]},
    "M3": {"warnings": ["m3db exceeded query limit: results not exhaustive"]},
    "VictoriaMetrics, VictoriaMetrics/VictoriaMetrics#4721": {"isPartial": True},
    "VictoriaMetrics, odd": {"isPartial": "true"},
    "no list": {"warnings": {"PromQL info: ": 1}},
    "no text": {"warnings": [{"level": "info"}]},
}


@pytest.mark.parametrize("warnings", HARMLESS.values(), ids=HARMLESS)
def test_a_note_of_level_info_is_no_warning_wherever_it_stands(warnings: list[str]) -> None:
    assert milli(vector("3", warnings=warnings)) == 3_000
    assert milli(vector("3", warnings=[], infos=warnings, isPartial=False)) == 3_000
    assert ranged(matrix([[15, "3"]], warnings=warnings)) == Range({15: 3_000})


@pytest.mark.parametrize("said", PARTIAL.values(), ids=PARTIAL)
def test_an_answer_that_may_not_be_whole_is_no_value(said: dict[str, object]) -> None:
    assert reason(vector("3", **said)) is Reason.QUERY_WARNINGS
    partial = ranged(matrix([[15, "3"]], **said))
    assert isinstance(partial, Missing)
    assert partial.reason is Reason.QUERY_WARNINGS


@pytest.mark.parametrize(
    "body",
    [
        # Amazon API Gateway style, Google and Azure: none of them is the error document of Prometheus.
        b'{"message":"Missing Authentication Token"}',
        b'{"error":{"code":401,"message":"Missing Authentication Token","status":"UNAUTHENTICATED"}}',
        b'{"error":{"code":"AuthenticationFailed","message":"Missing Authentication Token"}}',
        b"Missing Authentication Token",
        b"<html><h1>Missing Authentication Token</h1></html>",
    ],
)
def test_a_refusal_has_the_servers_own_words(body: bytes) -> None:
    refused = read(body, 403)

    assert isinstance(refused, Missing)
    assert refused.reason is Reason.HTTP_ERROR
    assert "Missing Authentication Token" in refused.message
    assert "bearerTokenFile" in refused.message


# What is no number says why.


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (vector(), Reason.NO_SERIES),
        (vector("NaN"), Reason.NOT_A_NUMBER),
        (vector("1", "NaN"), Reason.NOT_A_NUMBER),
        (vector("+Inf"), Reason.INFINITE),
        (vector("-Inf"), Reason.INFINITE),
        (vector("1", "+Inf", "-Inf"), Reason.INFINITE),
        (success([AT.timestamp(), "NaN"], "scalar"), Reason.NOT_A_NUMBER),
        (vector("1", at=AT.timestamp() - 300), Reason.STALE),
        (vector("1", at=AT.timestamp() + 300), Reason.STALE),
        (success([{"metric": {}, "values": [[1, "1"]]}], "matrix"), Reason.UNEXPECTED_RESULT_TYPE),
        (success([], "matrix"), Reason.UNEXPECTED_RESULT_TYPE),
        (success([AT.timestamp(), "1"], "string"), Reason.UNEXPECTED_RESULT_TYPE),
        (success([{"metric": {}, "histogram": [1, {"count": "3"}]}]), Reason.UNEXPECTED_RESULT_TYPE),
        (vector("1", warnings=["2 of 3 stores did not answer"]), Reason.QUERY_WARNINGS),
        (vector("1", warnings="odd"), Reason.QUERY_WARNINGS),
        ({"status": "error", "errorType": "execution", "error": "many-to-many"}, Reason.QUERY_FAILED),
        ({"status": "error", "errorType": "timeout", "error": "query timed out"}, Reason.TIMED_OUT),
        ({"status": "error"}, Reason.HTTP_ERROR),
    ],
)
def test_what_is_no_number_has_a_reason(body: object, expected: Reason) -> None:
    assert reason(body) is expected


MALFORMED = [
    b"",
    b"   ",
    b"null",
    b"[]",
    b'"success"',
    b"{}",
    b'{"status":"success"}',
    b"<!doctype html><title>Log in</title>",
    b'{"status":"success","data":{"resultType":"vector","result":[',
    b"\xff\xfe{}",
    b"[" * 200_000,
    b'{"a":' * 100_000,
    b'{"status":"success","status":"success"}',
    b"9" * 100_000,
    b'{"status":"success","data":{"resultType":"scalar","result":[NaN,"1"]}}',
    success({}),
    success(None),
    success([[]]),
    success([None]),
    success([{"value": [AT.timestamp(), "1"]}]),
    success([{"metric": {}}]),
    success([{"metric": {}, "value": []}]),
    success([{"metric": {}, "value": [AT.timestamp()]}]),
    success([{"metric": {}, "value": [AT.timestamp(), "1", "2"]}]),
    success([{"metric": {}, "value": [str(AT.timestamp()), "1"]}]),
    success([{"metric": {}, "value": [True, "1"]}]),
    success([{"metric": [], "value": [AT.timestamp(), "1"]}]),
    success([], "scalar"),
    success([], "brouhaha"),
    {"status": "success", "data": {"resultType": None, "result": []}},
    vector(1),
    vector(None),
    vector(""),
    vector("1_000"),
    vector("0x10"),
    vector("\uff11"),
    vector("12 "),
    vector("1e"),
    vector("sNaN"),
    vector("1e999999999"),
    vector("0e-999999999"),
    vector("1e-5000"),
    vector("9" * 5_000),
    vector("1", "one"),
]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>", "(not valid at line 1, column 1), got: <html>"),
        (b'{"a": "\xff"}', "(not UTF-8 at byte 7)"),
        (b'{"a": NaN}', "(NaN is not valid JSON)"),
        (b'{"a": 1, "a": 2}', "(a key occurs twice in one object)"),
        (b'{"a": ' + b"9" * 5000 + b"}", "(a number is out of range)"),
    ],
    ids=["no JSON", "no UTF-8", "NaN", "twice", "digits"],
)
def test_what_is_wrong_with_the_json_is_not_said_in_the_words_of_python(body: bytes, said: str) -> None:
    reading = read(body)

    assert isinstance(reading, Missing)
    assert reading.reason is Reason.MALFORMED_ANSWER
    assert said in reading.message


@pytest.mark.parametrize("body", MALFORMED, ids=[f"shape {number}" for number in range(len(MALFORMED))])
def test_every_other_shape_is_malformed(body: object) -> None:
    assert reason(body) is Reason.MALFORMED_ANSWER


@pytest.mark.parametrize(("status", "hint"), [(401, "bearerTokenFile"), (403, "headers"), (404, "address")])
def test_a_refusal_of_the_server_says_what_to_mend(status: int, hint: str) -> None:
    refused = read(b"no", status)

    assert isinstance(refused, Missing)
    assert refused.reason is Reason.HTTP_ERROR
    assert str(status) in refused.message
    assert hint in refused.message


@pytest.mark.parametrize("status", [100, 201, 204, 206, 400, 405, 418, 429, 500, 502, 503, 599])
def test_every_other_status_is_an_error(status: int) -> None:
    refused = read(vector("1"), status)

    assert isinstance(refused, Missing)
    assert refused.reason is Reason.HTTP_ERROR
    assert str(status) in refused.message


def test_a_mistake_in_the_query_is_shown() -> None:
    document = {"status": "error", "errorType": "bad_data", "error": '1:5: parse error: unexpected ")"'}

    refused = read(document, 400)

    assert refused == Missing(
        Reason.QUERY_FAILED, 'Prometheus rejected the query (bad_data): 1:5: parse error: unexpected ")"'
    )


def test_a_redirect_says_where_to_but_not_the_whole_address() -> None:
    redirected = read(b"", 302, location="https://login.example.com/?state=secret")

    assert isinstance(redirected, Missing)
    assert redirected.reason is Reason.REDIRECTED
    assert "login.example.com" in redirected.message
    assert "secret" not in redirected.message
    assert isinstance(read(b"", 301, location="http://[bad"), Missing)
    assert isinstance(read(b"", 304), Missing)


def test_a_long_body_is_too_large_even_if_it_begins_well() -> None:
    body = json.dumps(vector("1")).encode() + b" " * http_answer.LIMIT

    assert reason(body) is Reason.ANSWER_TOO_LARGE
    assert milli(body[: http_answer.LIMIT]) == 1_000


def test_messages_are_short_on_one_line_and_keep_secrets() -> None:
    body = b"<html>\r\n\x1b[31m\x00 your token s3cret-token was refused " + b"x" * 10_000

    refused = read(body, 500, hide=("s3cret-token",))

    assert isinstance(refused, Missing)
    assert refused.message.isprintable()
    assert len(refused.message) < 400
    assert "your token *** was refused" in refused.message


def test_the_message_of_an_empty_answer_has_the_query() -> None:
    empty = read(vector())

    assert isinstance(empty, Missing)
    assert QUERY in empty.message


# Nothing that comes can stop or delay the round.


@given(st.binary(max_size=200), st.integers(100, 599))
def test_no_body_raises(body: bytes, status: int) -> None:
    assert isinstance(read(body, status), Missing | Sample)


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=10,
)


@given(documents, st.sampled_from(["vector", "scalar", "matrix", "string", "other"]))
def test_no_document_raises_and_only_numbers_are_numbers(result: object, kind: str) -> None:
    reading = read(success(result, kind))

    if isinstance(reading, Sample):
        assert kind in {"vector", "scalar"}
        assert result


@pytest.mark.parametrize(
    "body",
    [
        vector(*["1e308", "5e-324"] * 7_500),
        vector("1" * 900_000),
        vector("1e" + "9" * 900_000),
        b"[" * 1_000_000,
        b"-" + b"1" * 1_000_000,
        vector("1", at=10**4000),
    ],
    ids=["many", "long", "exponent", "deep", "digits", "time"],
)
def test_no_body_takes_long(body: object) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    began = time.process_time()

    read(content)

    assert time.process_time() - began < 10  # each takes some ten milliseconds; without the limits, minutes


def test_the_rounding_agrees_with_decimal_arithmetic() -> None:
    assert milli(vector("0.30000000000000004")) == 301
    assert milli(vector("0.3")) == int(Decimal("0.3") * 1000)


def ranged(body: object, status: int = 200, *, limit: int = http_answer.LIMIT) -> Range | Missing:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return answer.read_range(HttpAnswer(status, content), query=QUERY, limit=limit)


def matrix(*series: list[list[object]], **more: object) -> dict[str, object]:
    return success([{"metric": {"pod": f"p{i}"}, "values": pairs} for i, pairs in enumerate(series)], "matrix", **more)


def test_a_range_is_summed_at_each_time() -> None:
    found = ranged(matrix([[15, "1.5"], [30, "2"]], [[30, "0.25"], [45, "1"]]))

    assert found == Range({15: 1500, 30: 2250, 45: 1000}, series=2)


def test_a_range_has_no_value_where_one_of_its_series_is_no_number() -> None:
    found = ranged(matrix([[15, "1"], [30, "NaN"], [45, "+Inf"]], [[30, "1"]]))

    assert found == Range({15: 1000, 30: None, 45: None}, series=2)


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (matrix(), 200, Reason.NO_SERIES),
        (matrix([[15, "1"]], warnings=["half of it"]), 200, Reason.QUERY_WARNINGS),
        (vector("1"), 200, Reason.MALFORMED_ANSWER),
        (matrix([[15, 1]]), 200, Reason.MALFORMED_ANSWER),
        (success([{"metric": {}, "histograms": []}], "matrix"), 200, Reason.UNEXPECTED_RESULT_TYPE),
        ({"status": "error", "errorType": "bad_data", "error": "no"}, 400, Reason.QUERY_FAILED),
        (b"<html>", 200, Reason.MALFORMED_ANSWER),
        (matrix([[15, "1"]] * 100), 200, Reason.ANSWER_TOO_LARGE),
    ],
)
def test_a_range_that_is_none_is_told_why(body: object, status: int, reason: Reason) -> None:
    found = ranged(body, status, limit=1000)

    assert isinstance(found, Missing)
    assert found.reason is reason
    assert found.message
