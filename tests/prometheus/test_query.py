"""What an External metric asks Prometheus."""

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamlit_controller.core.metric_spec import Operator, Requirement, Selector, SeriesSelector
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.prometheus import query

STALE_AFTER = timedelta(seconds=90)
EVERYTHING = Selector()


def selector(*expressions: Requirement, **labels: str) -> Selector:
    return Selector(tuple(labels.items()), expressions)


def text(name: str, chosen: Selector = EVERYTHING, stale_after: timedelta = STALE_AFTER) -> str | Missing:
    return query.text(SeriesSelector(name, chosen), stale_after=stale_after)


@pytest.mark.parametrize("name", ["up", "vllm:num_requests_waiting", "_x", ":x", "A1", "job:errors:rate5m"])
def test_asks_for_the_last_fresh_sample_of_a_name(name: str) -> None:
    assert text(name) == f"last_over_time({name}[90s])"


def test_turns_labels_and_expressions_into_matchers() -> None:
    chosen = selector(
        Requirement("zone", Operator.IN, ("a", "b.c")),
        Requirement("code", Operator.NOT_IN, ("404", "5|2")),
        Requirement("pod", Operator.EXISTS),
        Requirement("canary", Operator.DOES_NOT_EXIST),
        model="llama",
    )

    asked = text("queue", chosen)

    matchers = r'model="llama",zone=~"a|b\\.c",code!~"404|5\\|2",pod!="",canary=""'
    assert asked == f"last_over_time(queue{{{matchers}}}[90s])"


def test_escapes_what_would_end_a_string() -> None:
    assert (
        text("up", selector(a='"} or vector(1) #\\\n')) == 'last_over_time(up{a="\\"} or vector(1) #\\\\\\x0a"}[90s])'
    )


def test_quotes_label_names_that_only_prometheus_3_knows() -> None:
    chosen = Selector((("app.kubernetes.io/name", "llama"),))

    assert text("up", chosen) == 'last_over_time(up{"app.kubernetes.io/name"="llama"}[90s])'


@pytest.mark.parametrize("name", ["on", "Bool", "NaN", "inf", "ignoring", "group_left", "group_right", "atan2"])
def test_a_name_that_is_a_word_of_the_language_is_given_as_a_label(name: str) -> None:
    assert text(name, selector(a="b")) == f'last_over_time({{__name__="{name}",a="b"}}[90s])'


@pytest.mark.parametrize(
    "promql",
    ["sum(up)", "up ", 'up{a="b"}', "1", "rate(x[5m])", '{"my.metric"}', "up\n", "größe", "up/2", "a-b", "x > bool 1"],
)
def test_sends_everything_else_as_it_is(promql: str) -> None:
    assert text(promql) == promql


def test_refuses_a_selector_beside_a_query() -> None:
    refused = text("sum(up)", selector(a="b"))

    assert isinstance(refused, Missing)
    assert refused.reason is Reason.UNSUPPORTED_METRIC
    assert "selector" in refused.message


@pytest.mark.parametrize("name", ["sum(\ud800)", "up"])
def test_refuses_what_has_no_encoding(name: str) -> None:
    refused = text(name, selector(a="\udfff") if name == "up" else EVERYTHING)

    assert isinstance(refused, Missing)


@pytest.mark.parametrize(
    ("span", "written"),
    [
        (timedelta(seconds=90), "90s"),
        (timedelta(minutes=5), "300s"),
        (timedelta(seconds=1.5), "1500ms"),
        (timedelta(microseconds=1), "1ms"),
    ],
)
def test_writes_durations(span: timedelta, written: str) -> None:
    assert query.duration(span) == written


# A value means itself, whatever it is: read back what was written, with the rules of the languages it was written in.

values = st.text(alphabet=st.characters(exclude_categories=("Cs",))) | st.text(alphabet='\\".*+?()|[]{}^$\n\r\t\x00 a')


@given(values)
def test_a_label_means_exactly_its_value(value: str) -> None:
    (matcher,) = query.matchers(selector(a=value))

    assert string(matcher.removeprefix("a=")) == value


@given(st.lists(values, min_size=1, max_size=4), values)
def test_an_expression_matches_exactly_its_values(wanted: list[str], other: str) -> None:
    (matcher,) = query.matchers(selector(Requirement("a", Operator.IN, tuple(wanted))))

    pattern = string(matcher.removeprefix("a=~"))
    assert alternatives(pattern) == wanted
    # Python's re agrees with RE2 about literals; \Z is RE2's end of text.
    assert all(re.fullmatch(f"(?:{pattern})", value) for value in wanted)
    assert bool(re.fullmatch(f"(?:{pattern})", other)) == (other in wanted)


@given(st.lists(values, min_size=1, max_size=4))
def test_an_exclusion_has_the_same_pattern(unwanted: list[str]) -> None:
    (chosen,) = query.matchers(selector(Requirement("a", Operator.IN, tuple(unwanted))))
    (excluded,) = query.matchers(selector(Requirement("a", Operator.NOT_IN, tuple(unwanted))))

    assert excluded.removeprefix("a!~") == chosen.removeprefix("a=~")


def string(written: str) -> str:
    """Read a PromQL string: no quote and no line end but escaped ones, and of the escapes those that we write."""
    assert re.fullmatch(r'"(?:[^"\\\n]|\\["\\]|\\x[0-7][0-9a-f])*"', written)
    return re.sub(r'\\(?:x(..)|(["\\]))', lambda found: found[2] or chr(int(found[1], 16)), written[1:-1])


def alternatives(pattern: str) -> list[str]:
    """Read a regular expression that is an alternative of literals, and nothing but that."""
    found = [""]
    rest = iter(pattern)
    for character in rest:
        match character:
            case "\\":
                escaped = next(rest)
                assert escaped in "\\.+*?()|[]{}^$"
                found[-1] += escaped
            case "|":
                found.append("")
            case _:
                assert character not in ".+*?()[]{}^$"
                found[-1] += character
    return found


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("vllm:num_requests_waiting", 0),
        ("job:requests:rate5m", 300),
        ("namespace:ttft_seconds:p95_90s", 90),
        ("vllm:e2e_1h", 0),
        ("queue", 0),
        ("queue5m", 0),
        ("sum(rate(x[2m]))", 120),
    ],
)
def test_a_metric_covers_the_range_of_its_query_or_of_its_recording_rule(name: str, seconds: float) -> None:
    assert query.averaged(SeriesSelector(name)) == timedelta(seconds=seconds)


def test_what_a_query_covers_is_unknown_if_it_cannot_be_parsed() -> None:
    assert query.averaged(SeriesSelector("sum(x) by by")) is None
