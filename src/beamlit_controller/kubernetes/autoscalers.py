"""The HorizontalPodAutoscalers of the cluster: which workload each scales."""

from collections.abc import Iterator
from dataclasses import replace

from beamlit_controller.core.metric_spec import ObjectReference
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.kubernetes import fields
from beamlit_controller.kubernetes.api_server import Json

ON_DEMAND = ("beamlit_demand_ratio", "beamlit_metric_demand")
"""Our own series. An autoscaler that has one of them sees what is offloaded: of several metrics the highest counts."""


def target(content: Json) -> ObjectReference | None:
    """Keep of an autoscaler what it scales, unless it scales on demand: then it does no harm."""
    spec = fields.mapping(content.get("spec"))
    externals = (fields.mapping(each.get("external")) for each in fields.mappings(spec.get("metrics")))
    said = (each for external in externals for each in _said(fields.mapping(external.get("metric"))))
    if any(ours in each for each in said for ours in ON_DEMAND):
        return None
    given = fields.mapping(spec.get("scaleTargetRef"))
    return ObjectReference(*(fields.text(given.get(part)) for part in ("apiVersion", "kind", "name")))


def _said(metric: Json) -> Iterator[str]:
    """Give all that a metric is called by: its name, and the labels of its selector."""
    yield fields.text(metric.get("name"))
    for _, value in fields.pairs(fields.mapping(metric.get("selector")).get("matchLabels")):
        yield value


class Autoscalers:
    """Who scales what."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], ObjectReference] = {}
        self._targets: dict[tuple[str, str, str, str], set[str]] = {}

    def changed(self, place: tuple[str, str], seen: ObjectReference | None) -> None:
        """Take note of what the watch saw."""
        namespace, name = place
        before = self._names.pop(place, None)
        if before is not None:
            names = self._targets[_key(namespace, before)]
            names.discard(name)
            if not names:
                del self._targets[_key(namespace, before)]
        if seen is not None:
            self._names[place] = seen
            self._targets.setdefault(_key(namespace, seen), set()).add(name)

    def target(self, place: tuple[str, str]) -> ObjectReference | None:
        """Give what an autoscaler was last seen to scale."""
        return self._names.get(place)

    def of(self, key: ModelKey, source: ObjectReference | None) -> str | None:
        """Name the autoscaler of a model's workload."""
        names = self._targets.get(_key(key.namespace, source)) if source else None
        return f"{key.namespace}/{min(names)}" if names else None


def versionless(reference: ObjectReference) -> ObjectReference:
    """Give a workload by group, kind and name: the version says nothing."""
    return replace(reference, api_version=reference.api_version.rpartition("/")[0])


def _key(namespace: str, reference: ObjectReference) -> tuple[str, str, str, str]:
    """Name a workload by group, kind and name: the version says nothing."""
    group = reference.api_version.rpartition("/")[0]
    return namespace, group, reference.kind, reference.name
