"""Converts triggers of a KEDA ScaledObject to metrics, with a note for each field that has no equivalent."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from beamlit_controller.api import policy, problems, promql, series_remarks
from beamlit_controller.api.problems import Notice
from beamlit_controller.api.rules import dig

Json = dict[str, Any]
INFORMER = "config.metricInformer"


@dataclass(frozen=True, slots=True)
class ConvertedTrigger:
    """The metric of a trigger, if there is an equivalent one, and the notes."""

    metric: Json | None
    notes: tuple[Notice, ...] = ()


def triggers(scaled: Mapping[str, Any]) -> Iterator[ConvertedTrigger]:
    """Convert each trigger."""
    given = dig(scaled, ("spec", "triggers"))
    for index, each in enumerate(given if isinstance(given, list) else ()):
        yield trigger(each, f"spec.triggers[{index}]")


def trigger(given: object, field: str) -> ConvertedTrigger:
    """Convert one trigger."""
    kind = dig(given, ("type",))
    metadata = dig(given, ("metadata",))
    words = dict(metadata) if isinstance(metadata, Mapping) else {}
    trigger = dict(given) if isinstance(given, Mapping) else {}
    cached = tuple(_cached(trigger, field))
    match kind:
        case "prometheus":
            return ConvertedTrigger(_query(trigger, words), (*_noted(trigger, words, field), *cached))
        case "cpu" | "memory":
            return ConvertedTrigger(_resource(kind, trigger, words), (*_activation(words, field), *cached))
        case "cron":
            said = "no equivalent of a schedule: `beamlit-controller override` sets a percentage for some time"
            return ConvertedTrigger(None, (Notice(field, said),))
        case _:
            said = f"no equivalent of a trigger of type {kind}: have Prometheus scrape it, and use a query as an External metric"
            return ConvertedTrigger(None, (Notice(field, said),))


def notes(scaled: Mapping[str, Any]) -> Iterator[Notice]:
    """Yield notes about the other fields and annotations of a ScaledObject, and where to set them here."""
    annotations = dig(scaled, ("metadata", "annotations"))
    for name, value in annotations.items() if isinstance(annotations, Mapping) else ():
        if isinstance(name, str) and name.partition("/")[0].endswith("keda.sh") and _text(value) != "false":
            said = _PAUSED if name.startswith(_PAUSES) else "no equivalent: it is for KEDA itself"
            yield Notice(problems.path(("metadata", "annotations", name)), said)
    spec = scaled.get("spec")
    for name, said in _ELSEWHERE.items():
        if dig(spec, tuple(name.split("."))) is not None:
            yield Notice(f"spec.{name}", said)


def _query(trigger: Json, words: Json) -> Json:
    by_value = trigger.get("metricType") == "Value"
    field, kind = ("value", "Value") if by_value else ("averageValue", "AverageValue")
    target = {"type": kind, field: _text(words.get("threshold", ""))}
    return {"type": "External", "external": {"metric": {"name": _text(words.get("query", ""))}, "target": target}}


def _noted(trigger: Json, words: Json, field: str) -> Iterator[Notice]:
    path = f"{field}.metadata"
    if address := words.get("serverAddress"):
        said = f"for all models, in the settings: {INFORMER} {{type: prometheus, prometheus: {{address: {_text(address)[:200]}}}}}"
        yield Notice(f"{path}.serverAddress", said)
    is_never_empty = "vector(0)" in _text(words.get("query", "")).replace(" ", "")
    if not is_never_empty and _text(words.get("ignoreNullValues", "true")).lower() != "false":
        said = "KEDA treats an empty result as 0; here it is a missing value, and the percentage stays. Add `or vector(0)` to get 0"
        yield Notice(f"{path}.ignoreNullValues", said)
    for said in _of_query(_text(words.get("query", "")), by_value=trigger.get("metricType") == "Value"):
        yield Notice(f"{path}.query", said)
    for name in words:
        if name in _SETTINGS:
            yield Notice(f"{path}.{name}", f"for all models, in the settings: {INFORMER}.prometheus.{_SETTINGS[name]}")
        elif name not in _CONVERTED:
            yield Notice(f"{path}.{name}", "no equivalent")
    if "authenticationRef" in trigger:
        said = f"no equivalent of a TriggerAuthentication: {INFORMER}.prometheus of the settings has bearerTokenFile, basicAuth, tls, aws, google and azure"
        yield Notice(f"{field}.authenticationRef", said)
    yield from _activation(words, field)


def _cached(trigger: Json, field: str) -> Iterator[Notice]:
    if _text(trigger.get("useCachedMetrics", False)) != "false":
        said = f"no equivalent: the metric is read every periodSeconds of {INFORMER}, and never from a cache"
        yield Notice(f"{field}.useCachedMetrics", said)


def _of_query(query: str, *, by_value: bool) -> Iterator[str]:
    """Yield what `check` says about the query; KEDA's queries are always for Prometheus."""
    mistakes = [] if policy.is_series_name(query) else [*promql.mistakes(query)]
    yield from mistakes or series_remarks.of_name(query, by_value=by_value)


def _activation(words: Json, field: str) -> Iterator[Notice]:
    for name in ("activationThreshold", "activationValue"):
        if name in words:
            yield Notice(f"{field}.metadata.{name}", "no equivalent: it controls scaling from zero")


def _resource(name: str, trigger: Json, words: Json) -> Json:
    by_value = (trigger.get("metricType") or words.get("type")) == "AverageValue"
    value = words.get("value", "")
    number = int(value) if not by_value and _text(value).isdigit() and len(_text(value)) < _DIGITS else _text(value)
    field, kind = ("averageValue", "AverageValue") if by_value else ("averageUtilization", "Utilization")
    target = {"type": kind, field: number}
    if container := words.get("containerName"):
        return {
            "type": "ContainerResource",
            "containerResource": {"name": name, "container": container, "target": target},
        }
    return {"type": "Resource", "resource": {"name": name, "target": target}}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


_DIGITS = 10
_SETTINGS = {
    "customHeaders": "headers",
    "cortexOrgID": "headers, as X-Scope-OrgID",
    "namespace": 'queryParameters, as {namespace: "…"}',
    "queryParameters": "queryParameters",
    "authModes": "bearerTokenFile, basicAuth, tls, aws, google or azure",
    "unsafeSsl": "tls.caFile: certificates are always verified",
    "awsRegion": "aws.region",
    "timeout": "timeoutSeconds",
}
_CONVERTED = frozenset({"serverAddress", "query", "threshold", "activationThreshold", "ignoreNullValues", "metricName"})
"""Fields of a Prometheus trigger that are converted, told elsewhere, or only name the metric in KEDA."""
_PAUSES = "autoscaling.keda.sh/paused"
_PAUSED = "pauses KEDA's scaling, but not offloading: spec.enabled: false of the ModelDeployment ends that"
_ELSEWHERE = {
    "pollingInterval": f"for all models, in the settings: {INFORMER}.periodSeconds",
    "cooldownPeriod": "see offloadingConfig.behavior.release.stabilizationWindowSeconds, which applies to the percentage",
    "initialCooldownPeriod": "no equivalent: it controls scaling to zero",
    "fallback": "see offloadingConfig.behavior.onMetricsLoss",
    "advanced.scalingModifiers": "no equivalent of a formula: combine it into one query",
    "advanced.horizontalPodAutoscalerConfig.behavior": "applies to replicas; offloadingConfig.behavior applies to the percentage",
    "advanced.horizontalPodAutoscalerConfig.name": "no equivalent: no autoscaler is created",
    "advanced.restoreToOriginalReplicaCount": "no equivalent: this controller scales nothing",
    "minReplicaCount": "KEDA keeps scaling the replicas; this controller scales nothing",
    "maxReplicaCount": "KEDA keeps scaling the replicas; this controller scales nothing",
    "idleReplicaCount": "KEDA keeps scaling the replicas; this controller scales nothing",
}
