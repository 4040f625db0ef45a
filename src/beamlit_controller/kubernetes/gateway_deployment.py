"""The Deployment of a model's gateway: its pod, security context and mounted Secrets. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from beamlit_controller.core import quantity, remote_secrets
from beamlit_controller.core.gateway_pods import GatewayPods
from beamlit_controller.core.gateway_spec import GatewaySpec
from beamlit_controller.core.spec import OffloadSpec, SecretKey
from beamlit_controller.kubernetes import gateway_objects
from beamlit_controller.kubernetes.gateway_objects import (
    ADMIN_SOCKET,
    CONFIG_DIRECTORY,
    RESTART_ANNOTATION,
    RUN_DIRECTORY,
    SECRETS_DIRECTORY,
    STATS_NAME,
    DesiredObject,
    Envoy,
    Image,
    Ports,
)
from beamlit_controller.kubernetes.paths import DEPLOYMENTS

Json = dict[str, Any]

USER: Final = 65532
LEAST_DRAIN: Final = 12
"""Seconds that a gateway keeps serving after it was told to stop, until no client sends to it any more."""
_UNPRIVILEGED: Final = 1024
_REQUESTS: Final = {"cpu": "25m", "memory": "48Mi"}
"""Slightly more than a gateway uses under light load (4m, 20Mi)."""


def deployment(  # each is a separate input
    spec: OffloadSpec,
    owner: str,
    *,
    ports: Ports,
    envoy: Envoy,
    image: Image,
    pods: GatewayPods,
    labels: Mapping[str, str],
) -> DesiredObject:
    """Render the Deployment. `labels` are extra pod labels that a taken-over Service selects."""
    content = _deployment(spec, envoy, _pod(spec, ports, envoy, image, pods), labels)
    name = gateway_objects.gateway_name(spec.key)
    return gateway_objects.desired_object(DEPLOYMENTS, spec, name, owner, {"spec": content})


def secret_keys(spec: OffloadSpec) -> tuple[SecretKey, ...]:
    """Return the Secret keys that the gateway mounts, without duplicates, sorted."""
    found: set[SecretKey] = set()
    for remote in spec.remotes:
        found.update(remote_secrets.of(remote))
    return tuple(sorted(found, key=lambda key: (key.name, key.key)))


def _deployment(spec: OffloadSpec, envoy: Envoy, pod: Json, labels: Mapping[str, str]) -> Json:
    selector = gateway_objects.pod_selector(spec.key)
    restart_for = gateway_objects.config_digest(
        {name: text for name, text in envoy.files.items() if name in envoy.restart_for}
    )
    return {
        "replicas": spec.gateway.replicas,
        "selector": {"matchLabels": selector},
        # A new pod is ready before an old one is removed.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": {
            "metadata": {
                "labels": {**gateway_objects.pod_labels(spec.key), **labels},
                "annotations": {RESTART_ANNOTATION: restart_for},
            },
            "spec": pod,
        },
    }


def _pod(spec: OffloadSpec, ports: Ports, envoy: Envoy, image: Image, pods: GatewayPods) -> Json:
    return {
        # The default account needs no object of ours, and its token is not mounted.
        "serviceAccountName": "default",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _drain_seconds(spec) + 15,
        "securityContext": _security(ports, pods),
        **_placement(pods),
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": gateway_objects.pod_selector(spec.key)},
            }
        ],
        "imagePullSecrets": [{"name": secret} for secret in spec.gateway.image_pull_secrets or pods.image_pull_secrets],
        "containers": [_container(spec, ports, envoy, image)],
        "volumes": [
            {"name": "config", "configMap": {"name": gateway_objects.gateway_name(spec.key)}},
            {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
            *_secret_volumes(spec),
        ],
    }


def _security(ports: Ports, pods: GatewayPods) -> Json:
    sysctls = [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}] if _least(ports) < _UNPRIVILEGED else []
    return {
        "runAsNonRoot": True,
        **(dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"), USER) if pods.fixed_user else {}),
        "seccompProfile": {"type": "RuntimeDefault"},
        **({"sysctls": sysctls} if sysctls else {}),
    }


def _placement(pods: GatewayPods) -> Json:
    """Return the fields that are set, and no others: an empty one would roll the gateways of an older version."""
    fields = {
        "nodeSelector": dict(pods.node_selector),
        "tolerations": list(pods.tolerations),
        "affinity": dict(pods.affinity),
        "priorityClassName": pods.priority_class_name,
    }
    return {name: value for name, value in fields.items() if value}


def _least(ports: Ports) -> int:
    return min(ports.front, *(number for _, number in ports.tcp_passthrough), _UNPRIVILEGED)


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
            *({**({"name": name} if name else {}), "containerPort": number} for name, number in ports.tcp_passthrough),
        ],
        "readinessProbe": {
            # Through the front: Envoy's own /ready is 200 even if the front could not be bound.
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
        "resources": _resources(spec.gateway),
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


def _resources(gateway: GatewaySpec) -> Json:
    """Return the spec's amounts beside our defaults; a default request is never more than the limit."""
    limits = {"memory": gateway.container_memory_limit}
    given: dict[str, dict[str, str]] = {"requests": dict(_REQUESTS), "limits": limits}
    for which, resource, amount in gateway.resources:
        given[which][resource] = amount
    for resource in _REQUESTS:
        if gateway.amount("requests", resource) is None and resource in limits:
            given["requests"][resource] = min(_REQUESTS[resource], limits[resource], key=quantity.parse)
    # As the API server writes them back.
    return {which: {name: str(quantity.parse(text)) for name, text in of.items()} for which, of in given.items()}


def _secret_volumes(spec: OffloadSpec) -> list[Json]:
    """Mount only the referenced keys, as optional: with a missing key the pod starts and serves locally."""
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
