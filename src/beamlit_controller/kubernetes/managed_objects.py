"""The gateway objects and gateway pods in the cluster, as the watches show them."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from beamlit_controller.controller.latest import Latest
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.kubernetes import fields, gateway_trouble, pod_addresses
from beamlit_controller.kubernetes.gateway_objects import CONFIG_ANNOTATION, GATEWAY_LABEL, STATS_NAME
from beamlit_controller.kubernetes.gateway_trouble import Trouble
from beamlit_controller.kubernetes.paths import CONFIG_MAPS, DEPLOYMENTS, SERVICES, Resource
from beamlit_controller.kubernetes.service_patches import SelectorLabels, is_gateway_value

Json = dict[str, Any]


METADATA_ONLY = frozenset({CONFIG_MAPS})
"""Kinds that are watched without their content, because anyone may create a ConfigMap of 1 MB with our label."""


@dataclass(frozen=True, slots=True)
class ManagedObject:
    """A gateway object. `digest` identifies its content, without status and server-set metadata.

    `ready`, `updated` and `trouble` are set for Deployments, `selector` and `families` (`ipFamilies`) for Services.
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
    selector: SelectorLabels = ()
    families: tuple[str, ...] = ()
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True)
class GatewayPod:
    """A gateway pod. `gateway_labels` are the labels that a taken-over Service selects; `ports` are (name, number).

    `ip` is the primary address; a pod of a dual-stack cluster has another one in `other_ips`. `trouble` is why it is not
    ready.
    """

    key: ModelKey
    name: str
    uid: str
    version: str
    config: str
    ip: str
    ready: bool
    deleting: bool
    stats_port: int = 0
    gateway_labels: SelectorLabels = ()
    ports: tuple[tuple[str, int], ...] = ()
    other_ips: tuple[str, ...] = ()
    trouble: Trouble | None = None

    @property
    def ips(self) -> tuple[str, ...]:
        """All addresses of the pod, as `pod_addresses.canonical` spells them; none before it has a network."""
        return (self.ip, *self.other_ips) if self.ip else ()


def parse(resource: Resource) -> Callable[[Json], ManagedObject]:
    """Return a parser for objects of the resource."""

    def keep(content: Json) -> ManagedObject:
        about, status = fields.mapping(content.get("metadata")), fields.mapping(content.get("status"))
        return ManagedObject(
            key=_key(about),
            resource=resource,
            name=fields.text(about.get("name")),
            uid=fields.text(about.get("uid")),
            owner=owner(content),
            version=version(content),
            digest=digest(content),
            ready=fields.whole(status.get("readyReplicas")),
            updated=fields.whole(status.get("updatedReplicas")),
            selector=_selector(content) if resource is SERVICES else (),
            families=_families(content) if resource is SERVICES else (),
            trouble=gateway_trouble.of_deployment(status) if resource is DEPLOYMENTS else None,
        )

    return keep


def parse_pod(content: Json) -> GatewayPod:
    """Parse a gateway pod."""
    about, status = fields.mapping(content.get("metadata")), fields.mapping(content.get("status"))
    ports = _ports(fields.mapping(content.get("spec")))
    ip, *other_ips = pod_addresses.parse(status) or ("",)
    return GatewayPod(
        key=_key(about),
        name=fields.text(about.get("name")),
        uid=fields.text(about.get("uid")),
        version=fields.text(about.get("resourceVersion")),
        config=fields.annotation(about, CONFIG_ANNOTATION, longest=_LONGEST_DIGEST),
        ip=ip,
        ready=_is_ready(status),
        deleting=about.get("deletionTimestamp") is not None,
        stats_port=dict(ports).get(STATS_NAME, 0),
        gateway_labels=tuple(
            (key, value) for key, value in fields.pairs(about.get("labels")) if is_gateway_value(value)
        ),
        ports=ports,
        other_ips=tuple(other_ips),
        trouble=gateway_trouble.of_pod(content),
    )


def _is_ready(status: Json) -> bool:
    conditions = {
        fields.text(each.get("type")): each.get("status") for each in fields.mappings(status.get("conditions"))
    }
    return conditions.get("Ready") == "True"


def _ports(spec: Json) -> tuple[tuple[str, int], ...]:
    containers = fields.mappings(spec.get("containers"))
    ports = (port for container in containers for port in fields.mappings(container.get("ports")))
    return tuple((fields.text(port.get("name")), fields.whole(port.get("containerPort"))) for port in ports)


def _selector(content: Json) -> SelectorLabels:
    return fields.pairs(fields.mapping(content.get("spec")).get("selector"))


def _families(content: Json) -> tuple[str, ...]:
    return tuple(fields.texts(fields.mapping(content.get("spec")).get("ipFamilies")))


def owner(content: Json) -> str:
    """Return the uid of the controlling owner reference, "" if there is none."""
    references = fields.mappings(fields.mapping(content.get("metadata")).get("ownerReferences"))
    return next((fields.text(each.get("uid")) for each in references if each.get("controller")), "")


def version(content: Json) -> int:
    """Return the resourceVersion as an integer. Raises ValueError."""
    text = fields.text(fields.mapping(content.get("metadata")).get("resourceVersion"))
    if not _VERSION.fullmatch(text):
        raise ValueError(f"expected a resourceVersion, got {text[:_SHOWN]!r}")
    return int(text)


def digest(content: Json) -> str:
    """Return a digest of the desired content, without status and server-set metadata.

    `apiVersion` and `kind` are ignored, because items of a list do not have them.
    """
    about = fields.mapping(content.get("metadata"))
    decided = {name: value for name, value in content.items() if name not in _NOT_DECIDED}
    decided["metadata"] = {name: about.get(name) for name in ("labels", "ownerReferences")}
    return hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()


def unchanged(seen: ManagedObject, *, version: int, digest: str) -> bool:
    """Return whether an object is still as it was applied, given the version and digest of the apply response.

    An older version means that the watch lags behind. For `METADATA_ONLY` kinds the digest is unknown, so any other
    version means that the object has to be read and compared.
    """
    if seen.version <= version:
        return True
    return seen.resource not in METADATA_ONLY and seen.digest == digest


_NOT_DECIDED = frozenset({"apiVersion", "kind", "metadata", "status"})
_VERSION = re.compile(r"[0-9]{1,19}")
_LONGEST_DIGEST = 256
_SHOWN = 40


class ManagedObjects:
    """All gateway objects and pods. `notify` is called with the key of each model whose objects or pods changed."""

    def __init__(self, notify: Callable[[ModelKey], None]) -> None:
        self.changes: Latest[int] = Latest(0)
        self._notify = notify
        self._objects: dict[tuple[Resource, str, str], ManagedObject] = {}
        self._of: dict[ModelKey, dict[tuple[Resource, str], ManagedObject]] = {}
        self._pods: dict[ModelKey, dict[str, GatewayPod]] = {}
        self._pod_keys: dict[tuple[str, str], ModelKey] = {}

    def changed(self, resource: Resource) -> Callable[[tuple[str, str], ManagedObject | None], None]:
        """Return the callback for the resource's watch."""

        def take(namespaced_name: tuple[str, str], seen: ManagedObject | None) -> None:
            known = self._objects.pop((resource, *namespaced_name), None)
            if known is not None:
                self._forget(known)
            if seen is not None:
                self._objects[(resource, *namespaced_name)] = seen
                self._of.setdefault(seen.key, {})[resource, seen.name] = seen
            for key in {each.key for each in (known, seen) if each is not None}:
                self._publish(key)

        return take

    def _forget(self, known: ManagedObject) -> None:
        objects = self._of[known.key]
        objects.pop((known.resource, known.name), None)
        if not objects:
            del self._of[known.key]

    def pod_changed(self, namespaced_name: tuple[str, str], seen: GatewayPod | None) -> None:
        """Handle an event of the gateway pods' watch; None means deleted."""
        before = self._pod_keys.pop(namespaced_name, None)
        if before is not None:
            self._pods[before].pop(namespaced_name[1], None)
            if not self._pods[before]:
                del self._pods[before]
        if seen is not None:
            self._pod_keys[namespaced_name] = seen.key
            self._pods.setdefault(seen.key, {})[seen.name] = seen
        for key in {each for each in (before, seen.key if seen is not None else None) if each is not None}:
            self._publish(key)

    def _publish(self, key: ModelKey) -> None:
        self._notify(key)
        self.changes.set(self.changes.value + 1)

    def get(self, resource: Resource, namespace: str, name: str) -> ManagedObject | None:
        """Return an object as last seen."""
        return self._objects.get((resource, namespace, name))

    def of(self, key: ModelKey) -> tuple[ManagedObject, ...]:
        """Return all gateway objects of a model."""
        return tuple(self._of.get(key, {}).values())

    def pods(self, key: ModelKey) -> Mapping[str, GatewayPod]:
        """Return the pods of a model's gateway, by name."""
        return self._pods.get(key, {})


def _key(about: Json) -> ModelKey:
    labels = fields.mapping(about.get("labels"))
    return ModelKey(fields.text(about.get("namespace")), fields.text(labels.get(GATEWAY_LABEL)))
