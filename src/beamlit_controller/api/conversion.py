"""Converts autoscalers and older manifests to a `ModelDeployment`, with notes on what has no equivalent."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from beamlit_controller.api import hpa, keda, problems, series_remarks, targets, yaml_documents
from beamlit_controller.api.metrics import MetricSpec
from beamlit_controller.api.problems import Problem
from beamlit_controller.api.rules import dig
from beamlit_controller.api.v1alpha1 import API_VERSION, KIND
from beamlit_controller.api.yaml_documents import Document
from beamlit_controller.core import trigger

Json = dict[str, Any]
METRICS = "spec.offloadingConfig.metrics"


@dataclass(frozen=True, slots=True)
class Conversion:
    """The converted document, None if there is none, and the notes."""

    manifest: Json | None
    notes: tuple[Problem, ...] = ()


def convert(text: str) -> Iterator[Conversion]:
    """Convert each document of a text. Never raises: an error is a note."""
    for document in yaml_documents.load(text):
        if not isinstance(document, Document):
            yield Conversion(None, (Problem(f"document {document.number}", "", document.message),))
            continue
        for content in _items(document.content):
            yield _convert(content, f"document {document.number}")


def _items(content: object) -> list[object]:
    items = dig(content, ("items",))
    return items if isinstance(items, list) and str(dig(content, ("kind",))).endswith("List") else [content]


def _convert(content: object, where: str) -> Conversion:
    if not isinstance(content, Mapping):
        return Conversion(None, (Problem(where, "", f"expected a mapping, got {problems.kind(content)}"),))
    kind = content.get("kind")
    named = f"{where} ({kind} {dig(content, ('metadata', 'name'))})"[:200]
    try:
        match kind:
            case "HorizontalPodAutoscaler":
                return _autoscaler(content, named)
            case "ScaledObject":
                return _scaled(content, named)
            case _ if kind == KIND:
                return _deployment(content, named)
            case _:
                known = f"a {KIND}, a HorizontalPodAutoscaler or a ScaledObject"
                return Conversion(None, (Problem(where, "kind", f"expected {known}, got {problems.came(kind)}"),))
    except ValueError as error:
        return Conversion(None, (Problem(named, "", str(error)),))


def _autoscaler(content: Mapping[str, Any], where: str) -> Conversion:
    metrics = hpa.metrics(content)
    notes = [Problem(where, each.field, each.message) for each in hpa.notes(content)]
    if not hpa.has_metrics(content):
        said = f"without metrics, Kubernetes scales by cpu at {hpa.DEFAULT_PERCENT} %: so does the result"
        notes.append(Problem(where, "spec.metrics", said))
    notes += (Problem(where, f"{METRICS}[{index}]", _KEDAS) for index, each in enumerate(metrics) if _is_kedas(each))
    return _made(content, metrics, where, notes)


def _is_kedas(metric: Mapping[str, Any]) -> bool:
    return dig(metric, ("external", "metric", "selector", "matchLabels", "scaledobject.keda.sh/name")) is not None


def _scaled(content: Mapping[str, Any], where: str) -> Conversion:
    found = list(keda.triggers(content))
    notes = [Problem(where, each.field, each.message) for one in found for each in one.notes]
    notes += [Problem(where, each.field, each.message) for each in keda.notes(content)]
    return _made(content, [one.metric for one in found if one.metric], where, notes)


def _made(content: Mapping[str, Any], metrics: list[Json], where: str, notes: list[Problem]) -> Conversion:
    if not metrics:
        return Conversion(None, (*notes, Problem(where, "spec", "none of its metrics has an equivalent here")))
    metadata = {name: dig(content, ("metadata", name)) for name in ("name", "namespace")}
    source = _workload(dig(content, ("spec", "scaleTargetRef")) or dig(content, ("spec", "scaleRef")))
    config = {"metrics": metrics}
    manifest = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {name: value for name, value in metadata.items() if value is not None},
        "spec": {**({"modelSourceRef": source} if source else {}), "offloadingConfig": config},
    }
    missing = Problem(where, "spec.offloadingConfig.remoteBackend", "set where requests go, and spec.serviceRef")
    return Conversion(manifest, (*notes, *_mistakes(metrics, where), missing))


def _workload(given: object) -> Json | None:
    """Return the scaled workload; the default of KEDA is a Deployment."""
    name = dig(given, ("name",)) or dig(given, ("deploymentName",))
    if not isinstance(name, str):
        return None
    api_version, kind = dig(given, ("apiVersion",)) or "apps/v1", dig(given, ("kind",)) or "Deployment"
    return {"apiVersion": api_version, "kind": kind, "name": name}


def _deployment(content: Mapping[str, Any], where: str) -> Conversion:
    """Rewrite the metrics of a ModelDeployment that uses fields of older autoscaler versions."""
    given = dig(content, ("spec", "offloadingConfig", "metrics"))
    metrics = [hpa.metric(each) for each in given] if isinstance(given, list) else []
    manifest = {name: value for name, value in content.items() if name != "status"}
    if metrics:
        config = {**content["spec"]["offloadingConfig"], "metrics": metrics}
        manifest = {**manifest, "apiVersion": API_VERSION, "spec": {**content["spec"], "offloadingConfig": config}}
    return Conversion(manifest, tuple(_mistakes(metrics, where)))


def _mistakes(metrics: list[Json], where: str) -> Iterator[Problem]:
    """Yield what `check` would reject in the result, and what it would say of the targets."""
    for index, metric in enumerate(metrics):
        try:
            yield from _of_target(MetricSpec.model_validate(metric), where, f"{METRICS}[{index}]")
        except ValidationError as error:
            path = ("spec", "offloadingConfig", "metrics", index)
            found = problems.rejected(error.errors(include_url=False), path)
            yield from (Problem(where, each.field, each.message) for each in found)
        if "beamlit_" in str(metric.get("external", "")):
            said = "it is computed from this controller's own metrics, so offloading by it would be circular"
            yield Problem(where, f"{METRICS}[{index}]", said)


def _of_target(given: MetricSpec, where: str, field: str) -> Iterator[Problem]:
    metric = targets.metric(given)
    beyond = trigger.beyond(metric)
    for said in (*([beyond] if beyond else ()), *series_remarks.of_target(metric)):
        yield Problem(where, f"{field}.{targets.field(given)}", said)


_KEDAS = "KEDA made this autoscaler, and its metrics server alone has this metric: convert the ScaledObject instead"
