"""What the vectors record in Kubernetes' JSON, as the values that the core takes.

Answers, pods and selectors are read by what reads them from a real API server; the targets as section 8 of the HPA's
semantics says. A field that is absent, null or empty is not set: encoders differ in which of the three they write.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote

from beamlit_controller.core import quantity
from beamlit_controller.core.metric_spec import (
    AverageValue,
    ContainerResourceMetric,
    ExternalMetric,
    MetricSpec,
    ObjectMetric,
    ObjectReference,
    Operator,
    PodsMetric,
    Requirement,
    ResourceMetric,
    Selector,
    SeriesSelector,
    Utilization,
    Value,
)
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
from beamlit_controller.kubernetes import metrics_answers, pod_selector, pods

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
    config = given.get("config") or defaults["config"]
    return Case(
        now=_time(given.get("now") or defaults["now"]),
        namespace=given.get("namespace") or defaults["namespace"],
        selector=_selector(given, defaults),
        grace=Grace(
            timedelta(seconds=config["cpuInitializationPeriodSeconds"]),
            timedelta(seconds=config["initialReadinessDelaySeconds"]),
        ),
        scale=Scale(given.get("specReplicas") or 0, given.get("statusReplicas") or 0),
        cluster=tuple(given.get("pods") or ()),
        answers=tuple(given.get("api") or ()),
    )


def _selector(given: Json, defaults: Json) -> str:
    """Return the selector of the scale. The one field with a default whose empty value says something: there is none."""
    selector = given.get("selector")
    return (defaults.get("selector") or "") if selector is None else str(selector)


def signals(case: Case, readings: Iterable[Reading]) -> Signals:
    """Return the readings with the pods that the selector matches."""
    pods = matching_pods(case)
    return Signals(case.now, tuple(readings), pods, case.scale, LocalHealth(len(pods), len(pods)))


# Metrics: which field of the target counts (section 8).


def metric(given: Json) -> MetricSpec:
    """Read a MetricSpec. Raises InexpressibleError where the HPA could not evaluate it either."""
    match given.get("type"):
        case "Resource":
            source = _set(given, "resource")
            return ResourceMetric(_set(source, "name"), _resource_target(source))
        case "ContainerResource":
            source = _set(given, "containerResource")
            return ContainerResourceMetric(_set(source, "name"), _set(source, "container"), _resource_target(source))
        case "Pods":
            source = _set(given, "pods")
            target = AverageValue(_milli(_set(_set(source, "target"), "averageValue")))
            return PodsMetric(_identifier(source), target)
        case "Object":
            source = _set(given, "object")
            return ObjectMetric(_identifier(source), _reference(source), _object_target(source))
        case "External":
            source = _set(given, "external")
            return ExternalMetric(_identifier(source), _external_target(source))
        case other:
            raise InexpressibleError(f"unknown type {other!r}")


def _set(given: Json, name: str) -> Any:  # noqa: ANN401 - whatever JSON has there
    if not is_set(given, name):
        raise InexpressibleError(f"{name} is not set")
    return given[name]


def is_set(given: Json, name: str) -> bool:
    """Return whether a field is there and has something in it; 0 is something."""
    return given.get(name) not in (None, "", [], {})


def _resource_target(source: Json) -> Utilization | AverageValue:
    target = _set(source, "target")
    if is_set(target, "averageValue"):
        return AverageValue(_milli(target["averageValue"]))
    return Utilization(_set(target, "averageUtilization"))


def _object_target(source: Json) -> Value | AverageValue:
    target = _set(source, "target")
    match target.get("type"):
        case "Value":
            return Value(_milli(_set(target, "value")))
        case "AverageValue":
            return AverageValue(_milli(_set(target, "averageValue")))
        case other:
            raise InexpressibleError(f"an object has no target of the type {other!r}")


def _external_target(source: Json) -> Value | AverageValue:
    target = _set(source, "target")
    if is_set(target, "averageValue"):
        return AverageValue(_milli(target["averageValue"]))
    return Value(_milli(_set(target, "value")))


def _reference(source: Json) -> ObjectReference:
    described = _set(source, "describedObject")
    return ObjectReference(described.get("apiVersion") or "", _set(described, "kind"), _set(described, "name"))


def _identifier(source: Json) -> SeriesSelector:
    given = _set(source, "metric")
    selector = given.get("selector") or {}
    labels = tuple((selector.get("matchLabels") or {}).items())
    expressions = tuple(_requirement(each) for each in selector.get("matchExpressions") or ())
    return SeriesSelector(_set(given, "name"), Selector(labels, expressions))


def _requirement(given: Json) -> Requirement:
    try:
        operator = Operator(_set(given, "operator"))
    except ValueError as error:
        raise InexpressibleError(f"{given['operator']!r} is no operator") from error
    return Requirement(_set(given, "key"), operator, tuple(given.get("values") or ()))


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
    if not is_set(answer, "body"):
        return Missing(Reason.MALFORMED_ANSWER, answer.get("text") or "an answer without a body")
    return _items(wanted, answer["body"], case.now)


def without_answer(wanted: MetricSpec, case: Case) -> Case:
    """Return the case for the metric after this one: each has a request of its own, in their order."""
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


def _items(wanted: MetricSpec, answer: Json, at: datetime) -> Reading:
    match wanted:
        case ResourceMetric():
            return metrics_answers.resource(dict(answer), wanted.name, None, at=at)
        case ContainerResourceMetric():
            return metrics_answers.resource(dict(answer), wanted.name, wanted.container, at=at)
        case PodsMetric():
            return metrics_answers.pods(dict(answer), at=at)
        case ObjectMetric():
            return metrics_answers.one_object(dict(answer), at=at)
        case ExternalMetric():
            return metrics_answers.external(dict(answer), at=at)


# Pods.


def matching_pods(case: Case) -> tuple[Pod, ...]:
    """Return the pods of the cluster that are in the namespace and match the selector."""
    selector = pod_selector.parse(case.selector).selector
    return tuple(
        pods.parse(dict(each)).pod
        for each in case.cluster
        if each["metadata"]["namespace"] == case.namespace and selector.matches(each["metadata"].get("labels") or {})
    )


# Scalars.


def _milli(value: str | float) -> int:
    return quantity.parse(str(value).strip()).milli


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
