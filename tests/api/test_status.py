from dataclasses import replace
from datetime import datetime, timedelta, timezone
from fractions import Fraction

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamlit_controller.api import status
from beamlit_controller.api.status_models import LONGEST_MESSAGE, LONGEST_RECORD, Status
from beamlit_controller.core import cycle as core_cycle
from beamlit_controller.core.adaptive_state import Learned
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.decision import Change, Decision, begin
from beamlit_controller.core.in_flight_span import InFlightSpan
from beamlit_controller.core.metric_spec import (
    AverageValue,
    ContainerResourceMetric,
    ExternalMetric,
    GatewayFigure,
    GatewayMetric,
    MetricSpec,
    ObjectMetric,
    ObjectReference,
    Operator,
    PodsMetric,
    Requirement,
    Selector,
    SeriesSelector,
    Utilization,
    Value,
)
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.traffic import RequestCounters
from beamlit_controller.core.verdict import Assessed, Current, Judgement, Unread, Verdict
from builders import CPU, NOW, QUEUE, minute, missing, signals, spec, verdict

SELECTOR = Selector((("a", "b"),), (Requirement("c", Operator.EXISTS), Requirement("d", Operator.IN, ("e",))))
SELECTED = {
    "matchLabels": {"a": "b"},
    "matchExpressions": [{"key": "c", "operator": "Exists"}, {"key": "d", "operator": "In", "values": ["e"]}],
}


def cycle(judged: Verdict, **decision: object) -> Cycle:
    model = spec(generation=7)
    return Cycle(model, signals(), judged, replace(begin(NOW), **decision), None, NOW)


def conditions(of: Cycle) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in status.status(of)["conditions"]}


def test_tells_whether_how_much_why_and_since_when() -> None:
    local = datetime(2026, 6, 1, 14, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=2)))
    round_ = cycle(verdict(2), percentage=50, reason=Reason.METRIC_ABOVE_TARGET, message="queue 20 > 10", since=local)

    told = status.status(round_)

    assert told["observedGeneration"] == 7
    assert told["offloading"] == {
        "inForce": "50%",
        "percentage": 50,
        "reason": "MetricAboveTarget",
        "message": "queue 20 > 10",
        "since": "2026-06-01T12:00:00Z",
    }
    assert told["conditions"][0] == {
        "type": "Offloading",
        "status": "True",
        "reason": "MetricAboveTarget",
        "message": "queue 20 > 10",
        "observedGeneration": 7,
    }


CAPPED = {"percentage": 80, "cap": Fraction(25, 2), "reason": Reason.METRIC_BELOW_TARGET}
SPAN = InFlightSpan(NOW, NOW + timedelta(seconds=5), Fraction(3), 20, 0, 0)


@pytest.mark.parametrize(
    ("recent", "leaves"),
    [
        ((), "Unknown"),
        ((SPAN,), "False"),
        ((SPAN, replace(SPAN, sent=4, overflowed=4)), "True"),
        ((replace(SPAN, sent=4),), "False"),
    ],
    ids=["nobody told", "nothing left", "requests above the cap left", "requests left for another reason"],
)
def test_under_a_cap_only_what_was_above_it_is_called_offloading(recent: tuple[InFlightSpan, ...], leaves: str) -> None:
    """A cap that is not reached sends nothing away: it is no offloading of 80 %."""
    told = status.status(cycle(verdict("0.5"), **CAPPED, learned=Learned(cap=Fraction(25, 2), recent=recent)))

    assert told["offloading"]["inForce"] == "cap 12.5"
    assert (told["conditions"][0]["type"], told["conditions"][0]["status"]) == ("Offloading", leaves)


def test_a_cap_of_nothing_sends_the_whole_share_away() -> None:
    told = status.status(cycle(verdict("0.5"), **{**CAPPED, "cap": Fraction(0), "reason": Reason.OVERRIDDEN}))

    assert told["offloading"]["inForce"] == "80%"
    assert told["conditions"][0]["status"] == "True"


def test_a_dry_run_has_nothing_in_force() -> None:
    assert status.status(cycle(verdict(2), percentage=50, dry=True))["offloading"]["inForce"] == "dry run"


def test_conditions_when_nothing_is_offloaded_and_all_is_read() -> None:
    assert conditions(cycle(verdict("0.5"))) == {
        "Offloading": ("False", "MetricBelowTarget"),
        "MetricsAvailable": ("True", "MetricsRead"),
    }


def test_a_metric_that_cant_be_read_is_a_condition_and_has_no_current_value() -> None:
    read = Assessed(CPU, Current(average_value=500, average_utilization=50), Fraction(1), NOW, NOW)
    judged = Verdict(
        Judgement.UNKNOWN, Fraction(1), (read, Unread(QUEUE, missing(Reason.TIMED_OUT, "no answer in 4 s")))
    )

    told = status.status(cycle(judged))

    assert [each["type"] for each in told["currentMetrics"]] == ["Resource"]
    assert told["conditions"][1] == {
        "type": "MetricsAvailable",
        "status": "False",
        "reason": "TimedOut",
        "message": "1 of 2 metrics can't be read: no answer in 4 s",
        "observedGeneration": 7,
    }


def test_without_metrics_none_is_available() -> None:
    assert conditions(cycle(Verdict(Judgement.UNKNOWN, None, ())))["MetricsAvailable"] == ("False", "NoMetrics")


@pytest.mark.parametrize(
    ("metric", "current", "expected"),
    [
        (
            CPU,
            Current(average_value=1500, average_utilization=71),
            {
                "type": "Resource",
                "resource": {"name": "cpu", "current": {"averageValue": "1500m", "averageUtilization": 71}},
            },
        ),
        (
            ContainerResourceMetric("memory", "main", Utilization(5)),
            Current(average_value=2 * 1024**2 * 1000, average_utilization=0),
            {
                "type": "ContainerResource",
                "containerResource": {
                    "name": "memory",
                    "container": "main",
                    "current": {"averageValue": "2Mi", "averageUtilization": 0},
                },
            },
        ),
        (
            PodsMetric(SeriesSelector("q", SELECTOR), AverageValue(4000)),
            Current(average_value=0),
            {"type": "Pods", "pods": {"metric": {"name": "q", "selector": SELECTED}, "current": {"averageValue": "0"}}},
        ),
        (
            ObjectMetric(SeriesSelector("q"), ObjectReference("v1", "Service", "llm"), Value(1)),
            Current(value=-1),
            {
                "type": "Object",
                "object": {
                    "describedObject": {"apiVersion": "v1", "kind": "Service", "name": "llm"},
                    "metric": {"name": "q"},
                    "current": {"value": "-1m"},
                },
            },
        ),
        (
            ExternalMetric(SeriesSelector("sum(a) / sum(b)"), Value(1)),
            Current(value=10_000),
            {"type": "External", "external": {"metric": {"name": "sum(a) / sum(b)"}, "current": {"value": "10"}}},
        ),
        (
            GatewayMetric(GatewayFigure("local_requests_in_flight"), AverageValue(8_000)),
            Current(average_value=9_500),
            {
                "type": "Gateway",
                "gateway": {"metric": {"name": "local_requests_in_flight"}, "current": {"averageValue": "9500m"}},
            },
        ),
    ],
)
def test_current_metrics_are_those_of_autoscaling_v2(metric: MetricSpec, current: Current, expected: object) -> None:
    told = {"currentMetrics": [status.metric(Assessed(metric, current, Fraction(1), NOW, NOW))]}

    assert told == {"currentMetrics": [expected]}
    assert status.bounded(told) == told


@pytest.mark.parametrize("ratio", [None, "0.5", 3])
def test_what_is_written_is_what_the_crd_describes(ratio: object) -> None:
    round_ = core_cycle.run(spec(generation=1), signals(), previous=None, now=NOW)

    told = status.status(replace(round_, verdict=verdict(ratio)))
    negative = Assessed(QUEUE, Current(value=-5), Fraction(0), NOW, NOW)
    told["currentMetrics"].append(status.metric(negative))

    Status.model_validate(told)


def record_of(decision: Decision) -> str:
    return pydantic.TypeAdapter(Decision).dump_json(decision).decode()


def long_decision(**lengths: int) -> Decision:
    changes = tuple(Change(NOW, 0, 50, Reason.RELEASED, "c" * lengths.get("change", 10)) for _ in range(20))
    return replace(begin(NOW), percentage=50, message="m" * lengths.get("message", 10), history=changes)


@pytest.mark.parametrize(
    ("lengths", "history"),
    [({"change": 100}, 20), ({"change": 4000}, 0), ({"message": 70_000}, 0), ({"message": 70_000, "change": 4000}, 0)],
    ids=["short", "long history", "long message", "both"],
)
def test_a_record_that_is_too_long_loses_what_is_least_missed_and_stays_readable(
    lengths: dict[str, int], history: int
) -> None:
    """Three long PromQL queries made a status that the API server refused for ever."""
    written = status.bounded({"record": record_of(long_decision(**lengths))})

    assert len(written["record"]) <= LONGEST_RECORD
    read = pydantic.TypeAdapter(Decision).validate_json(written["record"])
    assert (read.percentage, len(read.history), read.since) == (50, history, NOW)


def test_a_record_that_can_not_be_shortened_is_left_empty() -> None:
    assert status.bounded({"record": "[" * 100_000}) == {"record": ""}


def test_every_field_of_a_status_is_cut_to_what_the_crd_allows() -> None:
    long = "x" * 100_000
    condition = {"type": "Ready", "status": "True", "reason": long, "message": long, "observedGeneration": -1}
    whole = {
        "model": long,
        "observedGeneration": 10**30,
        "offloading": {
            "percentage": 300,
            "atMost": -5,
            "reason": long,
            "message": long,
            "since": "2026-06-01T12:00:00Z",
        },
        "currentMetrics": [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "current": {"value": "10e99", "averageUtilization": 10**40}},
            },
            {"type": "Pods", "pods": {"metric": {"name": ""}, "current": {"value": "many"}}},
            {"type": "Other"},
        ],
        "conditions": [condition, {"type": "Broken", "status": "Maybe", "reason": "x", "message": "x"}],
    }

    written = status.bounded(whole)

    assert written["offloading"] == {
        "percentage": 100,
        "atMost": 0,
        "reason": long[:1024],
        "message": long[:LONGEST_MESSAGE],
        "since": "2026-06-01T12:00:00Z",
    }
    assert (len(written["model"]), written["observedGeneration"]) == (1024, 2**63 - 1)
    assert [each["type"] for each in written["currentMetrics"]] == ["Resource", "Pods"]
    assert written["currentMetrics"][0]["resource"]["current"] == {"value": "10e99", "averageUtilization": 2**63 - 1}
    assert [each["type"] for each in written["conditions"]] == ["Ready"]
    assert written["conditions"][0]["observedGeneration"] == 0


def test_a_status_within_its_bounds_is_written_as_it_is() -> None:
    told = status.status(cycle(verdict(2), percentage=50, reason=Reason.METRIC_ABOVE_TARGET, message="queue 20 > 10"))

    assert status.bounded(told) == told


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda each: st.lists(each) | st.dictionaries(st.text(max_size=20), each),
)


@given(
    st.dictionaries(st.sampled_from(["model", "offloading", "currentMetrics", "record", "conditions", "x"]), ANY_JSON)
)
def test_whatever_stands_in_a_status_it_is_bounded_without_an_error(any_status: dict[str, object]) -> None:
    once = status.bounded(any_status)

    assert repr(status.bounded(once)) == repr(once)


def test_the_requests_are_those_of_the_present_and_not_of_the_whole_minute() -> None:
    """A status that is written every 30 s at most was about requests of up to 90 s before."""
    counted = minute(*(RequestCounters(local=30),) * 9, *(RequestCounters(unavailable=30),) * 3)
    record = core_cycle.run(spec(), signals(missing()), previous=None, now=NOW)

    requests = status.requests(counted, record)

    assert requests["remotePercentage"] == 100
    assert requests["message"].startswith("0/s local, 6/s remote: 100 % went to the remote (100 % unavailable)")
