"""Replicas of the controller, wired as in production, on a fake API server in virtual time.

All of the cluster mode runs except what needs a network: a test sets metrics as numbers and the gateways' answers, and
nothing listens.
"""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from beamlit_controller.api import translate
from beamlit_controller.api.settings import Settings
from beamlit_controller.controller.changes import Changes
from beamlit_controller.controller.meters import Meters
from beamlit_controller.controller.ports import WorkloadSnapshot
from beamlit_controller.controller.sensor import Sensor
from beamlit_controller.core import readable
from beamlit_controller.core.gateway_config import ConfigInForce
from beamlit_controller.core.metric_spec import MetricSpec
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.remote_health import RemoteReady
from beamlit_controller.core.signals import LocalHealth, Missing, Reading, Sample, Scale
from beamlit_controller.core.spec import ModelKey, OffloadSpec
from beamlit_controller.envoy.rtds import RuntimeValues
from beamlit_controller.kubernetes.gateway_objects import Image
from beamlit_controller.kubernetes.managed_objects import GatewayPod
from beamlit_controller.kubernetes.store import Store
from beamlit_controller.wiring import cluster, cluster_parts
from beamlit_controller.wiring.cluster_options import ClusterOptions, RtdsAddress
from beamlit_controller.wiring.cluster_parts import ExternalInputs, ReplicaParts
from fakes.api_faults import CrashedError
from fakes.api_server import FakeApiServer

Json = dict[str, Any]


@dataclass
class Metrics:
    """What every model's metric is, in whole units; None where it can't be read. It is the source and the inventory."""

    values: dict[ModelKey, int | None] = field(default_factory=dict)
    default: int | None = 4

    async def read(self, spec: OffloadSpec, metric: MetricSpec, *, at: datetime) -> Reading:
        value = self.values.get(spec.key, self.default)
        return Missing(Reason.NO_SERIES, "there is none") if value is None else Sample(value * 1000, at)

    async def snapshot_of(self, spec: OffloadSpec) -> WorkloadSnapshot:
        return WorkloadSnapshot((), Scale(1, 1), LocalHealth(1, 1))


@dataclass
class Gateways:
    """What gateways say when they are asked."""

    reach: bool = True

    async def of(self, pods: Iterable[GatewayPod]) -> Collection[str]:
        return {pod.uid for pod in pods} if self.reach else set()


class ConfigReader:
    """What gateway pods have in force: all that their ConfigMap says, unless a test says else."""

    def __init__(self, server: FakeApiServer) -> None:
        self._server = server
        self.says: Callable[[ConfigInForce], ConfigInForce | None] = lambda has: has

    async def of(self, pods: Iterable[GatewayPod]) -> Mapping[str, ConfigInForce]:
        said = {pod.uid: self.says(self._has(pod)) for pod in pods}
        return {uid: each for uid, each in said.items() if each is not None}

    def _has(self, pod: GatewayPod) -> ConfigInForce:
        files = self.files(pod.key.name, pod.key.namespace)
        versions = {name: json.loads(text).get("version_info") for name, text in files.items()}
        return ConfigInForce(tuple((name, text) for name, text in versions.items() if text))

    def files(self, name: str = "llama", namespace: str = "models") -> Mapping[str, str]:
        """Return what the ConfigMap of a gateway has."""
        found = self._server.find("v1", "ConfigMap", namespace, f"{name}-gateway")
        return (found or {}).get("data") or {}


class Remotes:
    """Nothing was ever sent to a remote."""

    async def run(self) -> None:
        await asyncio.Event().wait()

    def ready(self, key: ModelKey) -> RemoteReady | None:
        return None

    def percentage_limit(self, key: ModelKey) -> int:
        return 100


@dataclass
class Replica:
    """One replica that runs."""

    name: str
    parts: ReplicaParts
    task: asyncio.Task[None]

    def percentage(self, name: str, namespace: str = "models") -> int | None:
        """Return what its gateways are told."""
        told = self.told(name, namespace)
        return told.percentage if told else None

    def told(self, name: str, namespace: str = "models") -> RuntimeValues | None:
        """Return all that its gateways are told."""
        subscription = self.parts.rtds_server._subscriptions.get(f"{namespace}/{name}")  # noqa: SLF001 - nobody listens here
        return subscription.values.value if subscription else None

    async def end(self) -> None:
        """End it as a kill does: nothing of it goes on."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


class World:
    """A fake API server, and the replicas on it."""

    def __init__(self, server: FakeApiServer, settings: Settings, secrets: Path) -> None:
        self.server = server
        self.metrics = Metrics()
        self.gateways = Gateways()
        self.configs = ConfigReader(server)
        self.replicas: list[Replica] = []
        self.meters: dict[str, Meters] = {}
        self.settings = settings
        self._secrets = secrets

    def given(self, name: str) -> ClusterOptions:
        """Return what a replica is given."""
        shares = RtdsAddress("127.0.0.1:0", "controller.system.svc:18000", self._secrets)
        return ClusterOptions(self.settings, name, "system", Image("gateway:test"), shares)

    def compose(self, name: str) -> tuple[ClusterOptions, ReplicaParts]:
        """Wire a replica, and run nothing of it."""
        given, server = self.given(name), self.server.connect(name)
        store = Store(partial(translate.read, settings=self.settings), Changes())
        meters = self.meters[name] = Meters(self.server.clock)
        sensor = Sensor(sources=((readable.from_metrics_apis, self.metrics),), inventory=self.metrics, flows=meters)
        outside = ExternalInputs(self.server.clock, sensor, self.gateways, Remotes(), meters, self.configs)
        return given, cluster_parts.compose(given, server, store, outside)

    def start(self, name: str = "one") -> Replica:
        """Start a replica."""
        given, composed = self.compose(name)
        replica = Replica(name, composed, asyncio.ensure_future(_run(given, composed)))
        self.replicas.append(replica)
        return replica

    async def end(self) -> None:
        """End all replicas; AssertionError if one of them ended by itself, in another way than by a crash that was asked for."""
        for each in self.replicas:
            await asyncio.wait([each.task], timeout=0)
            failed = each.task.exception() if each.task.done() and not each.task.cancelled() else None
            await each.end()
            assert failed is None or _is_crash(failed), repr(failed)


async def _run(given: ClusterOptions, composed: ReplicaParts) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(composed.watches.run())
        await composed.watches.wait_synced()
        group.create_task(composed.last_good.run())
        group.create_task(composed.rtds_feed.run())
        lead = partial(cluster.lead, given, composed)
        if given.settings.enable_leader_election:
            group.create_task(composed.lease.run())
            group.create_task(cluster.while_leading(composed.lease, lead))
        else:
            group.create_task(lead())


def _is_crash(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_crash(each) for each in error.exceptions)
    return isinstance(error, CrashedError)


@asynccontextmanager
async def world(server: FakeApiServer | None = None, **settings: object) -> AsyncIterator[World]:
    """Provide a world without any replica yet."""
    with tempfile.TemporaryDirectory() as folder:
        secrets = Path(folder)
        (secrets / "ca.crt").write_text("the CA")
        (secrets / "token.key").write_bytes(b"k" * 32)
        base = {"enable_leader_election": False}
        given = World(server or FakeApiServer("models", "others", "system"), Settings(**{**base, **settings}), secrets)
        try:
            yield given
        finally:
            await given.end()
