"""What the vectors record in Kubernetes' JSON, as the values that the core takes.

Answers, pods and selectors are read by what reads them from a real API server; the targets as section 8 of the HPA's
semantics says.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote

from beamlit_controller.core import quantity
from beamlit_controller.core.pods import Grace
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import (
    LocalHealth,
    Missing,
    Pod,
    Reading,
    Scale,
    Signals,
)
from beamlit_controller.core.spec import (
    AverageValue,
    ContainerResourceMetric,
    ExternalMetric,
    LabelSelector,
    MetricIdentifier,
    MetricSpec,
    ObjectMetric,
    ObjectReference,
    Operator,
    PodsMetric,
    Requirement,
    ResourceMetric,
    Utilization,
    Value,
)
from beamlit_controller.kubernetes import answers, pods, selectors

Json = Mapping[str, Any]


class InexpressibleError(ValueError):
    """A MetricSpec that our types can't hold, because no evaluation of it exists."""


@dataclass(frozen=True, slots=True)
class Case:
    """The inputs of one vector, without its metrics."""

    now: datetime
    namespace: str
    selector: str
    grace: Grace
    scale: Scale
    cluster: tuple[Json, ...]
    answers: tuple[Json, ...]


def case(given: Json, defaults: Json) -> Case:
    """Read the `in` of a vector over the defaults of its file."""
    config = given.get("config", defaults["config"])
    return Case(
        now=_time(given.get("now", defaults["now"])),
        namespace=given.get("namespace", defaults["namespace"]),
        selector=given.get("selector", defaults["selector"]),
        grace=Grace(
            timedelta(seconds=config["cpuInitializationPeriodSeconds"]),
            timedelta(seconds=config["initialReadinessDelaySeconds"]),
        ),
        scale=Scale(given["specReplicas"], given["statusReplicas"]),
        cluster=tuple(given["pods"]),
        answers=tuple(given["api"]),
    )


def signals(case: Case, readings: Iterable[Reading]) -> Signals:
    """Give the readings with the pods that the selector matches."""
    pods = matching_pods(case)
    return Signals(case.now, tuple(readings), pods, case.scale, LocalHealth(len(pods), len(pods)))


# Metrics: which field of the target counts (section 8).


def metric(given: Json) -> MetricSpec:
    """Read a MetricSpec. Raises InexpressibleError where the HPA could not evaluate it either."""
    try:
        return _metric(given)
    except KeyError as error:
        raise InexpressibleError(f"{error} is not set") from error


def _metric(given: Json) -> MetricSpec:
    match given["type"]:
        case "Resource":
            source = given["resource"]
            return ResourceMetric(source["name"], _resource_target(source["target"]))
        case "ContainerResource":
            source = given["containerResource"]
            return ContainerResourceMetric(source["name"], source["container"], _resource_target(source["target"]))
        case "Pods":
            source = given["pods"]
            return PodsMetric(_identifier(source["metric"]), AverageValue(_milli(source["target"]["averageValue"])))
        case "Object":
            source = given["object"]
            described = source["describedObject"]
            reference = ObjectReference(described.get("apiVersion", ""), described["kind"], described["name"])
            return ObjectMetric(_identifier(source["metric"]), reference, _object_target(source["target"]))
        case "External":
            source = given["external"]
            return ExternalMetric(_identifier(source["metric"]), _external_target(source["target"]))
        case other:
            raise InexpressibleError(f"unknown type {other!r}")


def _resource_target(target: Json) -> Utilization | AverageValue:
    if "averageValue" in target:
        return AverageValue(_milli(target["averageValue"]))
    if "averageUtilization" in target:
        return Utilization(target["averageUtilization"])
    raise InexpressibleError("neither averageUtilization nor averageValue is set")


def _object_target(target: Json) -> Value | AverageValue:
    if target["type"] == "Value" and "value" in target:
        return Value(_milli(target["value"]))
    if target["type"] == "AverageValue" and "averageValue" in target:
        return AverageValue(_milli(target["averageValue"]))
    raise InexpressibleError(f"type {target['type']} without the field of that name")


def _external_target(target: Json) -> Value | AverageValue:
    if "averageValue" in target:
        return AverageValue(_milli(target["averageValue"]))
    if "value" in target:
        return Value(_milli(target["value"]))
    raise InexpressibleError("neither value nor averageValue is set")


def _identifier(given: Json) -> MetricIdentifier:
    selector = given.get("selector") or {}
    labels = tuple(selector.get("matchLabels", {}).items())
    expressions = tuple(_requirement(each) for each in selector.get("matchExpressions", ()))
    return MetricIdentifier(given["name"], LabelSelector(labels, expressions))


def _requirement(given: Json) -> Requirement:
    try:
        operator = Operator(given["operator"])
    except ValueError as error:
        raise InexpressibleError(f"{given['operator']!r} is no operator") from error
    return Requirement(given["key"], operator, tuple(given.get("values", ())))


# Readings: the recorded answers (section 3).


def reading(wanted: MetricSpec, case: Case) -> Reading:
    """Read the answer that was recorded for a metric."""
    if not case.selector:
        return Missing(Reason.NO_PODS, "the scale has no selector")
    answer = _answer(wanted, case)
    if answer is None:
        return Missing(Reason.INTERNAL_ERROR, "the HPA asked for nothing")
    if answer["code"] != 200:
        return Missing(Reason.HTTP_ERROR, f"HTTP {answer['code']}")
    if "body" not in answer:
        return Missing(Reason.MALFORMED_ANSWER, answer["text"])
    return _items(wanted, answer["body"])


def without_answer(wanted: MetricSpec, case: Case) -> Case:
    """Give the case for the metric after this one: each has a request of its own, in their order."""
    used = _answer(wanted, case)
    return replace(case, answers=tuple(each for each in case.answers if each is not used))


def _answer(wanted: MetricSpec, case: Case) -> Json | None:
    return next((each for each in case.answers if _asks_for(each["request"], wanted)), None)


def _asks_for(request: str, wanted: MetricSpec) -> bool:
    path = unquote(request.removeprefix("GET ").partition("?")[0])
    match wanted:
        case ResourceMetric() | ContainerResourceMetric():
            return path.startswith("/apis/metrics.k8s.io/")
        case PodsMetric():
            return path.startswith("/apis/custom.metrics.k8s.io/") and path.endswith(f"/pods/*/{wanted.metric.name}")
        case ObjectMetric():
            custom = path.startswith("/apis/custom.metrics.k8s.io/") and "/pods/*/" not in path
            return custom and path.endswith(f"/{wanted.metric.name}")
        case ExternalMetric():
            external = path.startswith("/apis/external.metrics.k8s.io/")
            return external and path.endswith(f"/{wanted.metric.name.lower()}")


def _items(wanted: MetricSpec, answer: Json) -> Reading:
    match wanted:
        case ResourceMetric():
            return answers.resource(dict(answer), wanted.name, None)
        case ContainerResourceMetric():
            return answers.resource(dict(answer), wanted.name, wanted.container)
        case PodsMetric():
            return answers.pods(dict(answer))
        case ObjectMetric():
            return answers.one_object(dict(answer))
        case ExternalMetric():
            return answers.external(dict(answer))


# Pods.


def matching_pods(case: Case) -> tuple[Pod, ...]:
    """Give the pods of the cluster that are in the namespace and match the selector."""
    selector = selectors.parse(case.selector).selector
    return tuple(
        pods.parse(dict(each)).pod
        for each in case.cluster
        if each["metadata"]["namespace"] == case.namespace and selector.matches(each["metadata"].get("labels", {}))
    )


# Scalars.


def _milli(value: str | float) -> int:
    return quantity.parse(str(value).strip()).milli


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
