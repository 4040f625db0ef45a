"""HorizontalPodAutoscalers of the cluster, and the workload that each one scales.

Used for the condition AutoscalerInterference. An autoscaler that scales on one of our demand series is left out.
"""

from collections.abc import Iterator
from dataclasses import replace

from beamlit_controller.core.metric_spec import ObjectReference
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.kubernetes import fields
from beamlit_controller.kubernetes.api_server import Json

ON_DEMAND = ("beamlit_demand_replicas", "beamlit_demand_ratio", "beamlit_metric_demand")
"""Our own series. An autoscaler that uses one of them sees offloaded requests, because the highest of several metrics counts."""


def target(content: Json) -> ObjectReference | None:
    """Parse an autoscaler's target; None if it scales on one of our demand series and so doesn't interfere."""
    spec = fields.mapping(content.get("spec"))
    externals = (fields.mapping(each.get("external")) for each in fields.mappings(spec.get("metrics")))
    said = (each for external in externals for each in _said(fields.mapping(external.get("metric"))))
    if any(ours in each for each in said for ours in ON_DEMAND):
        return None
    given = fields.mapping(spec.get("scaleTargetRef"))
    return ObjectReference(*(fields.text(given.get(part)) for part in ("apiVersion", "kind", "name")))


def _said(metric: Json) -> Iterator[str]:
    """Yield the names that a metric spec mentions: the metric, and the labels of its selector."""
    yield fields.text(metric.get("name"))
    for _, value in fields.pairs(fields.mapping(metric.get("selector")).get("matchLabels")):
        yield value


class Autoscalers:
    """The known autoscalers, by target."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], ObjectReference] = {}
        self._targets: dict[tuple[str, str, str, str], set[str]] = {}

    def changed(self, namespaced_name: tuple[str, str], seen: ObjectReference | None) -> None:
        """Handle an event of the watch; None means deleted."""
        namespace, name = namespaced_name
        before = self._names.pop(namespaced_name, None)
        if before is not None:
            names = self._targets[_key(namespace, before)]
            names.discard(name)
            if not names:
                del self._targets[_key(namespace, before)]
        if seen is not None:
            self._names[namespaced_name] = seen
            self._targets.setdefault(_key(namespace, seen), set()).add(name)

    def target(self, namespaced_name: tuple[str, str]) -> ObjectReference | None:
        """Return the target of an autoscaler, as last seen."""
        return self._names.get(namespaced_name)

    def of(self, key: ModelKey, source: ObjectReference | None) -> str | None:
        """Return the name of the autoscaler of a model's workload, if there is one."""
        names = self._targets.get(_key(key.namespace, source)) if source else None
        return f"{key.namespace}/{min(names)}" if names else None


def versionless(reference: ObjectReference) -> ObjectReference:
    """Return a workload reference without its API version, which does not distinguish workloads."""
    return replace(reference, api_version=reference.api_version.rpartition("/")[0])


def _key(namespace: str, reference: ObjectReference) -> tuple[str, str, str, str]:
    """Identify a workload by group, kind and name, ignoring the API version."""
    group = reference.api_version.rpartition("/")[0]
    return namespace, group, reference.kind, reference.name
