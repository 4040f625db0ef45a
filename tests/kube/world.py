"""A namespace with a model in it, as its user and an onlooker see it."""

from typing import Any

from beamlit_controller.kubernetes.paths import PODS
from fakes import objects_of_models
from kube import controllers
from kube.client import Client
from kube.metrics_api import Values
from waiting import eventually

Json = dict[str, Any]
LONG = 90
SETTINGS = {"metricInformer": {"periodSeconds": 1}, "allowedRemoteHosts": ["api.example.com"]}
SERVICE = objects_of_models.service(namespace="")
NODE = "played"
GATEWAY = ("deployment", "configmap", "networkpolicy", "poddisruptionbudget")


def model(**spec: Any) -> Json:  # noqa: ANN401 - whatever a spec has
    """Return the ModelDeployment of the fakes with a Service of its own, so that there is no takeover."""
    return objects_of_models.model(namespace="", drain_seconds=None, **{"routing": {"mode": "Service"}, **spec})


class World:
    """The user of a namespace, who has a model in it, and an onlooker."""

    def __init__(self, client: Client, namespace: str, values: Values) -> None:
        self.client = client
        self.namespace = namespace
        self.values = values

    def queue(self, length: int) -> None:
        self.values.external["queue"] = [str(length)]

    def apply(self, *objects: Json) -> None:
        self.client.apply(*objects, namespace=self.namespace)

    def patch(self, change: Json) -> None:
        self.client.patch("md", "llama", change, namespace=self.namespace)

    def get(self, kind: str, name: str) -> Json:
        return self.client.get(kind, name, namespace=self.namespace)

    def status(self) -> Json:
        return self.get("md", "llama").get("status") or {}

    def condition(self, kind: str) -> Json:
        found = [each for each in self.status().get("conditions") or () if each["type"] == kind]
        return found[0] if found else {}

    def percentage(self) -> int | None:
        return (self.status().get("offloading") or {}).get("percentage")

    def names(self, kind: str) -> set[str]:
        return {each["metadata"]["name"] for each in self.client.get(kind, namespace=self.namespace)["items"]}

    def versions(self) -> dict[str, str]:
        """Return the resourceVersion of everything that is ours."""
        ours = "app.kubernetes.io/managed-by=beamlit-controller"
        kinds = ",".join((*GATEWAY, "service"))
        listed = self.client.kubectl("get", kinds, "-n", self.namespace, "-l", ours, "-o", _VERSIONS)
        return dict(line.split(" ") for line in listed.splitlines())

    def events(self) -> set[tuple[str, str]]:
        items = self.client.get("events.events.k8s.io", namespace=self.namespace)["items"]
        return {(each["type"], each["reason"]) for each in items if each["regarding"]["kind"] == "ModelDeployment"}

    async def play_pods(self) -> None:
        """Have all pods of the namespace run on a node that is none, ready and with an address."""
        self.client.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
        async with self.client.api_server() as server:
            for number, name in enumerate(sorted(self.names("pod"))):
                if not self.get("pod", name)["spec"].get("nodeName"):
                    target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
                    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
                    await server.create(PODS.path(self.namespace, name, "binding"), binding)
                address = f"10.77.0.{number + 1}"
                ready = [{"type": "Ready", "status": "True"}]
                status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": ready}
                self.client.set_status("pod", name, status, namespace=self.namespace)

    def remove_pods(self) -> None:
        """Remove all pods at once: no kubelet ends those that were played, and a model is gone after its pods."""
        now = ("--force", "--grace-period=0", "--ignore-not-found")
        self.client.kubectl("delete", "pod", "--all", "-n", self.namespace, *now)

    async def reaches(self, percentage: int) -> None:
        await eventually(lambda: self.percentage() == percentage, within=LONG, every=0.2, what=f"{percentage} %")

    async def complete(self) -> None:
        """Wait until all of the gateway is there."""
        await eventually(lambda: len(self.versions()) == 6, within=LONG, every=0.2, what="six objects")


_VERSIONS = 'jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.resourceVersion}{"\\n"}{end}'


def lease(client: Client) -> Json:
    """Return what the replicas agree on: which of them leads."""
    found: Json = client.get("lease", "beamlit-controller", namespace=controllers.SYSTEM)["spec"]
    return found
