"""The HorizontalPodAutoscalers of the cluster: which workload each scales."""

from dataclasses import replace

from beamlit_controller.core.spec import ModelKey, ObjectReference
from beamlit_controller.kubernetes.api_server import Json

ON_DEMAND = ("beamlit_demand_ratio", "beamlit_metric_demand")
"""Our own series. An autoscaler that has one of them sees what is offloaded: of several metrics the highest counts."""


def target(content: Json) -> ObjectReference | None:
    """Keep of an autoscaler what it scales, unless it scales on demand: then it does no harm."""
    spec = content.get("spec") or {}
    externals = (each.get("external") or {} for each in spec.get("metrics") or ())
    if any(name in str(external.get("metric")) for external in externals for name in ON_DEMAND):
        return None
    given = spec.get("scaleTargetRef") or {}
    return ObjectReference(given.get("apiVersion", ""), given.get("kind", ""), given.get("name", ""))


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
            self._targets[_key(namespace, before)].discard(name)
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
