"""The objects that make a model's gateway in the cluster: a pure function of the spec, its Service and what Envoy needs.

All of them lie in the model's namespace and are owned by its ModelDeployment, so that they go with it. The labels of the
pods are all under our own domain: no selector of the user's matches them by accident.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from beamlit_controller.core import quantity
from beamlit_controller.core.spec import DEFAULT_MEMORY_LIMIT, ApiKey, ModelKey, OAuth, OffloadSpec, SecretKey
from beamlit_controller.kubernetes.paths import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    MODEL_DEPLOYMENTS,
    POD_DISRUPTION_BUDGETS,
    SERVICE_ACCOUNTS,
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

RESOURCES: Final = (CONFIG_MAPS, DEPLOYMENTS, POD_DISRUPTION_BUDGETS, SERVICE_ACCOUNTS, SERVICES)
"""What a gateway is made of."""
USER: Final = 65532
LEAST_DRAIN: Final = 12
"""Seconds that a gateway goes on serving after it was told to stop: so long may it take until nobody sends to it any more."""
_UNPRIVILEGED: Final = 1024
_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_REQUESTS: Final = {"cpu": "100m", "memory": "128Mi"}
_LIMITS: Final = {"memory": DEFAULT_MEMORY_LIMIT}


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the gateway listens: for clients, and for who watches it. `service` is the port that clients use.

    `front_name` is what the front's port is called; `passed` are name and number of those that are passed through as they
    are ("" for no name).
    """

    front: int
    stats: int
    service: int
    front_name: str = "http"
    passed: tuple[tuple[str, int], ...] = ()


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
    return _desired(SERVICES, spec, local_name(spec.key), owner, {"spec": content})


def gateway(  # each is a thing of its own
    spec: OffloadSpec,
    owner: str,
    *,
    ports: Ports,
    envoy: Envoy,
    image: Image,
    labels: Mapping[str, str] = _NONE,
    notes: Mapping[str, str] = _NONE,
) -> tuple[DesiredObject, ...]:
    """Give the gateway's own objects, in the order to write them: what is referred to first. `owner` is the uid.

    `labels` are further ones of the pods, by which a Service that is taken over selects them. `notes` are further keys of
    the ConfigMap, which Envoy does not read.
    """
    name = gateway_name(spec.key)
    selector = {GATEWAY_LABEL: spec.key.name}
    budget = {"maxUnavailable": 1, "selector": {"matchLabels": selector}, "unhealthyPodEvictionPolicy": "AlwaysAllow"}
    return (
        _desired(SERVICE_ACCOUNTS, spec, name, owner, {"automountServiceAccountToken": False}),
        _desired(CONFIG_MAPS, spec, name, owner, {"data": {**envoy.files, **notes}}),
        _desired(POD_DISRUPTION_BUDGETS, spec, name, owner, {"spec": budget}),
        _desired(DEPLOYMENTS, spec, name, owner, {"spec": _deployment(spec, ports, envoy, image, labels)}),
    )


def gateway_service(spec: OffloadSpec, owner: str, *, ports: Ports) -> DesiredObject:
    """Give the Service that clients use where their own is left alone."""
    content = {
        "selector": {GATEWAY_LABEL: spec.key.name},
        "ipFamilyPolicy": "PreferDualStack",
        "ports": [{"name": "http", "port": ports.service, "targetPort": ports.front_name}],
    }
    return _desired(SERVICES, spec, gateway_name(spec.key), owner, {"spec": content})


def direct_service(
    spec: OffloadSpec, owner: str, *, selector: Mapping[str, str], port: int, ports: Ports
) -> DesiredObject:
    """Give that Service leading straight to the model's pods: who uses it is served while there is no gateway."""
    content = {
        "selector": dict(selector),
        "ipFamilyPolicy": "PreferDualStack",
        "ports": [{"name": "http", "port": ports.service, "targetPort": port}],
    }
    return _desired(SERVICES, spec, gateway_name(spec.key), owner, {"spec": content})


def pod_labels(key: ModelKey) -> dict[str, str]:
    """Give the labels of the gateway's pods."""
    return {**MANAGED, GATEWAY_LABEL: key.name}


def config_digest(files: Mapping[str, str]) -> str:
    """Name the content of the files."""
    digest = hashlib.sha256()
    for name, text in sorted(files.items()):
        digest.update(f"{name}\0{len(text)}\0{text}".encode())
    return digest.hexdigest()[:16]


def secret_keys(spec: OffloadSpec) -> tuple[SecretKey, ...]:
    """Give the keys of Secrets that the gateway mounts, each once, in order."""
    remote = spec.remote
    found: set[SecretKey] = set()
    if remote is not None:
        match remote.auth:
            case OAuth(client_secret=key) | ApiKey(secret=key):
                found.add(key)
            case None:
                pass
        if remote.tls.ca is not None:
            found.add(remote.tls.ca)
    return tuple(sorted(found, key=lambda key: (key.name, key.key)))


def _desired(resource: Resource, spec: OffloadSpec, name: str, owner: str, content: Json) -> DesiredObject:
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


def _deployment(spec: OffloadSpec, ports: Ports, envoy: Envoy, image: Image, labels: Mapping[str, str]) -> Json:
    selector = {GATEWAY_LABEL: spec.key.name}
    restart_for = config_digest({name: text for name, text in envoy.files.items() if name in envoy.restart_for})
    return {
        "replicas": spec.gateway.replicas,
        "selector": {"matchLabels": selector},
        # The next one is ready before the last one goes.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": {
            "metadata": {
                "labels": {**pod_labels(spec.key), **labels},
                "annotations": {RESTART_ANNOTATION: restart_for},
            },
            "spec": _pod(spec, ports, envoy, image),
        },
    }


def _pod(spec: OffloadSpec, ports: Ports, envoy: Envoy, image: Image) -> Json:
    name = gateway_name(spec.key)
    sysctls = [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}] if _least(ports) < _UNPRIVILEGED else []
    return {
        "serviceAccountName": name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _drain_seconds(spec) + 15,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
            **({"sysctls": sysctls} if sysctls else {}),
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {GATEWAY_LABEL: spec.key.name}},
            }
        ],
        "imagePullSecrets": [{"name": secret} for secret in spec.gateway.image_pull_secrets],
        "containers": [_container(spec, ports, envoy, image)],
        "volumes": [
            {"name": "config", "configMap": {"name": name}},
            {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
            *_secret_volumes(spec),
        ],
    }


def _least(ports: Ports) -> int:
    return min(ports.front, *(number for _, number in ports.passed), _UNPRIVILEGED)


def _container(spec: OffloadSpec, ports: Ports, envoy: Envoy, image: Image) -> Json:
    header, value = envoy.probe_header
    mounts = [
        {"name": "config", "mountPath": CONFIG_DIRECTORY, "readOnly": True},
        {"name": "run", "mountPath": RUN_DIRECTORY},
        *(
            {
                "name": volume["name"],
                "mountPath": f"{SECRETS_DIRECTORY}/{volume['secret']['secretName']}",
                "readOnly": True,
            }
            for volume in _secret_volumes(spec)
        ),
    ]
    return {
        "name": "envoy",
        "image": spec.gateway.image or image.name,
        "imagePullPolicy": image.pull_policy,
        "command": ["beamlit-controller", "envoy", "--directory", CONFIG_DIRECTORY],
        "ports": [
            {"name": ports.front_name, "containerPort": ports.front},
            {"name": STATS_NAME, "containerPort": ports.stats},
            *({**({"name": name} if name else {}), "containerPort": number} for name, number in ports.passed),
        ],
        "readinessProbe": {
            # Through the front itself: Envoy's own /ready is 200 even when that could not be bound.
            "httpGet": {
                "path": envoy.probe_path,
                "port": ports.front,
                "httpHeaders": [{"name": header, "value": value}],
            },
            "periodSeconds": 1,
            "failureThreshold": 3,
        },
        "livenessProbe": {"tcpSocket": {"port": ports.stats}, "periodSeconds": 10, "failureThreshold": 6},
        "lifecycle": {"preStop": {"exec": {"command": _drain_command(spec)}}},
        "resources": _resources(spec),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }


def _drain_command(spec: OffloadSpec) -> list[str]:
    least, most = str(LEAST_DRAIN), str(_drain_seconds(spec))
    return ["beamlit-controller", "drain", "--admin", ADMIN_SOCKET, "--least-seconds", least, "--most-seconds", most]


def _drain_seconds(spec: OffloadSpec) -> int:
    return max(round(spec.gateway.drain.total_seconds()), LEAST_DRAIN)


def _resources(spec: OffloadSpec) -> Json:
    given: dict[str, dict[str, str]] = {"requests": dict(_REQUESTS), "limits": dict(_LIMITS)}
    for which, resource, amount in spec.gateway.resources:
        given[which][resource] = str(quantity.parse(amount))  # as the API server writes it back
    return given


def _secret_volumes(spec: OffloadSpec) -> list[Json]:
    """Mount the keys that are referred to, and no others; a missing one stops no pod: requests are then served locally."""
    keys = secret_keys(spec)
    return [
        {
            "name": f"secret-{number}",
            "secret": {
                "secretName": name,
                "optional": True,
                "items": [{"key": key.key, "path": key.key} for key in keys if key.name == name],
            },
        }
        for number, name in enumerate(_once(key.name for key in keys))
    ]


def _once(names: Iterator[str]) -> list[str]:
    return list(dict.fromkeys(names))
