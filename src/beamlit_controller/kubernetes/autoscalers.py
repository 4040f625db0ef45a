"""The HorizontalPodAutoscalers of the cluster: which workload each scales."""

from beamlit_controller.core.spec import ModelKey, ObjectReference
from beamlit_controller.kubernetes.api_server import Json


def target(content: Json) -> ObjectReference:
    """Keep of an autoscaler what it scales."""
    given = (content.get("spec") or {}).get("scaleTargetRef") or {}
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

    def of(self, key: ModelKey, source: ObjectReference | None) -> str | None:
        """Name the autoscaler of a model's workload."""
        names = self._targets.get(_key(key.namespace, source)) if source else None
        return f"{key.namespace}/{min(names)}" if names else None


def _key(namespace: str, reference: ObjectReference) -> tuple[str, str, str, str]:
    """Name a workload by group, kind and name: the version says nothing."""
    group = reference.api_version.rpartition("/")[0]
    return namespace, group, reference.kind, reference.name
