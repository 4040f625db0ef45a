"""The objects that make a model's gateway in the cluster: a pure function of the spec, its Service and what Envoy needs.

All of them lie in the model's namespace and are owned by its ModelDeployment, so that they go with it. The labels of the
pods are all under our own domain: no selector of the user's matches them by accident.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from beamlit_controller.core.spec import ModelKey, OffloadSpec
from beamlit_controller.kubernetes.paths import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    MODEL_DEPLOYMENTS,
    NETWORK_POLICIES,
    POD_DISRUPTION_BUDGETS,
    SERVICES,
    Resource,
)

Json = dict[str, Any]

DOMAIN: Final = "deployment.beamlit.com"
GATEWAY_LABEL: Final = f"{DOMAIN}/gateway"
MANAGED: Final = {"app.kubernetes.io/managed-by": "beamlit-controller"}
MANAGED_SELECTOR: Final = "app.kubernetes.io/managed-by=beamlit-controller"
POD_SELECTOR: Final = GATEWAY_LABEL
"""What finds the gateways' pods. Their other labels may be those by which the users' Services select."""
STATS_NAME: Final = "offload-stats"
"""The name of the port with the figures; a user's Service may have one called stats."""
CONFIG_ANNOTATION: Final = f"{DOMAIN}/config"
APPLIED_ANNOTATION: Final = f"{DOMAIN}/applied"
RESTART_ANNOTATION: Final = f"{DOMAIN}/restart-for"

CONFIG_DIRECTORY: Final = "/etc/gateway"
RUN_DIRECTORY: Final = "/run/gateway"
SECRETS_DIRECTORY: Final = "/etc/gateway-secrets"
ADMIN_SOCKET: Final = f"{RUN_DIRECTORY}/admin.sock"

RESOURCES: Final = (CONFIG_MAPS, DEPLOYMENTS, NETWORK_POLICIES, POD_DISRUPTION_BUDGETS, SERVICES)
"""What a gateway is made of."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the gateway listens: for clients, and for who watches it. `service` is the port that clients use.

    `front_name` is what the front's port is called; `tcp_passthrough` are name and number of those that are passed through as they
    are ("" for no name).
    """

    front: int
    stats: int
    service: int
    front_name: str = "http"
    tcp_passthrough: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Envoy:
    """What the gateway's Envoy reads and how it is probed: `restart_for` names the files that are read at start only."""

    files: Mapping[str, str]
    probe_path: str
    probe_header: tuple[str, str]
    restart_for: frozenset[str] = frozenset({"bootstrap.json"})


@dataclass(frozen=True, slots=True)
class Image:
    """The image that the gateway runs, and how it is pulled."""

    name: str
    pull_policy: str = "IfNotPresent"


@dataclass(frozen=True, slots=True)
class DesiredObject:
    """One object as it should be; `digest` names all of its content, and is written on it."""

    resource: Resource
    namespace: str
    name: str
    content: Json = field(compare=False)
    digest: str = ""

    @property
    def path(self) -> str:
        """Where it is found."""
        return self.resource.path(self.namespace, self.name)


def gateway_name(key: ModelKey) -> str:
    """Name everything of the gateway."""
    return f"{key.name}-gateway"


def local_name(key: ModelKey) -> str:
    """Name the headless Service that finds the model's own pods."""
    return f"{key.name}-local"


def local_service(spec: OffloadSpec, owner: str, *, selector: Mapping[str, str], port: int) -> DesiredObject:
    """Give the headless Service that finds the ready pods of the model, by DNS."""
    content = {
        "clusterIP": "None",
        "selector": dict(selector),
        "ipFamilyPolicy": "PreferDualStack",
        "ports": [{"name": "http", "port": port, "targetPort": port}],
    }
    return desired_object(SERVICES, spec, local_name(spec.key), owner, {"spec": content})


def config_map(spec: OffloadSpec, owner: str, *, files: Mapping[str, str], notes: Mapping[str, str]) -> DesiredObject:
    """Give the ConfigMap with Envoy's files. `notes` are further keys of it, which Envoy does not read."""
    return desired_object(CONFIG_MAPS, spec, gateway_name(spec.key), owner, {"data": {**files, **notes}})


def disruption_budget(spec: OffloadSpec, owner: str) -> DesiredObject:
    """Give the PodDisruptionBudget: one gateway pod at a time is evicted, and a pod that is not ready always."""
    content = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": pod_selector(spec.key)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return desired_object(POD_DISRUPTION_BUDGETS, spec, gateway_name(spec.key), owner, {"spec": content})


def gateway_service(spec: OffloadSpec, owner: str, *, ports: Ports) -> DesiredObject:
    """Give the Service that clients use where their own is left alone."""
    content = {
        "selector": pod_selector(spec.key),
        "ipFamilyPolicy": "PreferDualStack",
        "ports": [{"name": "http", "port": ports.service, "targetPort": ports.front_name}],
    }
    return desired_object(SERVICES, spec, gateway_name(spec.key), owner, {"spec": content})


def direct_service(
    spec: OffloadSpec, owner: str, *, selector: Mapping[str, str], port: int, ports: Ports
) -> DesiredObject:
    """Give that Service leading straight to the model's pods: who uses it is served while there is no gateway."""
    content = {
        "selector": dict(selector),
        "ipFamilyPolicy": "PreferDualStack",
        "ports": [{"name": "http", "port": ports.service, "targetPort": port}],
    }
    return desired_object(SERVICES, spec, gateway_name(spec.key), owner, {"spec": content})


def pod_selector(key: ModelKey) -> dict[str, str]:
    """Give the labels that select the gateway's pods."""
    return {GATEWAY_LABEL: key.name}


def pod_labels(key: ModelKey) -> dict[str, str]:
    """Give the labels of the gateway's pods."""
    return {**MANAGED, GATEWAY_LABEL: key.name}


def config_digest(files: Mapping[str, str]) -> str:
    """Name the content of the files."""
    digest = hashlib.sha256()
    for name, text in sorted(files.items()):
        digest.update(f"{name}\0{len(text)}\0{text}".encode())
    return digest.hexdigest()[:16]


def desired_object(resource: Resource, spec: OffloadSpec, name: str, owner: str, content: Json) -> DesiredObject:
    """Give an object of the gateway: with our labels, owned by its ModelDeployment, and with its digest on it."""
    whole: Json = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {
            "name": name,
            "namespace": spec.key.namespace,
            "labels": pod_labels(spec.key),
            "ownerReferences": [_owner(spec.key, owner)],
        },
        **content,
    }
    digest = hashlib.sha256(repr(whole).encode()).hexdigest()[:16]
    whole["metadata"]["annotations"] = {APPLIED_ANNOTATION: digest}
    return DesiredObject(resource, spec.key.namespace, name, whole, digest)


def _owner(key: ModelKey, uid: str) -> Json:
    return {
        "apiVersion": MODEL_DEPLOYMENTS.api_version,
        "kind": MODEL_DEPLOYMENTS.kind,
        "name": key.name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
