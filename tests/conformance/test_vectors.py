"""What the real HorizontalPodAutoscaler answered, replayed through the core.

`HPA_VECTORS=FILE pytest tests/conformance` replays another file of the same format.
"""

import json
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

from beamlit_controller.core import pods, quantity, verdict
from beamlit_controller.core.quantity import Family
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing, PodSamples, Reading
from beamlit_controller.core.spec import (
    ContainerResourceMetric,
    ExternalMetric,
    MetricSpec,
    ObjectMetric,
    PodsMetric,
    ResourceMetric,
    Utilization,
    Value,
)
from beamlit_controller.core.verdict import Assessed, Unread
from builders import spec
from conformance import adapter
from conformance.adapter import Case, InexpressibleError, Json

SHIPPED = Path(__file__).with_name("vectors.json")
FILE = Path(os.environ.get("HPA_VECTORS", SHIPPED))
RECORD = json.loads(FILE.read_text())

METRICS: Sequence[Json] = RECORD.get("metricVectors", ())
SEVERAL: Sequence[Json] = RECORD.get("multiVectors", ())
QUANTITIES: Sequence[Json] = RECORD.get("quantityVectors", ())

JUDGED = ("metricVectors", "multiVectors", "quantityVectors")

# Lists of vectors that are not about the core.
ELSEWHERE = {
    "validationVectors": "what a user may write: judged where it is parsed",
    "discoveryVectors": "requests to a cluster: judged where they are made",
    "sequenceVectors": "the HPA's own scaling over time: shares of requests are decided here, not replicas",
}

# Why a vector can't be judged.
WRAPPED = "the metric's arithmetic overflows in Kubernetes, here it is exact"
NO_TARGET = "a target that is not above 0 is refused where it is parsed"

# Why an answer differs on purpose.
NO_POD_NEEDED = "the HPA fails to count pods for its proposal when the ratio is known already, here the ratio is all"
NO_DIGITS = "Kubernetes reads a quantity without digits as 0, here it is a mistake"
ABSURD = "a quantity from 1e100 on, an exponent beyond 99 or a text beyond 128 characters is refused at once"
EXACT = "the milli of a quantity wraps in Kubernetes, here it is exact"
SIGN_LOST = "Kubernetes loses the sign of the milli of a negative quantity finer than 1n"
ECHO = "Kubernetes prints a quantity as it was written, here it is canonical"


def unjudged(vector: Json) -> str | None:
    """Tell why a vector of one or several metrics can't be judged."""
    if "overflow" in vector.get("tags", ()):
        return WRAPPED
    given = vector["in"]
    return NO_TARGET if any(map(has_no_target, given.get("metrics") or [given["metric"]])) else None


def has_no_target(metric: Json) -> bool:
    """Tell whether the part of the target that counts is 0 or below."""
    try:
        match adapter.metric(metric).target:
            case Utilization(percent):
                return percent <= 0
            case target:
                return target.milli <= 0
    except InexpressibleError:
        return False


def metric_difference(vector: Json) -> str | None:
    """Tell why a metric is answered otherwise here, on purpose."""
    error = vector["out"].get("calc", {}).get("error", "")
    return NO_POD_NEEDED if error.startswith("unable to calculate ready pods") else None


def quantity_difference(vector: Json) -> str | None:
    """Tell why a quantity is read or printed otherwise here, on purpose."""
    text = vector["s"]
    if "error" in vector:
        return None
    if not re.match(r"[+-]?\.?[0-9]", text):
        return NO_DIGITS
    if is_absurd(text, float(vector["float"])):
        return ABSURD
    if vector.get("overflow"):
        return EXACT
    if vector["sign"] * vector["milli"] < 0:
        return SIGN_LOST
    return ECHO if vector["canonical"] == text and plain(text) != text else None


def is_absurd(text: str, amount: float) -> bool:
    exponent = re.search(r"[eE]([+-]?[0-9]+)$", text)
    return not abs(amount) < 1e100 or len(text) > 128 or (exponent is not None and abs(int(exponent[1])) > 99)


def plain(text: str) -> str:
    """Strip what a quantity may be written with and is not printed with: `+`, a point at its end, zeros in front."""
    text = re.sub(r"[+.]", "", text)
    text = re.sub(r"^(-?)0+(?=[0-9])", r"\1", text)
    text = re.sub(r"[eE](-?)0*(?=[0-9])", r"e\1", text)
    return re.sub(r"^-0$|e-?0$", lambda found: "0" if found.group() == "-0" else "", text)


@pytest.mark.parametrize(
    "vector", [vector for vector in METRICS if not unjudged(vector)], ids=lambda vector: vector["id"]
)
def test_a_metric_is_computed_as_the_hpa_does(vector: Json) -> None:
    case, out = adapter.case(vector["in"], RECORD["defaults"]), vector["out"]

    try:
        metric = adapter.metric(vector["in"]["metric"])
        reading = adapter.reading(metric, case)
        outcome = assess(case, metric, reading)
    except InexpressibleError:
        assert failed(out)
        return

    check_pods(metric, reading, case, out)
    if metric_difference(vector):
        check_ratio(outcome, out["ratio"].get("effective"))
    elif failed(out):
        check_failure(outcome)
    else:
        check_current(outcome, out)
        check_ratio(outcome, out["ratio"]["first"])


@pytest.mark.parametrize(
    "vector",
    [vector for vector in SEVERAL if not unjudged(vector)] or [None],
    ids=lambda vector: vector and vector["id"],
)
def test_several_metrics_are_reported_as_the_hpa_does(vector: Json | None) -> None:
    """A metric that failed is an entry without a type in the HPA's `currentMetrics`."""
    if vector is None:
        assert not [each for each in SEVERAL if not unjudged(each)], "the shipped file has no such vectors"
        return
    case, metrics = adapter.case(vector["in"], RECORD["defaults"]), vector["in"]["metrics"]
    statuses = vector["out"]["hpa"].get("statuses") or [{"type": ""}] * len(metrics)

    for given, status in zip(metrics, statuses, strict=True):
        try:
            metric = adapter.metric(given)
            outcome = assess(case, metric, adapter.reading(metric, case))
        except InexpressibleError:
            assert not status["type"]
            continue
        case = adapter.without_answer(metric, case)
        if status["type"]:
            check_status(outcome, status)
        elif not isinstance(metric.target, Value) or adapter.matching_pods(case):
            check_failure(outcome)


@pytest.mark.parametrize("vector", QUANTITIES, ids=[f"{i}-{each['s'][:20]!r}" for i, each in enumerate(QUANTITIES)])
def test_a_quantity_is_read_and_printed_as_kubernetes_does(vector: Json) -> None:
    difference = quantity_difference(vector)

    if "error" in vector or difference in {NO_DIGITS, ABSURD}:
        with pytest.raises(ValueError, match="expected a quantity"):
            quantity.parse(vector["s"])
        return
    amount = quantity.parse(vector["s"])

    assert str(amount) == (plain(vector["s"]) if difference == ECHO else vector["canonical"])
    if difference == EXACT:
        assert amount.milli / 1000 == pytest.approx(float(vector["float"]), rel=1e-12)
    else:
        assert amount.milli == (-vector["milli"] if difference == SIGN_LOST else vector["milli"])


def test_what_is_not_judged_or_differs_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = {reason: RECORD.get(name, ()) for name, reason in ELSEWHERE.items()}
    not_judged = grouped({each["id"]: unjudged(each) for each in (*METRICS, *SEVERAL)})
    differing = grouped({each["id"]: metric_difference(each) for each in METRICS if not unjudged(each)}) | grouped(
        {each["s"]: quantity_difference(each) for each in QUANTITIES}
    )

    with capsys.disabled():
        total = sum(len(each) for name, each in RECORD.items() if name.endswith("Vectors"))
        left = sum(len(each) for each in (*elsewhere.values(), *not_judged.values()))
        print(f"\n{FILE.name}: {total - left} of {total} vectors judged")  # noqa: T201 - to be seen
        for title, groups in (("elsewhere", elsewhere), ("not judged", not_judged), ("on purpose", differing)):
            for reason, names in groups.items():
                print(f"  {len(names):4} {title}: {reason}")  # noqa: T201 - to be seen

    assert {name for name in RECORD if name.endswith("Vectors")} <= {*JUDGED, *ELSEWHERE}
    if FILE == SHIPPED:
        assert {name: len(RECORD.get(name, ())) for name in ELSEWHERE} == {
            "validationVectors": 22,
            "discoveryVectors": 2,
            "sequenceVectors": 0,
        }
        assert not_judged == {}
        assert differing == {
            NO_POD_NEEDED: ["ext-h007-value-no-pods"],
            EXACT: ["1e19", "-9223372036854775808", "99999999999999999999", "9Pi"],
            NO_DIGITS: ["m"],
            ECHO: ["+1", "1.", "1e+3"],
            ABSURD: ["1e1000"],
            SIGN_LOST: ["-0.0000000001"],
        }


def grouped(reasons: dict[str, str | None]) -> dict[str, list[str]]:
    """Give the names by reason, without those that have none."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, reason in reasons.items():
        if reason:
            groups[reason].append(name)
    return dict(groups)


def assess(case: Case, metric: MetricSpec, reading: Reading) -> Assessed | Unread:
    (outcome,) = verdict.assess(spec(metrics=(metric,)), adapter.signals(case, [reading]), case.grace).metrics
    return outcome


def failed(out: Json) -> bool:
    return "calc" not in out or "error" in out["calc"] or "errorAnyOf" in out["calc"]


def check_failure(outcome: Assessed | Unread) -> None:
    assert isinstance(outcome, Unread)
    assert outcome.missing.message


def check_pods(metric: MetricSpec, reading: Reading, case: Case, out: Json) -> None:
    """Hold values, groups and requests of the pods against the record, where it has them."""
    if "podValuesMilli" not in out:
        assert not isinstance(reading, PodSamples)
        return
    assert isinstance(reading, PodSamples)
    assert {sample.pod: sample.milli for sample in reading.samples} == out["podValuesMilli"]
    samples = {sample.pod: sample for sample in reading.samples}
    resource = None if isinstance(metric, PodsMetric) else metric.name
    matching = adapter.matching_pods(case)
    groups = pods.group(matching, samples, resource=resource, now=case.now, grace=case.grace)
    assert {
        "ready": len(groups.ready),
        "unready": sorted(groups.unready),
        "missing": sorted(groups.missing),
        "ignored": sorted(groups.ignored),
    } == out["groups"]
    if isinstance(metric.target, Utilization):
        container = metric.container if isinstance(metric, ContainerResourceMetric) else None
        requested = pods.requests(matching, metric.name, container)
        assert (None if isinstance(requested, Missing) else requested) == out.get("requestsMilli")


def check_current(outcome: Assessed | Unread, out: Json) -> None:
    """Hold the current values against what was calculated, and against `status.currentMetrics`, to the letter."""
    if out["ratio"]["first"] in {"NaN", "Infinity", "NaN or Infinity"}:
        return
    assert isinstance(outcome, Assessed)
    calc = out["calc"]
    assert outcome.current.average_utilization == calc.get("utilization")
    usage = outcome.current.value if isinstance(outcome.metric.target, Value) else outcome.current.average_value
    assert usage == pytest.approx(calc["usageMilli"], abs=go_rounds(outcome, calc["usageMilli"]))
    (status,) = out["hpa"]["statuses"]
    check_status(outcome, status)


def go_rounds(outcome: Assessed, usage: int) -> int:
    """Tell how far Go's division of a total by the replicas may be off: it is done in doubles."""
    per_replica = (
        isinstance(outcome.metric, ObjectMetric | ExternalMetric) and outcome.current.average_value is not None
    )
    return abs(usage) // 2**51 if per_replica else 0


def check_status(outcome: Assessed | Unread, status: Json) -> None:
    """Hold the current values, printed, against an entry of `status.currentMetrics`."""
    assert isinstance(outcome, Assessed)
    recorded = next(part["current"] for name, part in status.items() if name != "type")
    printed = {
        "value": printed_quantity(outcome, outcome.current.value),
        "averageValue": printed_quantity(outcome, outcome.current.average_value),
        "averageUtilization": outcome.current.average_utilization,
    }
    assert {name: value for name, value in printed.items() if value is not None} == recorded


def printed_quantity(outcome: Assessed, milli: int | None) -> str | None:
    resource = outcome.metric.name if isinstance(outcome.metric, ResourceMetric | ContainerResourceMetric) else ""
    family = Family.BINARY if resource == "memory" else Family.DECIMAL
    return None if milli is None else quantity.format_milli(milli, family)


def check_ratio(outcome: Assessed | Unread, recorded: float | str | None) -> None:
    if isinstance(recorded, str):
        assert isinstance(outcome, Unread), "a ratio that is no number must not be read"
        assert outcome.missing.reason == Reason.NO_REPLICAS
        return
    assert isinstance(outcome, Assessed)
    assert recorded is None or float(outcome.ratio) == pytest.approx(recorded, rel=1e-9)
