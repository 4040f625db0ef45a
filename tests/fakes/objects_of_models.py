"""The objects that a user creates for one model, and what a user observes of it on a fake API server.

`kube.world` uses the same builders on a real API server. An empty namespace is left out: the client adds it.
"""

from typing import Any

from beamlit_controller.kubernetes import service_patches
from fakes.api_server import FakeApiServer

Json = dict[str, Any]


def service(name: str = "llama", namespace: str = "models") -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(name, namespace),
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8000}]},
    }


def workload(name: str = "llama", namespace: str = "models", replicas: int = 2) -> Json:
    container = {"name": "server", "image": "model", "ports": [{"name": "http", "containerPort": 8000}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(name, namespace),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
        },
    }


def model(
    name: str = "llama",
    namespace: str = "models",
    *,
    about: Json | None = None,
    drain_seconds: int | None = 12,
    **spec: Any,  # noqa: ANN401 - whatever a spec has
) -> Json:
    """Return a ModelDeployment that offloads 50 % while the External metric `queue` is above 10."""
    config = {
        "behavior": {"percentage": 50},
        "remoteBackend": {"scheme": "https", "host": "api.example.com"},
        "metrics": [
            {"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "Value", "value": 10}}}
        ],
    }
    return {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {**_metadata(name, namespace), **(about or {})},
        "spec": {
            "serviceRef": {"name": name, "targetPort": 8000},
            "offloadingConfig": config,
            **({"gateway": {"drainSeconds": drain_seconds}} if drain_seconds is not None else {}),
            **spec,
        },
    }


def _metadata(name: str, namespace: str) -> Json:
    return {"name": name, **({"namespace": namespace} if namespace else {})}


class Seen:
    """What a user observes of one model."""

    def __init__(self, server: FakeApiServer, name: str = "llama", namespace: str = "models") -> None:
        self.server, self.name, self.namespace = server, name, namespace

    @property
    def object(self) -> Json:
        return self.server.find("deployment.beamlit.com/v1alpha1", "ModelDeployment", self.namespace, self.name) or {}

    @property
    def status(self) -> Json:
        given: Json = self.object.get("status") or {}
        return given

    @property
    def percentage(self) -> int | None:
        return (self.status.get("offloading") or {}).get("percentage")

    def condition(self, kind: str) -> tuple[str, str]:
        found = [each for each in self.status.get("conditions") or () if each["type"] == kind]
        return (found[0]["status"], found[0]["reason"]) if found else ("", "")

    def message(self, kind: str) -> str:
        return next(each["message"] for each in self.status["conditions"] if each["type"] == kind)

    @property
    def events(self) -> list[tuple[str, str]]:
        found = self.server.all("events.events.k8s.io", self.namespace)
        return [(each["type"], each["reason"]) for each in found if each["regarding"]["name"] == self.name]

    @property
    def selector(self) -> Json:
        found = self.server.find("v1", "Service", self.namespace, self.name) or {}
        given: Json = (found.get("spec") or {}).get("selector") or {}
        return given

    @property
    def taken(self) -> bool:
        return bool(self.selector) and all(service_patches.is_gateway_value(value) for value in self.selector.values())

    @property
    def ready(self) -> bool:
        return self.condition("Ready")[0] == "True"


def gateway_pods(server: FakeApiServer) -> list[Json]:
    """Return the gateway pods."""
    return [each for each in server.all("pods", "models") if "-gateway-" in each["metadata"]["name"]]


def addresses(server: FakeApiServer, name: str = "llama") -> set[str]:
    """Return the ready endpoint addresses of a Service."""
    slices = server.all("endpointslices.discovery.k8s.io", "models")
    mine = [each for each in slices if each["metadata"]["labels"].get("kubernetes.io/service-name") == name]
    ready = (
        endpoint
        for each in mine
        for endpoint in each.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready") is not False
    )
    return {address for endpoint in ready for address in endpoint["addresses"]}
