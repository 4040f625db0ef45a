"""Converts metrics of a HorizontalPodAutoscaler of any version to autoscaling/v2."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from beamlit_controller.api import problems
from beamlit_controller.api.problems import Notice
from beamlit_controller.api.rules import dig

Json = dict[str, Any]
_ALPHA = "autoscaling.alpha.kubernetes.io"
ALPHA = f"{_ALPHA}/metrics"
"""The annotation in which autoscaling/v1 stores the metrics for which it has no fields."""
_OBSERVED = frozenset({f"{_ALPHA}/conditions", f"{_ALPHA}/current-metrics"})
"""Those for its status."""
DEFAULT_PERCENT = 80
"""The CPU utilization that Kubernetes uses as the target of an autoscaler without metrics."""


def metrics(autoscaler: Mapping[str, Any]) -> list[Json]:
    """Return all metrics of an autoscaler. Raises ValueError."""
    spec = autoscaler.get("spec")
    given = dig(spec, ("metrics",))
    found = [metric(each) for each in given] if isinstance(given, list) else []
    percent = dig(spec, ("targetCPUUtilizationPercentage",)) or dig(spec, ("cpuUtilization", "targetPercentage"))
    if percent is not None:
        found.append(_cpu(percent))
    found += map(metric, _annotated(autoscaler))
    return found or ([_cpu(DEFAULT_PERCENT)] if isinstance(spec, Mapping) else [])


def has_metrics(autoscaler: Mapping[str, Any]) -> bool:
    """Return whether it has any metric; without one, Kubernetes' default applies."""
    spec = autoscaler.get("spec")
    fields = (("metrics",), ("targetCPUUtilizationPercentage",), ("cpuUtilization", "targetPercentage"))
    return any(dig(spec, field) for field in fields) or bool(_annotated(autoscaler))


def notes(autoscaler: Mapping[str, Any]) -> Iterator[Notice]:
    """Yield notes about what is not converted: limits and behavior, also where autoscaling/v1 stores it as an annotation."""
    for name, said in _REPLICAS.items():
        if dig(autoscaler, ("spec", name)) is not None:
            yield Notice(f"spec.{name}", said)
    annotations = dig(autoscaler, ("metadata", "annotations"))
    for name in annotations if isinstance(annotations, Mapping) else ():
        if str(name).startswith(f"{_ALPHA}/") and name not in {ALPHA, *_OBSERVED}:
            said = _REPLICAS.get(name.removeprefix(f"{_ALPHA}/"), "no equivalent")
            yield Notice(problems.path(("metadata", "annotations", name)), said)


def _cpu(percent: object) -> Json:
    return {"type": "Resource", "resource": {"name": "cpu", "target": _target("averageUtilization", percent)}}


def metric(given: object) -> Json:
    """Convert one metric; one of v2 is unchanged. Raises ValueError."""
    if not isinstance(given, Mapping):
        raise ValueError("expected a mapping for each metric")  # noqa: TRY004 - a user's mistake
    kind = str(given.get("type", ""))
    member = kind[:1].lower() + kind[1:]
    source = given.get(member)
    return {"type": kind, member: _source(member, source) if isinstance(source, Mapping) else source}


def _annotated(autoscaler: Mapping[str, Any]) -> list[object]:
    text = dig(autoscaler, ("metadata", "annotations", ALPHA))
    if not isinstance(text, str):
        return []
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(_NO_LIST) from None
    if not isinstance(found, list | None):
        raise ValueError(_NO_LIST)  # noqa: TRY004 - a user's mistake
    return found or []


def _source(member: str, given: Mapping[str, Any]) -> Json:
    """Move the fields of v2beta1 to where v2 has them."""
    source = {name: value for name, value in given.items() if name not in _OLD}
    if member == "object" and isinstance(given.get("target"), Mapping) and "kind" in given["target"]:
        source["describedObject"] = source.pop("target")
    identifier = {name: given[old] for old, name in (_SELECTORS if "metricName" in given else ()) if old in given}
    if identifier:
        source["metric"] = identifier
    targets = dict(_targets(given))
    if targets:
        source["target"] = targets
    return source


def _targets(given: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    found = [(new, given[old]) for old, new in _TARGETS.items() if old in given]
    # v2beta1 may have both for an Object metric; then the average counts.
    chosen = next((each for each in found if each[0] != "value"), found[0] if found else None)
    if chosen:
        yield from _target(*chosen).items()


def _target(field: str, value: object) -> Json:
    return {"type": _TYPES[field], field: value}


_NO_LIST = f"metadata.annotations[{ALPHA}]: expected a list in JSON"
_REPLICAS = {
    "minReplicas": "the autoscaler keeps scaling the replicas; this controller scales nothing",
    "maxReplicas": "the autoscaler keeps scaling the replicas; this controller scales nothing",
    "behavior": "applies to replicas; offloadingConfig.behavior applies to the percentage",
}
_TARGETS = {
    "targetAverageUtilization": "averageUtilization",
    "targetAverageValue": "averageValue",
    "averageValue": "averageValue",
    "targetValue": "value",
}
_SELECTORS = (("metricName", "name"), ("metricSelector", "selector"), ("selector", "selector"))
_OLD = frozenset({*_TARGETS, *(name for name, _ in _SELECTORS)})
_TYPES = {"averageUtilization": "Utilization", "averageValue": "AverageValue", "value": "Value"}
