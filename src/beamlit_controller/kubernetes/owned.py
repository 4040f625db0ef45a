"""What of ours is in the cluster, as the watches see it: objects by path, and the gateways' pods."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from beamlit_controller.controller.latest import Latest
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.kubernetes.gateway_objects import CONFIG_ANNOTATION, GATEWAY_LABEL, STATS_NAME
from beamlit_controller.kubernetes.paths import SERVICES, Resource
from beamlit_controller.kubernetes.selection import Selector, is_ours

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """An object of ours: `digest` names all of its content that somebody decided.

    `ready` and `updated` are of Deployments, `selector` is of Services.
    """

    key: ModelKey
    resource: Resource
    name: str
    uid: str
    owner: str
    version: int
    digest: str
    ready: int = 0
    updated: int = 0
    selector: Selector = ()


@dataclass(frozen=True, slots=True)
class GatewayPod:
    """A pod of a gateway: `carries` are the labels by which a Service that is taken over selects it, `ports` its named ones."""

    key: ModelKey
    name: str
    uid: str
    version: str
    config: str
    ip: str
    ready: bool
    deleting: bool
    stats_port: int = 0
    carries: Selector = ()
    ports: tuple[tuple[str, int], ...] = ()


def parse(resource: Resource) -> Callable[[Json], Seen]:
    """Give what keeps of an object what is looked at."""

    def keep(content: Json) -> Seen:
        about, status = content["metadata"], content.get("status") or {}
        return Seen(
            key=_key(about),
            resource=resource,
            name=about["name"],
            uid=about["uid"],
            owner=owner(content),
            version=version(content),
            digest=digest(content),
            ready=int(status.get("readyReplicas") or 0),
            updated=int(status.get("updatedReplicas") or 0),
            selector=_selector(content) if resource is SERVICES else (),
        )

    return keep


def parse_pod(content: Json) -> GatewayPod:
    """Keep of a gateway's pod what is looked at."""
    about, status = content["metadata"], content.get("status") or {}
    conditions = {each["type"]: each["status"] for each in status.get("conditions") or ()}
    ports = _ports(content.get("spec") or {})
    return GatewayPod(
        key=_key(about),
        name=about["name"],
        uid=about["uid"],
        version=about["resourceVersion"],
        config=(about.get("annotations") or {}).get(CONFIG_ANNOTATION, ""),
        ip=status.get("podIP", ""),
        ready=conditions.get("Ready") == "True",
        deleting="deletionTimestamp" in about,
        stats_port=dict(ports).get(STATS_NAME, 0),
        carries=tuple(sorted((key, value) for key, value in (about.get("labels") or {}).items() if is_ours(value))),
        ports=ports,
    )


def _ports(spec: Json) -> tuple[tuple[str, int], ...]:
    ports = (port for container in spec.get("containers") or () for port in container.get("ports") or ())
    return tuple((port.get("name", ""), int(port["containerPort"])) for port in ports)


def _selector(content: Json) -> Selector:
    return tuple(sorted(((content.get("spec") or {}).get("selector") or {}).items()))


def owner(content: Json) -> str:
    """Give the uid of the controller that the object names, "" if it names none."""
    references = content["metadata"].get("ownerReferences") or ()
    return next((each["uid"] for each in references if each.get("controller")), "")


def version(content: Json) -> int:
    """Give the resourceVersion, which is an integer that grows with every write of the kind."""
    return int(content["metadata"]["resourceVersion"])


def digest(content: Json) -> str:
    """Name what was decided of an object: all but its status, and what the API server notes about writes."""
    about = content["metadata"]
    decided = {name: value for name, value in content.items() if name not in {"metadata", "status"}}
    decided["metadata"] = {name: about.get(name) for name in ("labels", "ownerReferences")}
    return hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()


class Owned:
    """The present objects of ours. `told` hears of the model whenever something of its changes."""

    def __init__(self, told: Callable[[ModelKey], None]) -> None:
        self.changes: Latest[int] = Latest(0)
        self._told = told
        self._objects: dict[tuple[Resource, str, str], Seen] = {}
        self._pods: dict[ModelKey, dict[str, GatewayPod]] = {}
        self._pod_keys: dict[tuple[str, str], ModelKey] = {}

    def changed(self, resource: Resource) -> Callable[[tuple[str, str], Seen | None], None]:
        """Give what a watch of the resource tells its changes to."""

        def take(place: tuple[str, str], seen: Seen | None) -> None:
            known = self._objects.pop((resource, *place), None)
            if seen is not None:
                self._objects[(resource, *place)] = seen
            for key in {each.key for each in (known, seen) if each is not None}:
                self._tell(key)

        return take

    def pod_changed(self, place: tuple[str, str], seen: GatewayPod | None) -> None:
        """Take note of what the watch of the gateways' pods saw."""
        key = self._pod_keys.pop(place, None)
        if key is not None:
            self._pods[key].pop(place[1], None)
        if seen is not None:
            self._pod_keys[place] = key = seen.key
            self._pods.setdefault(seen.key, {})[seen.name] = seen
        if key is not None:
            self._tell(key)

    def _tell(self, key: ModelKey) -> None:
        self._told(key)
        self.changes.set(self.changes.value + 1)

    def get(self, resource: Resource, namespace: str, name: str) -> Seen | None:
        """Give an object as it was seen last."""
        return self._objects.get((resource, namespace, name))

    def of(self, key: ModelKey) -> tuple[Seen, ...]:
        """Give all objects of a model."""
        return tuple(seen for seen in self._objects.values() if seen.key == key)

    def pods(self, key: ModelKey) -> Mapping[str, GatewayPod]:
        """Give the pods of a model's gateway, by name."""
        return self._pods.get(key, {})


def _key(about: Json) -> ModelKey:
    return ModelKey(about["namespace"], (about.get("labels") or {}).get(GATEWAY_LABEL, ""))
