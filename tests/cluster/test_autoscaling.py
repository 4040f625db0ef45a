"""A real HorizontalPodAutoscaler on true demand: the replicas grow, and then the offload ends by itself."""

import re
from pathlib import Path
from typing import Any

import yaml

from kube import controllers
from kube.control_plane import ControlPlane
from kube.metrics_api import MetricsApis
from kube.scaled import NAME, ScaledModel
from waiting import eventually

Json = dict[str, Any]
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TARGET = 10
LOAD = 60
"""What waits in all, as the queue of one replica would have it: 30 for each of the first two."""
SETTINGS = {"metricInformer": {"periodSeconds": 1}, "allowedRemoteHosts": ["api.example.com"]}


def deployed() -> Json:
    queue = {"metric": {"name": "queue"}, "target": {"type": "Value", "value": TARGET}}
    return {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": NAME},
        "spec": {
            "modelSourceRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME},
            "serviceRef": {"name": NAME, "targetPort": 8000},
            "routing": {"mode": "Service"},
            "offloadingConfig": {
                "behavior": {"percentage": 50, "release": {"stabilizationWindowSeconds": 5}},
                "remoteBackend": {"scheme": "https", "host": "api.example.com"},
                "metrics": [{"type": "External", "external": queue}],
            },
        },
    }


def autoscaler() -> Json:
    """Give the example's, for this model, and small enough for a test."""
    content: Json = yaml.safe_load((EXAMPLES / "autoscaler.yaml").read_text())
    content["metadata"]["name"] = content["spec"]["scaleTargetRef"]["name"] = NAME
    content["spec"] |= {"minReplicas": 2, "maxReplicas": 10}
    content["spec"]["metrics"][0]["external"]["metric"]["selector"]["matchLabels"]["name"] = NAME
    return content


class Pool:
    """The servers: what waits for each falls with the replicas, and with what is offloaded."""

    def __init__(self, model: ScaledModel) -> None:
        self.model = model
        self.shares: list[int] = []

    def status(self) -> Json:
        found: Json = self.model.client.get("md", NAME, namespace=self.model.namespace).get("status") or {}
        return found

    def replicas(self) -> int:
        return int(self.model.client.get("deployment", NAME, namespace=self.model.namespace)["spec"]["replicas"])

    async def turn(self, figures: str) -> bool:
        """Let the pods be ready, the queue be what it then is, and the adapter show what the controller says."""
        for pod in self.model.client.get("pods", namespace=self.model.namespace)["items"]:
            if pod["status"]["phase"] == "Pending" and pod["metadata"]["labels"].get("app") == NAME:
                self.model.make_ready(pod["metadata"]["name"])
        share = (self.status().get("offloading") or {}).get("percentage", 0)
        self.shares = [*self.shares, share] if self.shares[-1:] != [share] else self.shares
        external = self.model.values.external
        external["queue"] = [f"{1000 * LOAD * (100 - share) // (100 * self.replicas())}m"]
        found = re.search(
            rf'^beamlit_demand_ratio{{name="{NAME}",namespace="{self.model.namespace}"}} (\S+)', figures, re.MULTILINE
        )
        selected = f"beamlit_demand_ratio{{name={NAME}}}"
        external[selected] = [f"{float(found[1]):.3f}"] if found else []
        return self.shares[-2:] == [50, 0]


async def test_replicas_grow_and_then_the_offload_ends(
    control_plane: ControlPlane, metrics_apis: MetricsApis, rights: Path, namespace: str, tmp_path: Path
) -> None:
    client = control_plane.client
    model = ScaledModel(client, namespace, metrics_apis.values(namespace))
    pool = Pool(model)
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME},
        "spec": {"selector": {"app": NAME}, "ports": [{"port": 80, "targetPort": 8000}]},
    }
    model.create([], replicas=2)
    client.kubectl("delete", "hpa", NAME, "-n", namespace)
    client.apply(service, deployed(), autoscaler(), namespace=namespace)
    replica = controllers.replica(client, tmp_path, "one", SETTINGS, rights)

    async with controllers.running(replica):

        async def ended() -> bool:
            return await pool.turn(await replica.metrics())

        await eventually(ended, within=180, every=0.5, what="the offload ends")

    assert pool.shares == [0, 50, 0]
    assert pool.replicas() * TARGET > LOAD
    assert int(model.values.external["queue"][0].removesuffix("m")) < 1000 * TARGET
    assert "AutoscalerInterference" not in {each["type"] for each in pool.status()["conditions"]}
