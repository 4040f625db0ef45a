"""How an outcome is held against what the real HorizontalPodAutoscaler answered.

In a record, a field that is absent, null or empty says the same: there was nothing. `recorded` leaves such fields out, so
that the checks below look at one form only.
"""

import re
from collections.abc import Mapping
from typing import Any

import pytest

from beamlit_controller.core import pods, quantity, verdict
from beamlit_controller.core.metric_spec import (
    ContainerResourceMetric,
    ExternalMetric,
    MetricSpec,
    ObjectMetric,
    PodsMetric,
    ResourceMetric,
    Utilization,
    Value,
)
from beamlit_controller.core.quantity import Family
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing, PodSample, PodSamples, Reading
from beamlit_controller.core.verdict import Assessed, Unread
from builders import spec
from conformance import adapter
from conformance.adapter import Case, InexpressibleError, Json

EMPTY: tuple[object, ...] = (None, "", [], {})

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


def recorded(given: Json) -> Json:
    """Return a record without the fields that say nothing, at every depth; the elements of lists keep their places."""
    return {name: _recorded(content) for name, content in given.items() if _recorded(content) not in EMPTY}


def _recorded(content: Any) -> Any:  # noqa: ANN401 - whatever JSON has there
    if isinstance(content, dict):
        return recorded(content)
    return [_recorded(each) for each in content] if isinstance(content, list) else content


def unjudged(vector: Json) -> str | None:
    """Return why a vector of one or several metrics can't be judged."""
    if "overflow" in (vector.get("tags") or ()):
        return WRAPPED
    given = vector["in"]
    return NO_TARGET if any(map(has_no_target, given.get("metrics") or [given["metric"]])) else None


def has_no_target(metric: Json) -> bool:
    """Return whether the part of the target that counts is 0 or below."""
    try:
        match adapter.metric(metric).target:
            case Utilization(percent):
                return percent <= 0
            case target:
                return target.milli <= 0
    except InexpressibleError:
        return False


def metric_difference(vector: Json) -> str | None:
    """Return why a metric is answered otherwise here, on purpose."""
    error = recorded(vector["out"]).get("calc", {}).get("error", "")
    return NO_POD_NEEDED if error.startswith("unable to calculate ready pods") else None


def quantity_difference(vector: Json) -> str | None:
    """Return why a quantity is read or printed otherwise here, on purpose."""
    text = text_of(vector)
    if adapter.is_set(vector, "error"):
        return None
    if not re.match(r"[+-]?\.?[0-9]", text):
        return NO_DIGITS
    if is_absurd(text, float(vector.get("float") or 0)):
        return ABSURD
    if vector.get("overflow"):
        return EXACT
    if (vector.get("sign") or 0) * (vector.get("milli") or 0) < 0:
        return SIGN_LOST
    return ECHO if vector.get("canonical") == text and plain(text) != text else None


def text_of(vector: Json) -> str:
    """Return the text of a quantity; the empty one may be absent."""
    return vector.get("s") or ""


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
    calc = out.get("calc") or {"error": "nothing was calculated"}
    return "error" in calc or "errorAnyOf" in calc


def check_outcome(outcome: Assessed | Unread, vector: Json) -> None:
    """Hold what was assessed against the answer of the HPA."""
    out = recorded(vector["out"])
    if metric_difference(vector):
        check_ratio(outcome, out.get("ratio", {}).get("effective"))
    elif failed(out):
        check_failure(outcome)
    else:
        check_current(outcome, out)
        check_ratio(outcome, first_ratio(out))


def check_failure(outcome: Assessed | Unread) -> None:
    assert isinstance(outcome, Unread)
    assert outcome.missing.message


def check_pods(metric: MetricSpec, reading: Reading, case: Case, out: Json) -> None:
    """Hold values, groups and requests of the pods against the record."""
    samples = {sample.pod: sample for sample in reading.samples} if isinstance(reading, PodSamples) else {}
    assert {name: sample.milli for name, sample in samples.items()} == out.get("podValuesMilli", {})
    if "groups" in out:
        check_groups(metric, samples, case, out)


def check_groups(metric: MetricSpec, samples: Mapping[str, PodSample], case: Case, out: Json) -> None:
    resource = None if isinstance(metric, PodsMetric) else metric.name
    matching = adapter.matching_pods(case)
    groups = pods.group(matching, samples, resource=resource, now=case.now, grace=case.grace)
    assert {
        "ready": len(groups.ready),
        "unready": sorted(groups.unready),
        "missing": sorted(groups.missing),
        "ignored": sorted(groups.ignored),
    } == {"ready": 0, "unready": [], "missing": [], "ignored": [], **out["groups"]}
    if isinstance(metric.target, Utilization):
        container = metric.container if isinstance(metric, ContainerResourceMetric) else None
        requested = pods.requests(matching, metric.name, container)
        assert ({} if isinstance(requested, Missing) else requested) == out.get("requestsMilli", {})


def check_current(outcome: Assessed | Unread, out: Json) -> None:
    """Hold the current values against what was calculated, and against `status.currentMetrics`, to the letter."""
    if isinstance(first_ratio(out), str):
        return
    assert isinstance(outcome, Assessed)
    calculated, expected = out["calc"].get("usageMilli", 0), out["calc"].get("utilization", 0)
    assert outcome.current.average_utilization == (expected if isinstance(outcome.metric.target, Utilization) else None)
    usage = outcome.current.value if isinstance(outcome.metric.target, Value) else outcome.current.average_value
    assert usage == pytest.approx(calculated, abs=go_rounds(outcome, calculated))
    (status,) = out["hpa"]["statuses"]
    check_status(outcome, status)


def first_ratio(out: Json) -> float | str | None:
    """Return the ratio before pods are counted in or out; a text where it is no number."""
    ratio: float | str | None = out.get("ratio", {}).get("first")
    return ratio


def go_rounds(outcome: Assessed, usage: int) -> int:
    """Return how far Go's division of a total by the replicas may be off: it is done in doubles."""
    per_replica = (
        isinstance(outcome.metric, ObjectMetric | ExternalMetric) and outcome.current.average_value is not None
    )
    return abs(usage) // 2**51 if per_replica else 0


def check_status(outcome: Assessed | Unread, status: Json) -> None:
    """Hold the current values, printed, against an entry of `status.currentMetrics`."""
    assert isinstance(outcome, Assessed)
    current = next((part.get("current", {}) for name, part in status.items() if name != "type"), {})
    printed = {
        "value": printed_quantity(outcome, outcome.current.value),
        "averageValue": printed_quantity(outcome, outcome.current.average_value),
        "averageUtilization": outcome.current.average_utilization,
    }
    assert {name: value for name, value in printed.items() if value is not None} == current


def printed_quantity(outcome: Assessed, milli: int | None) -> str | None:
    resource = outcome.metric.name if isinstance(outcome.metric, ResourceMetric | ContainerResourceMetric) else ""
    family = Family.BINARY if resource == "memory" else Family.DECIMAL
    return None if milli is None else quantity.format_milli(milli, family)


def check_ratio(outcome: Assessed | Unread, expected: float | str | None) -> None:
    if isinstance(expected, str):
        assert isinstance(outcome, Unread), "a ratio that is no number must not be read"
        assert outcome.missing.reason == Reason.NO_REPLICAS
        return
    assert isinstance(outcome, Assessed)
    assert expected is None or float(outcome.ratio) == pytest.approx(expected, rel=1e-9)
