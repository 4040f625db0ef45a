"""What we make of a model in a cluster, with the parts that the controller has: watch, requests, verdict, status."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from beamlit_controller.api import status, translate
from beamlit_controller.api.settings import Settings
from beamlit_controller.api.translate import Accepted
from beamlit_controller.controller.sensor import Sensor
from beamlit_controller.core import readable, verdict
from beamlit_controller.core.spec import OffloadSpec
from beamlit_controller.core.verdict import Assessed, Verdict
from beamlit_controller.kubernetes import paths, pods
from beamlit_controller.kubernetes.discovery import Discovery
from beamlit_controller.kubernetes.inventory import ClusterInventory
from beamlit_controller.kubernetes.metrics import MetricsApis
from beamlit_controller.kubernetes.pods import Pods
from beamlit_controller.kubernetes.scale import Workloads
from beamlit_controller.kubernetes.watches import Watches
from kube.client import Client

Json = dict[str, Any]

DEADLINE = timedelta(seconds=30)


@dataclass(frozen=True)
class Ours:
    """Our eyes on one Deployment."""

    spec: OffloadSpec
    sensor: Sensor

    async def verdict(self) -> Verdict:
        """Read all metrics and hold them against their targets."""
        signals = await self.sensor.read(self.spec, at=datetime.now(UTC), deadline=DEADLINE)
        return verdict.assess(self.spec, signals)

    async def current_metrics(self) -> list[Json]:
        """Return what would stand in the status."""
        assessed = (await self.verdict()).metrics
        return [status.metric(each) for each in assessed if isinstance(each, Assessed)]


@asynccontextmanager
async def looking(client: Client, namespace: str, deployment: str, metrics: Sequence[Json]) -> AsyncIterator[Ours]:
    """Look at a Deployment with these metrics."""
    async with client.api_server() as server, asyncio.TaskGroup() as group:
        known, watches = Pods(), Watches(server, [namespace])
        watches.add(paths.PODS, keep=pods.parse, changed=known.changed)
        watching = group.create_task(watches.run())
        await watches.wait_synced()
        discovery = Discovery(server)
        workloads = Workloads(server, discovery, lambda *_: None)
        source = MetricsApis(server, discovery, workloads)
        yield Ours(
            _spec(namespace, deployment, metrics),
            Sensor(sources=((readable.from_metrics_apis, source),), inventory=ClusterInventory(workloads, known)),
        )
        watching.cancel()


def _spec(namespace: str, deployment: str, metrics: Sequence[Json]) -> OffloadSpec:
    remote = {"scheme": "https", "host": "remote.test"}
    given = {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": deployment, "namespace": namespace},
        "spec": {
            "modelSourceRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment},
            "serviceRef": {"name": deployment, "targetPort": 8000},
            "offloadingConfig": {"remoteBackend": remote, "metrics": list(metrics)},
        },
    }
    accepted = translate.read(given, Settings())
    assert isinstance(accepted, Accepted), accepted
    return accepted.spec
