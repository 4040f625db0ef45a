"""A real HorizontalPodAutoscaler on true demand beside a learned cap: the replicas grow, and then nothing leaves any more.

The model has two metrics. The one that the cap was learned from can't be read while requests leave.
"""

import asyncio
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from fakes import http
from fakes.http import Request
from kube import controllers
from kube.control_plane import ControlPlane
from kube.metrics_api import MetricsApis
from kube.scaled import NAME, ScaledModel
from waiting import eventually

Json = dict[str, Any]
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CLIENTS, FITS, TARGET = 60, 10, 10
"""Clients that never rest, how many requests a replica works on at once, and how many may wait for each."""
STATS_PORT = 9902
SETTINGS = {"metricInformer": {"periodSeconds": 1}, "allowedRemoteHosts": ["api.example.com"]}


def deployed() -> Json:
    queue = {"metric": {"name": "queue"}, "target": {"type": "Value", "value": TARGET}}
    busy = {"metric": {"name": "busy"}, "target": {"type": "Value", "value": 2}}
    return {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": NAME},
        "spec": {
            "modelSourceRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME},
            "serviceRef": {"name": NAME, "targetPort": 8000},
            "routing": {"mode": "Service"},
            "gateway": {"replicas": 1},
            "offloadingConfig": {
                "behavior": {"mode": "Adaptive"},
                "remoteBackend": {"scheme": "https", "host": "api.example.com"},
                "metrics": [{"type": "External", "external": each} for each in (queue, busy)],
            },
        },
    }


def autoscaler() -> Json:
    """Return the example's, for this model, and small enough for a test."""
    content: Json = yaml.safe_load((EXAMPLES / "autoscaler.yaml").read_text())
    content["metadata"]["name"] = content["spec"]["scaleTargetRef"]["name"] = NAME
    content["spec"] |= {"minReplicas": 2, "maxReplicas": 10}
    content["spec"]["metrics"][0]["external"]["metric"]["selector"]["matchLabels"]["name"] = NAME
    return content


class Pool:
    """The servers and a gateway pod before them: with each turn every replica answers what it works on, and the gateway counts."""

    def __init__(self, model: ScaledModel, gateway_ip: str) -> None:
        self.model = model
        self.gateway_ip = gateway_ip
        self.most_sent = self.sent = self.in_flight = 0
        self.unread = False
        self._answered: Counter[str] = Counter()

    def status(self) -> Json:
        found: Json = self.model.client.get("md", NAME, namespace=self.model.namespace).get("status") or {}
        return found

    def replicas(self) -> int:
        return int(self.model.client.get("deployment", NAME, namespace=self.model.namespace)["spec"]["replicas"])

    async def figures(self, request: Request, writer: asyncio.StreamWriter) -> None:
        """Answer as the gateway pod does where it is watched."""
        lines = (
            f'envoy_cluster_upstream_rq_active{{envoy_cluster_name="local"}} {self.in_flight}',
            f'envoy_offload_requests{{side="local",route="share"}} {self._answered["local"]}',
            f'envoy_offload_requests{{side="remote",route="local",chain="remote_first"}} {self._answered["remote"]}',
        )
        await http.page("\n".join([*lines, ""]), x_envoy_upstream_service_time="1")(request, writer)

    async def turn(self, figures: str) -> bool:
        """Let all pods be ready and requests come and go; tell whether none leaves any more.

        The adapter shows what the controller says once requests leave and it has found that it can't read the queue.
        """
        for pod in self.model.client.get("pods", namespace=self.model.namespace)["items"]:
            if pod["status"]["phase"] == "Pending":
                self._start(pod)
        offloading = self.status().get("offloading") or {}
        replicas, cap = self.replicas(), offloading.get("inFlightPerReplica")
        self.in_flight = CLIENTS if cap is None else min(CLIENTS, int(float(cap) * replicas))
        self.sent = CLIENTS - self.in_flight
        self.most_sent = max(self.sent, self.most_sent)
        self._answered.update(local=min(self.in_flight, FITS * replicas), remote=self.sent)
        external = self.model.values.external
        waiting = max(0, self.in_flight - FITS * replicas)
        external["queue"] = [] if self.sent else [f"{1000 * waiting // replicas}m"]
        external["busy"] = [f"{1000 * (self.in_flight - waiting) // (FITS * replicas)}m"]
        found = re.search(
            rf'^beamlit_demand_replicas{{name="{NAME}",namespace="{self.model.namespace}"}} (\S+)',
            figures,
            re.MULTILINE,
        )
        selected = f"beamlit_demand_replicas{{name={NAME}}}"
        external[selected] = [f"{float(found[1]):.3f}"] if found and self.unread else []
        self.unread = self.unread or (self.sent > 0 and offloading.get("reason") == "MetricsUnavailable")
        return self.most_sent > 0 and self.sent == 0

    def _start(self, pod: Json) -> None:
        name, labels = pod["metadata"]["name"], pod["metadata"]["labels"]
        if labels.get("app") != NAME:
            address = {"podIP": self.gateway_ip, "podIPs": [{"ip": self.gateway_ip}]}
            self.model.client.set_status("pod", name, address, namespace=self.model.namespace)
        self.model.make_ready(name)


async def test_replicas_grow_and_then_nothing_leaves_any_more(
    control_plane: ControlPlane, metrics_apis: MetricsApis, rights: Path, namespace: str, tmp_path: Path
) -> None:
    client = control_plane.client
    model = ScaledModel(client, namespace, metrics_apis.values(namespace))
    pool = Pool(model, f"127.77.{random.randrange(256)}.{random.randrange(1, 255)}")
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

    async with controllers.running(replica), http.serve(pool.figures, host=pool.gateway_ip, port=STATS_PORT):

        async def ended() -> bool:
            return await pool.turn(await replica.metrics())

        await eventually(ended, within=180, every=0.5, what="nothing leaves any more")

    assert pool.replicas() > 2
    assert (FITS + TARGET) * pool.replicas() >= CLIENTS
    assert "AutoscalerInterference" not in {each["type"] for each in pool.status()["conditions"]}
