"""How an outcome is held against what the real HorizontalPodAutoscaler answered."""

import re

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
