"""What the controller's token is worth at the real API server: no more than what the controller does."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import builders
from beamlit_controller.api import settings
from beamlit_controller.api.settings import Settings
from beamlit_controller.core.spec import LocalService, ModelKey
from beamlit_controller.kubernetes import applier, gateway_deployment
from beamlit_controller.kubernetes.gateway_objects import Envoy, Image, Ports
from kube import controllers
from kube.client import Client
from kube.control_plane import ControlPlane
from kube.rest import RestError
from kube.world import model
from waiting import patiently

Json = dict[str, Any]
GATEWAY = "deployment.beamlit.com/gateway"
OWNER = {"apiVersion": "deployment.beamlit.com/v1alpha1", "kind": "ModelDeployment", "name": "llama", "uid": "u"}
SECURE = {"allowPrivilegeEscalation": False}


def about(**more: object) -> Json:
    return {"name": "llama-gateway", "ownerReferences": [OWNER], **more}


def deployment(metadata: Json | None = None, container: Json | None = None, **pod: Any) -> Json:  # noqa: ANN401 - a pod's
    labels = {GATEWAY: "llama"}
    spec = {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True},
        "containers": [{"name": "envoy", "image": "a", "securityContext": SECURE, **(container or {})}],
        **pod,
    }
    template = {"metadata": {"labels": labels}, "spec": spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata or about(),
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
    }


def config_map(metadata: Json) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "b"}}


def service(**more: object) -> Json:
    spec = {"selector": {"app": "mine"}, "ports": [{"port": 80, "targetPort": 80}], **more}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "mine"}, "spec": spec}


def pod(image: str = "a", **metadata: Any) -> Json:  # noqa: ANN401 - whatever metadata has
    containers = [{"name": "a", "image": image}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "mine", **metadata},
        "spec": {"containers": containers, "automountServiceAccountToken": False},
    }


def metadata_of(name: str, **metadata: object) -> Json:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **metadata}}


class Token:
    """Somebody who has the controller's token, in the namespace of a tenant who has a few objects there."""

    def __init__(self, client: Client, kubeconfig: Path, namespace: str, *more: str) -> None:
        self.client = client
        self.namespace = namespace
        self._kubeconfig = kubeconfig
        self._more = more

    def within(self, namespace: str) -> "Token":
        """Return the same one in another namespace."""
        return Token(self.client, self._kubeconfig, namespace)

    def tries(self, *arguments: str, given: Json | None = None) -> str:
        """Do something, and give what the API server said against it."""
        try:
            self.client.kubectl("-n", self.namespace, *arguments, *self._more, stdin=given, kubeconfig=self._kubeconfig)
        except RestError as error:
            return str(error)
        return ""

    def changes_model(self, change: Json) -> str:
        return self.tries("patch", "modeldeployment", "llama", "--type=merge", "-p", json.dumps(change))

    def applies(self, given: Json) -> str:
        return self.tries("apply", "--server-side", "--force-conflicts", "--validate=false", "-f", "-", given=given)


@pytest.fixture(scope="module")
def token(control_plane: ControlPlane, rights: Path) -> Iterator[Token]:
    client = control_plane.client
    with client.namespace() as namespace:
        client.apply(
            service(),
            config_map({"name": "mine"}),
            deployment({"name": "mine"}),
            pod(),
            pod(name="gateway", labels={GATEWAY: "llama"}),
            model(),
            namespace=namespace,
        )
        # The API server enforces each policy only once its informers have seen it.
        dry = Token(client, rights, namespace, "--dry-run=server")
        patiently(lambda: all(DENIED in FORBIDDEN[deed](dry) for deed in ONE_OF_EACH_POLICY))
        yield Token(client, rights, namespace)


DENIED = "denied request"
FORBIDDEN: dict[str, Callable[[Token], str]] = {
    "a ConfigMap that no model owns": lambda token: token.applies(config_map({"name": "llama-gateway"})),
    "a ConfigMap of another name": lambda token: token.applies(config_map(about(name="aws-auth"))),
    "somebody's ConfigMap": lambda token: token.applies(config_map(about(name="mine"))),
    "deleting somebody's ConfigMap": lambda token: token.tries("delete", "configmap", "mine"),
    "deleting somebody's Deployment": lambda token: token.tries("delete", "deployment", "mine"),
    "somebody's Deployment": lambda token: token.applies(deployment(about(name="mine"))),
    "a pod with the node's files": lambda token: token.applies(
        deployment(volumes=[{"name": "root", "hostPath": {"path": "/"}}])
    ),
    "a pod with a token": lambda token: token.applies(deployment(automountServiceAccountToken=True)),
    "a pod with a projected token": lambda token: token.applies(
        deployment(volumes=[{"name": "a", "projected": {"sources": [{"serviceAccountToken": {"path": "a"}}]}}])
    ),
    "a pod of another account": lambda token: token.applies(deployment(serviceAccountName="admin")),
    "a pod in the node's network": lambda token: token.applies(deployment(hostNetwork=True)),
    "a pod in the node's processes": lambda token: token.applies(deployment(hostPID=True)),
    "a pod as root": lambda token: token.applies(deployment(securityContext={})),
    "a privileged pod": lambda token: token.applies(deployment(container={"securityContext": {"privileged": True}})),
    "a pod with capabilities": lambda token: token.applies(
        deployment(container={"securityContext": {**SECURE, "capabilities": {"add": ["NET_ADMIN"]}}})
    ),
    "a pod with somebody's ConfigMap": lambda token: token.applies(
        deployment(volumes=[{"name": "a", "configMap": {"name": "mine"}}])
    ),
    "a pod with a container before": lambda token: token.applies(
        deployment(initContainers=[{"name": "b", "image": "a", "securityContext": SECURE}])
    ),
    "another image in somebody's pod": lambda token: token.applies(pod(image="evil")),
    "another image in a gateway's pod": lambda token: token.applies(pod(image="evil", name="gateway")),
    "annotations of somebody's pod": lambda token: token.applies(metadata_of("mine", annotations={"a": "b"})),
    "labels of a gateway's pod": lambda token: token.applies(metadata_of("gateway", labels={"app": "mine"})),
    "a Service of its own": lambda token: token.applies({**service(), "metadata": {"name": "other"}}),
    "a Service that leads out of the cluster": lambda token: token.tries(
        "patch", "service", "mine", "-p", '{"spec": {"type": "ExternalName", "externalName": "evil.example"}}'
    ),
    "somebody's address": lambda token: token.tries(
        "patch", "service", "mine", "-p", '{"spec": {"externalIPs": ["192.0.2.1"]}}'
    ),
    "another port": lambda token: token.tries(
        "patch",
        "service",
        "mine",
        "--type=json",
        "-p",
        '[{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 1}]',
    ),
    "deleting somebody's Service": lambda token: token.tries("delete", "service", "mine"),
    "the remote of a model": lambda token: token.changes_model(
        {"spec": {"offloadingConfig": {"remoteBackend": {"host": "evil.example"}}}}
    ),
}
FORBIDDEN |= {
    f"{what} of a namespace": lambda token, change=change: token.tries(
        "patch", "namespace", token.namespace, "-p", change
    )
    for what, change in {
        "the level of security": '{"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}',
        "the annotations": '{"metadata": {"annotations": {"deployment.beamlit.com/gateway-gone": "llama"}}}',
    }.items()
}
ONE_OF_EACH_POLICY = (
    "a ConfigMap that no model owns",
    "a pod with a token",
    "another image in somebody's pod",
    "another port",
    "the remote of a model",
    "the level of security of a namespace",
)
ALLOWED: dict[str, Callable[[Token], str]] = {
    "annotations and finalizers of a model": lambda token: token.changes_model(
        {"metadata": {"annotations": {"a": "b"}, "finalizers": ["deployment.beamlit.com/gateway"]}}
    ),
    "a gateway's ConfigMap": lambda token: token.applies(config_map(about())),
    "a gateway": lambda token: token.applies(deployment()),
    "annotations of a gateway's pod": lambda token: token.applies(metadata_of("gateway", annotations={"a": "b"})),
    "the selector of a Service": lambda token: token.tries(
        "patch",
        "service",
        "mine",
        "-p",
        '{"metadata": {"annotations": {"a": "b"}}, "spec": {"selector": {"app": "b"}}}',
    ),
}


@pytest.mark.parametrize("deed", FORBIDDEN)
def test_the_token_is_no_good_for(token: Token, deed: str) -> None:
    assert DENIED in FORBIDDEN[deed](token)


@pytest.mark.parametrize("deed", ALLOWED)
def test_the_token_is_good_for(token: Token, deed: str) -> None:
    assert ALLOWED[deed](token) == ""


PLACED: Json = {
    "nodeSelector": {"example.com/pool": "edge", "edge": ""},
    "tolerations": [
        {"operator": "Exists"},
        {"key": "example.com/pool", "value": "edge", "effect": "NoExecute", "tolerationSeconds": 30},
    ],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "pool", "operator": "In", "values": ["edge"]}]}]
            }
        },
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 1,
                    "podAffinityTerm": {
                        "topologyKey": "topology.kubernetes.io/zone",
                        "labelSelector": {"matchLabels": {GATEWAY: "llama"}},
                    },
                }
            ]
        },
    },
    "priorityClassName": "serving",
    "imagePullSecrets": [{"name": "registry"}],
}


@pytest.mark.parametrize("config", [{}, {"gateway": PLACED}, {"runAsFixedUser": False}], ids=str)
def test_the_token_is_good_for_the_gateway_that_is_rendered_wherever_it_is_placed(token: Token, config: Json) -> None:
    read = settings.read({"config": config})
    assert isinstance(read, Settings)
    spec = builders.spec(key=ModelKey(token.namespace, "llama"), service=LocalService("llama", 8000))
    envoy = Envoy({"bootstrap.json": "{}"}, "/ready", ("x-offload-probe", "llama"))
    ports, image = Ports(front=8000, stats=9902, service=80), Image("beamlit-controller:1")
    rendered = gateway_deployment.deployment(
        spec, "u", ports=ports, envoy=envoy, image=image, pods=read.gateway_pods, labels={}
    ).content

    assert token.applies(rendered) == ""

    kept = token.client.get("deployment", "llama-gateway", namespace=token.namespace)
    assert applier.contains(kept["spec"], rendered["spec"])


GONE = {"deployment.beamlit.com/gateway-gone": "llama"}


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        ({"annotations": GONE}, True),
        ({"annotations": {**GONE, "other": "added"}}, False),
        ({"annotations": {"other": "changed"}}, False),
        ({"annotations": {"mine": None}}, False),
        ({"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}, False),
        ({"finalizers": []}, False),
    ],
    ids=str,
)
def test_of_a_namespace_that_is_deleted_the_token_may_write_one_annotation(
    token: Token,
    change: Json,
    allowed: bool,  # noqa: FBT001 - a case
) -> None:
    client = token.client
    with client.namespace() as namespace:
        kept = {"annotations": {"mine": "kept"}, "finalizers": ["example.com/kept"]}
        client.kubectl("patch", "namespace", namespace, "-p", json.dumps({"metadata": kept}))
        client.kubectl("delete", "namespace", namespace, "--wait=false")

        patch = ("patch", "namespace", namespace, "--type=merge", "-p", json.dumps({"metadata": change}))
        said = token.within(namespace).tries(*patch)

        client.kubectl("patch", "namespace", namespace, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    assert (said == "") if allowed else (DENIED in said)


def test_nobody_else_is_concerned(token: Token) -> None:
    token.client.apply(deployment({"name": "own"}, hostNetwork=True), namespace=token.namespace)

    assert token.client.get("deployment", "own", namespace=token.namespace)


def test_the_policies_have_nothing_that_the_api_server_warns_of(control_plane: ControlPlane, rights: Path) -> None:
    assert rights.exists()
    listed = control_plane.client.get("validatingadmissionpolicy")

    prefix = f"{controllers.SYSTEM}.{controllers.NAME}-"
    ours = [each for each in listed["items"] if each["metadata"]["name"].startswith(prefix)]

    assert len(ours) == 6
    for each in ours:
        assert each.get("status", {}).get("typeChecking", {}).get("expressionWarnings", []) == []
