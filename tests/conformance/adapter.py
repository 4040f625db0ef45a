"""What the vectors record in Kubernetes' JSON, as the values that the core takes.

It parses, filters and sums as sections 2, 3 and 8 of the HPA's semantics say, so that what is compared is the core.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote

from beamlit_controller.core import quantity
from beamlit_controller.core.pods import Grace
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import (
    Container,
    LocalHealth,
    Missing,
    Pod,
    PodSample,
    PodSamples,
    Reading,
    Ready,
    Sample,
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

Json = Mapping[str, Any]

# What the metrics clients take for the window of a custom metric that names none.
DEFAULT_WINDOW = 60


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
    try:
        return _items(wanted, answer["body"].get("items") or ())
    except (ValueError, KeyError) as error:
        return Missing(Reason.MALFORMED_ANSWER, str(error))


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


def _items(wanted: MetricSpec, items: Iterable[Json]) -> Reading:
    found = tuple(items)
    match wanted:
        case ResourceMetric() | ContainerResourceMetric():
            container = wanted.container if isinstance(wanted, ContainerResourceMetric) else None
            samples = [_usage(item, wanted.name, container) for item in found]
            return _some(found, PodSamples(tuple(sample for sample in samples if sample is not None)))
        case PodsMetric():
            return _some(found, PodSamples(tuple(_of_pod(item) for item in found)))
        case ObjectMetric() if len(found) != 1:
            return Missing(Reason.MALFORMED_ANSWER, f"expected one result, got {len(found)}")
        case ObjectMetric() | ExternalMetric():
            return _some(found, _sum(found))


def _some(items: tuple[Json, ...], reading: Reading) -> Reading:
    return reading if items else Missing(Reason.NO_SERIES, "the list is empty")


def _usage(item: Json, resource: str, container: str | None) -> PodSample | None:
    """Give the use of a pod: of one container or of all; none where any of these lacks the resource."""
    each = [entry["usage"] for entry in item.get("containers") or () if container in {None, entry["name"]}]
    if not each or any(resource not in usage for usage in each):
        return None
    used = sum(_milli(usage[resource]) for usage in each)
    return PodSample(item["metadata"]["name"], used, _time(item["timestamp"]), duration(item["window"]))


def _of_pod(item: Json) -> PodSample:
    return PodSample(item["describedObject"]["name"], _milli(item["value"]), _time(item["timestamp"]), _window(item))


def _sum(items: tuple[Json, ...]) -> Reading:
    if not items:
        return Missing(Reason.NO_SERIES, "the list is empty")
    until = max(_time(item["timestamp"]) for item in items)
    return Sample(sum(_milli(item["value"]) for item in items), until, max(_window(item) for item in items))


def _window(item: Json) -> timedelta:
    seconds = item.get("windowSeconds", item.get("window"))
    return timedelta(seconds=DEFAULT_WINDOW if seconds is None else seconds)


# Pods.


def matching_pods(case: Case) -> tuple[Pod, ...]:
    """Give the pods of the cluster that are in the namespace and match the selector."""
    requirements = [_parse_requirement(each) for each in re.split(r",(?![^(]*\))", case.selector) if each]
    selector = LabelSelector(match_expressions=tuple(requirements))
    return tuple(
        _pod(each)
        for each in case.cluster
        if each["metadata"]["namespace"] == case.namespace and selector.matches(each["metadata"].get("labels", {}))
    )


_TERM = re.compile(
    r"(?P<absent>!)?(?P<key>[\w./-]+)\s*(?:(?P<equal>==?|!=)\s*(?P<value>[\w.-]*)"
    r"|(?P<set>in|notin)\s*\((?P<values>[^)]*)\))?"
)


def _parse_requirement(text: str) -> Requirement:
    term = _TERM.fullmatch(text.strip())
    if term is None:
        raise InexpressibleError(f"{text!r} is no selector")
    if term["equal"]:
        return Requirement(term["key"], Operator.NOT_IN if term["equal"] == "!=" else Operator.IN, (term["value"],))
    if term["set"]:
        values = tuple(value.strip() for value in term["values"].split(","))
        return Requirement(term["key"], Operator.IN if term["set"] == "in" else Operator.NOT_IN, values)
    return Requirement(term["key"], Operator.DOES_NOT_EXIST if term["absent"] else Operator.EXISTS)


def _pod(given: Json) -> Pod:
    spec, status = given.get("spec", {}), given.get("status", {})
    ready = next((each for each in status.get("conditions", ()) if each["type"] == "Ready"), None)
    return Pod(
        name=given["metadata"]["name"],
        phase=status.get("phase", ""),
        deleting=given["metadata"].get("deletionTimestamp") is not None,
        ready=Ready(ready["status"], _optional_time(ready.get("lastTransitionTime"))) if ready else None,
        started=_optional_time(status.get("startTime")),
        containers=tuple(_container(each) for each in spec.get("containers", ())),
        init_containers=tuple(_container(each) for each in spec.get("initContainers", ())),
        requests=_quantities(spec.get("resources", {}).get("requests")),
        overhead=_quantities(spec.get("overhead")),
    )


def _container(given: Json) -> Container:
    requests = _quantities(given.get("resources", {}).get("requests"))
    return Container(given["name"], requests, restartable=given.get("restartPolicy") == "Always")


# Scalars.


def _quantities(given: Json | None) -> tuple[tuple[str, int], ...]:
    return tuple((name, _milli(value)) for name, value in (given or {}).items())


def _milli(value: str | float) -> int:
    return quantity.parse(str(value).strip()).milli


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _optional_time(text: str | None) -> datetime | None:
    return _time(text) if text else None


_UNITS = {
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
    "us": timedelta(microseconds=1),
    "µs": timedelta(microseconds=1),
}


def duration(text: str) -> timedelta:
    """Read a duration as Go prints it: `30s`, `1m0s`, `17.5s`."""
    if not re.fullmatch(r"(?:[0-9.]+[a-zµ]+)+|0", text):
        raise ValueError(f"expected a duration such as 1m30s, got {text!r}")
    parts = re.findall(r"([0-9.]+)([a-zµ]+)", text)
    return sum((float(number) * _UNITS[unit] for number, unit in parts), timedelta(0))
