"""The controller against the real API server: what a user applies, what comes of it, and what he is told."""

from pathlib import Path
from typing import Any

from cluster import controllers
from cluster.client import Client
from cluster.control_plane import ControlPlane
from cluster.metrics_api import MetricsApis
from waiting import eventually

Json = dict[str, Any]
LONG = 60
SETTINGS = {"metricInformer": {"periodSeconds": 1}}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "llama"},
    "spec": {"selector": {"app": "llama"}, "ports": [{"name": "http", "port": 80, "targetPort": 8000}]},
}


def model(**spec: Any) -> Json:  # noqa: ANN401 - whatever a spec has
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
        "metadata": {"name": "llama"},
        "spec": {"serviceRef": {"name": "llama", "targetPort": 8000}, "offloadingConfig": config, **spec},
    }


def status(client: Client, namespace: str) -> Json:
    return client.get("modeldeployment", "llama", namespace=namespace).get("status") or {}


def condition(client: Client, namespace: str, kind: str) -> Json:
    found = [each for each in status(client, namespace).get("conditions") or () if each["type"] == kind]
    return found[0] if found else {}


def percentage(client: Client, namespace: str) -> int | None:
    return (status(client, namespace).get("offloading") or {}).get("percentage")


def make_gateway_ready(client: Client, namespace: str, count: int = 2) -> None:
    """Say of the gateway what the kubelet and its Deployment would."""
    ready = {"replicas": count, "readyReplicas": count, "updatedReplicas": count, "availableReplicas": count}
    client.set_status("deployment", "llama-gateway", ready, namespace=namespace)


def names(client: Client, namespace: str, kind: str) -> set[str]:
    return {each["metadata"]["name"] for each in client.get(kind, namespace=namespace)["items"]}


async def test_an_applied_model_gets_its_gateway_and_decides_by_the_metrics_apis(
    control_plane: ControlPlane, metrics_apis: MetricsApis, namespace: str, tmp_path: Path
) -> None:
    metrics_apis.values(namespace).external["queue"] = ["4"]
    async with controllers.installed(control_plane, tmp_path) as client:
        one = controllers.replica(client, tmp_path, "one", SETTINGS)
        async with controllers.running(one):
            client.apply(SERVICE, model(), namespace=namespace)

            await eventually(lambda: "llama-gateway" in names(client, namespace, "deployment"), within=LONG)
            await eventually(
                lambda: {"llama-gateway", "llama-local"} <= names(client, namespace, "service"), within=LONG
            )
            await eventually(lambda: percentage(client, namespace) == 0, within=LONG, what=one.log[-3000:])
            metrics_apis.values(namespace).external["queue"] = ["14"]
            await eventually(lambda: percentage(client, namespace) == 50, within=LONG)
