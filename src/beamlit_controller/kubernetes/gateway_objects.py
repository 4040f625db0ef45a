"""The Kubernetes objects of a gateway, except its Deployment and NetworkPolicy. Pure.

All objects are in the model's namespace and owned by its ModelDeployment, so they are deleted with it. The pods' labels
are in our own domain, so that no selector of a user matches them by accident.
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
LARGEST_CONFIG_MAP: Final = 1024 * 1024
"""Number of bytes that a ConfigMap holds."""
GATEWAY_LABEL: Final = f"{DOMAIN}/gateway"
MANAGED: Final = {"app.kubernetes.io/managed-by": "beamlit-controller"}
MANAGED_SELECTOR: Final = "app.kubernetes.io/managed-by=beamlit-controller"
POD_SELECTOR: Final = GATEWAY_LABEL
"""The label that selects the gateways' pods. Their other labels may match the selectors of users' Services."""
STATS_NAME: Final = "offload-stats"
"""The name of the stats port; it is unusual because a user's Service may have a port called stats."""
CONFIG_ANNOTATION: Final = f"{DOMAIN}/config"
APPLIED_ANNOTATION: Final = f"{DOMAIN}/applied"
RESTART_ANNOTATION: Final = f"{DOMAIN}/restart-for"

CONFIG_DIRECTORY: Final = "/etc/gateway"
RUN_DIRECTORY: Final = "/run/gateway"
SECRETS_DIRECTORY: Final = "/etc/gateway-secrets"
ADMIN_SOCKET: Final = f"{RUN_DIRECTORY}/admin.sock"

RESOURCES: Final = (CONFIG_MAPS, DEPLOYMENTS, NETWORK_POLICIES, POD_DISRUPTION_BUDGETS, SERVICES)
"""The kinds of objects that make a gateway."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The gateway's ports: for clients, and for metrics and probes. `service` is the port that clients use.

    `front_name` is the name of the client port. `tcp_passthrough` are (name, number) of the ports passed through as
    TCP; the name may be "".
    """

    front: int
    stats: int
    service: int
    front_name: str = "http"
    tcp_passthrough: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Envoy:
    """Envoy's files and probe. `restart_for` names the files that are only read at start."""

    files: Mapping[str, str]
    probe_path: str
    probe_header: tuple[str, str]
    restart_for: frozenset[str] = frozenset({"bootstrap.json"})


@dataclass(frozen=True, slots=True)
class Image:
    """The gateway's image and its pull policy."""

    name: str
    pull_policy: str = "IfNotPresent"


@dataclass(frozen=True, slots=True)
class DesiredObject:
    """One desired object; `digest` identifies its content and is written to it as an annotation."""

    resource: Resource
    namespace: str
    name: str
    content: Json = field(compare=False)
    digest: str = ""

    @property
    def path(self) -> str:
        """The path of the object at the API server."""
        return self.resource.path(self.namespace, self.name)


def gateway_name(key: ModelKey) -> str:
    """Return the name of the gateway's objects."""
    return f"{key.name}-gateway"


def local_name(key: ModelKey) -> str:
    """Return the name of the headless Service that selects the model's own pods."""
    return f"{key.name}-local"


def local_service(spec: OffloadSpec, owner: str, *, selector: Mapping[str, str], port: int) -> DesiredObject:
    """Render the headless Service through which Envoy discovers the model's ready pods by DNS."""
    content = {
        "clusterIP": "None",
        "selector": dict(selector),
        "ipFamilyPolicy": "PreferDualStack",
        "ports": [{"name": "http", "port": port, "targetPort": port}],
    }
    return desired_object(SERVICES, spec, local_name(spec.key), owner, {"spec": content})


def config_map(spec: OffloadSpec, owner: str, *, files: Mapping[str, str], notes: Mapping[str, str]) -> DesiredObject:
    """Render the ConfigMap with Envoy's files. `notes` are additional keys that Envoy does not read; without room, they are left out."""
    notes = notes if config_size(files) + config_size(notes) <= LARGEST_CONFIG_MAP else {}
    return desired_object(CONFIG_MAPS, spec, gateway_name(spec.key), owner, {"data": {**files, **notes}})


def oversized(files: Mapping[str, str]) -> str | None:
    """Return what to change if Envoy's files don't fit into a ConfigMap."""
    size = config_size(files)
    if size <= LARGEST_CONFIG_MAP:
        return None
    return (
        f"Envoy's files have {size:,} bytes, and a ConfigMap holds {LARGEST_CONFIG_MAP:,}: "
        "use fewer or shorter modelNames, headersToAdd and query, or fewer remotes"
    )


def config_size(data: Mapping[str, str]) -> int:
    """Return the number of bytes that they take in a ConfigMap."""
    return sum(len(name.encode()) + len(text.encode()) for name, text in data.items())


def disruption_budget(spec: OffloadSpec, owner: str) -> DesiredObject:
    """Render the PodDisruptionBudget: one gateway pod at a time; pods that are not ready can always be evicted."""
    content = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": pod_selector(spec.key)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return desired_object(POD_DISRUPTION_BUDGETS, spec, gateway_name(spec.key), owner, {"spec": content})


def gateway_service(spec: OffloadSpec, owner: str, *, ports: Ports) -> DesiredObject:
    """Render the Service NAME-gateway, used by clients with `routing.mode: Service`."""
    content = {
        "selector": pod_selector(spec.key),
        "ipFamilyPolicy": "PreferDualStack",
        "ports": [{"name": "http", "port": ports.service, "targetPort": ports.front_name}],
    }
    return desired_object(SERVICES, spec, gateway_name(spec.key), owner, {"spec": content})


def direct_service(
    spec: OffloadSpec, owner: str, *, selector: Mapping[str, str], port: int, ports: Ports
) -> DesiredObject:
    """Render the same Service selecting the model's pods directly, for the time without a gateway."""
    content = {
        "selector": dict(selector),
        "ipFamilyPolicy": "PreferDualStack",
        "ports": [{"name": "http", "port": ports.service, "targetPort": port}],
    }
    return desired_object(SERVICES, spec, gateway_name(spec.key), owner, {"spec": content})


def pod_selector(key: ModelKey) -> dict[str, str]:
    """Return the labels that select the gateway's pods."""
    return {GATEWAY_LABEL: key.name}


def pod_labels(key: ModelKey) -> dict[str, str]:
    """Return the labels of the gateway's pods."""
    return {**MANAGED, GATEWAY_LABEL: key.name}


def config_digest(files: Mapping[str, str]) -> str:
    """Return a digest of the files."""
    digest = hashlib.sha256()
    for name, text in sorted(files.items()):
        digest.update(f"{name}\0{len(text)}\0{text}".encode())
    return digest.hexdigest()[:16]


def desired_object(resource: Resource, spec: OffloadSpec, name: str, owner: str, content: Json) -> DesiredObject:
    """Add our labels, the owner reference and the digest to an object."""
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
