"""One leader in a cluster with many models: how late its rounds begin while objects change, and what of a core that takes.

Everything that runs per model is the product's, as it is wired: store, decisions, reconciler, rendering, status. Only what is
outside of the process is not: the API server is a dictionary that tells every write back at once, metrics answer after a few
milliseconds. Figures are taken in three stages: all models at once, as after a start; ten changes of objects a second; and
nothing at all.
"""

import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from beamlit_controller.api import translate
from beamlit_controller.api.settings import Settings
from beamlit_controller.controller import garbage_collection
from beamlit_controller.controller.changes import Changes
from beamlit_controller.controller.clock import AnchoredClock
from beamlit_controller.controller.meters import Meters
from beamlit_controller.controller.ports import WorkloadSnapshot
from beamlit_controller.controller.sensor import Sensor
from beamlit_controller.core import readable
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.gateway_config import ConfigInForce
from beamlit_controller.core.metric_spec import MetricSpec
from beamlit_controller.core.signals import LocalHealth, Sample, Scale
from beamlit_controller.core.spec import ModelKey, OffloadSpec
from beamlit_controller.kubernetes import gateway_objects, managed_objects, models, paths, services
from beamlit_controller.kubernetes.api_server import ApiError
from beamlit_controller.kubernetes.gateway_objects import CONFIG_ANNOTATION, Image
from beamlit_controller.kubernetes.managed_objects import GatewayPod
from beamlit_controller.kubernetes.store import Store
from beamlit_controller.telemetry import logs
from beamlit_controller.wiring import cluster, cluster_parts
from beamlit_controller.wiring.cluster_options import ClusterOptions, RtdsAddress
from beamlit_controller.wiring.cluster_parts import ExternalInputs
from benchmarks import machine

Json = dict[str, Any]
COUNTS = (1_000,)
CHANGES = 10  # objects a second
SECONDS = 20
SETTLED = 180
STALL = 0.005
KEPT_STALL, KEPT_LAG = 0.05, 0.15  # seconds, p99
OWNED = {each.plural: each for each in gateway_objects.RESOURCES}


async def main() -> None:
    measured = [await _measure(count) for count in COUNTS]
    rows = (
        (
            f"{count:,}",
            f"{it['start']:.0f}",
            f"{it['start_stall'] * 1000:.0f}",
            f"{it['stall'] * 1000:.1f}",
            f"{it['stall'] / KEPT_STALL:.2f}",
            f"{it['lag'] * 1000:.1f}",
            f"{it['lag'] / KEPT_LAG:.2f}",
            f"{it['cpu'] / SECONDS:.0%}",
            f"{it['writes']:.0f}",
            f"{it['rss']:.0f}",
        )
        for count, it in zip(COUNTS, measured, strict=True)
    )
    head = (
        *("models", "all written s", "stall p99 ms", "stall p99 ms"),
        *("of 50 ms", "lag p99 ms", "of 150 ms", "CPU of a core", "writes when quiet", "RSS MiB"),
    )
    machine.table(f"Reconciling, one leader, {CHANGES} changes a second ({SECONDS} s each stage)", head, rows)


async def _measure(count: int) -> dict[str, float]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        words = (sys.executable, "-m", "benchmarks.reconcile", str(count), str(folder))
        process = await stack.enter_async_context(machine.running(*words, log=folder / "log", pipes=True))
        measured: dict[str, float] = json.loads(await machine.line(process, within=SETTLED + 3 * SECONDS + 60))
        return measured


# The leader's process: prints its figures and ends.


@dataclass
class Objects:
    """An API server that is a dictionary, and tells the store of every write at once."""

    store: Store
    objects: dict[str, Json] = field(default_factory=dict)
    version: int = 1
    writes: Counter[str] = field(default_factory=Counter)

    def guarded(self, _: object) -> "Objects":
        """Everybody may write."""
        return self

    async def get(self, path: str, query: object = ()) -> Json:
        """Return an object, or the endpoints of a Service: always its gateway's."""
        await asyncio.sleep(0)
        if "endpointslices" in path:
            service = dict(query)["labelSelector"].partition("=")[2]  # type: ignore[call-overload] # pairs
            key = ModelKey("models", service.removesuffix("-gateway"))
            return {
                "items": [
                    {"endpoints": [{"addresses": [pod.ip]} for pod in self.store.managed_objects.pods(key).values()]}
                ]
            }
        if path not in self.objects:
            raise ApiError(404, "NotFound", path)
        return self.objects[path]

    async def apply(self, path: str, content: Json, *, force: bool = True) -> Json:  # noqa: ARG002 - as the real one
        """Put fields in place of those that are there."""
        await asyncio.sleep(0)
        path = path.removesuffix("/status")
        self.writes[path.rsplit("/", 2)[-2]] += 1
        return self._touched(path, content) if "/pods/" in path else self.put(path, content)

    merge = apply

    def _touched(self, path: str, content: Json) -> Json:
        """Annotate a gateway's pod."""
        name, config = path.rpartition("/")[2], content["metadata"]["annotations"][CONFIG_ANNOTATION]
        pod = self.store.managed_objects.pods(ModelKey("models", name.rpartition("-gateway-")[0]))[name]
        self.store.managed_objects.pod_changed(("models", name), replace(pod, config=config))
        return content

    async def create(self, path: str, content: Json) -> Json:
        """Take an Event."""
        self.writes[path.rsplit("/", 1)[-1]] += 1
        return content

    def put(self, path: str, content: Json) -> Json:
        """Store an object, and tell of it."""
        self.version += 1
        before = self.objects.get(path, {})
        about = {**before.get("metadata", {}), **content["metadata"], "resourceVersion": str(self.version)}
        about.setdefault("uid", path)
        about.setdefault("generation", 1)
        made = {**before, **content, "metadata": about}
        if path.rsplit("/", 2)[-2] == "deployments":
            made["status"] = {"readyReplicas": 2}
        self.objects[path] = made
        self._tell(path, made)
        return made

    def _tell(self, path: str, made: Json) -> None:
        plural, place = path.rsplit("/", 2)[-2], (made["metadata"]["namespace"], made["metadata"]["name"])
        if plural == "modeldeployments":
            self.store.model_changed(place, models.stored(made))
            return
        if plural == "services":
            self.store.services.changed(place, services.parse(made))
        if "deployment.beamlit.com/gateway" in (made["metadata"].get("labels") or {}):
            self.store.managed_objects.changed(OWNED[plural])(place, managed_objects.parse(OWNED[plural])(made))
        if plural == "deployments":
            self._pods(made)

    def _pods(self, made: Json) -> None:
        model = made["metadata"]["labels"]["deployment.beamlit.com/gateway"]
        number = int(model.rpartition("-")[2])
        for each in range(2):
            name, ip = f"{model}-gateway-{each}", f"10.{each}.{number // 250}.{number % 250}"
            key = ModelKey("models", model)
            pod = GatewayPod(key, name, name, "1", "", ip=ip, ready=True, deleting=False, stats_port=9902)
            self.store.managed_objects.pod_changed(("models", name), pod)


class Metrics:
    """A source that answers after 2 to 8 ms, and an inventory."""

    async def read(self, spec: OffloadSpec, metric: MetricSpec, *, at: datetime) -> Sample:  # noqa: ARG002 - the port's signature
        """Return a value that stays below the target."""
        await asyncio.sleep(random.uniform(0.002, 0.008))
        return Sample(4_000, at)

    async def snapshot_of(self, spec: OffloadSpec) -> WorkloadSnapshot:  # noqa: ARG002 - the port's signature
        """Return one replica."""
        return WorkloadSnapshot((), Scale(1, 1), LocalHealth(1, 1))


class Silent:
    """Gateways that do not say what they have in force."""

    async def of(self, _: Iterable[GatewayPod]) -> dict[str, ConfigInForce]:
        """Return nothing."""
        return {}


class Quiet:
    """Gateways that reach their model, and remotes that nobody has asked."""

    async def of(self, pods: Iterable[GatewayPod]) -> Collection[str]:
        """Return all."""
        return {pod.uid for pod in pods}

    async def run(self) -> None:
        """Do nothing."""
        await asyncio.Event().wait()

    def ready(self, _: ModelKey) -> None:
        """Know nothing."""

    def percentage_limit(self, _: ModelKey) -> int:
        """Limit nothing."""
        return 100


class Watched:
    """What is measured: how late rounds begin, and for how long the event loop does nothing else."""

    def __init__(self) -> None:
        self.lags: list[float] = []
        self.stalls: list[float] = []

    def record(self, cycle: Cycle) -> None:
        """Keep the lag."""
        self.lags.append(cycle.lag.total_seconds())

    def failed(self, key: ModelKey, error: Exception) -> None:
        """End it all: a round that fails is no figure."""
        raise RuntimeError(f"the round of {key} failed") from error

    def forget(self, key: ModelKey) -> None:
        """Keep nothing by model."""

    async def stalled(self) -> None:
        """Look every few milliseconds how late that is; until cancelled."""
        while True:
            began = time.perf_counter()
            await asyncio.sleep(STALL)
            self.stalls.append(time.perf_counter() - began - STALL)

    def clear(self) -> None:
        """Begin a stage."""
        self.lags.clear()
        self.stalls.clear()


async def _lead(count: int, folder: Path) -> None:
    (folder / "ca.crt").write_text("the CA")
    (folder / "token.key").write_bytes(b"k" * 32)
    given = ClusterOptions(
        Settings(enable_leader_election=False), "bench", "system", Image("gateway"), RtdsAddress("", "x.svc:1", folder)
    )
    store = Store(partial(translate.read, settings=given.settings), Changes())
    server, metrics, watched = Objects(store), Metrics(), Watched()
    outside = ExternalInputs(
        AnchoredClock(),
        Sensor(sources=((readable.from_metrics_apis, metrics),), inventory=metrics),
        Quiet(),
        Quiet(),  # type: ignore[arg-type] # in their stead
        Meters(AnchoredClock()),
        Silent(),
    )
    composed = cluster_parts.compose(given, server, store, outside)  # type: ignore[arg-type] # in its stead
    shown = replace(composed.web, sinks=(*composed.web.sinks, watched))
    composed = replace(composed, watches=Nothing(), web=shown)  # type: ignore[arg-type] # in their stead
    for number in range(count):
        for path, content in _user(number):
            server.put(path, content)
    beside = [asyncio.create_task(each) for each in (watched.stalled(), garbage_collection.freeze_what_is_kept())]
    began = time.perf_counter()
    leading = asyncio.create_task(cluster.lead(given, composed))
    await _settled(server, leading)
    figures = {"start": time.perf_counter() - began, "start_stall": machine.quantile(watched.stalls, 0.99)}

    watched.clear()
    cpu = time.process_time()
    for _ in range(SECONDS * CHANGES):
        path, content = _user(random.randrange(count))[1]
        about = {**content["metadata"], "annotations": {"x": str(random.random())}}
        server.put(path, {**content, "metadata": about})
        await asyncio.sleep(1 / CHANGES)
    figures |= {
        "stall": machine.quantile(watched.stalls, 0.99),
        "lag": machine.quantile(watched.lags, 0.99),
        "cpu": time.process_time() - cpu,
    }
    server.writes.clear()
    await asyncio.sleep(SECONDS)
    figures |= {"writes": server.writes.total(), "rss": machine.rss(os.getpid())}
    print(json.dumps(figures), flush=True)
    for task in (*beside, leading):
        task.cancel()


class Nothing:
    """Watches that have nothing to list."""

    async def wait_synced(self) -> None:
        """Be done."""


async def _settled(server: Objects, leading: asyncio.Task[None]) -> None:
    """Wait until nothing is written any more."""
    deadline = time.monotonic() + SETTLED
    seen = -1
    while server.writes.total() != seen:
        seen = server.writes.total()
        await asyncio.wait([leading], timeout=10)
        if leading.done():
            leading.result()
        if time.monotonic() > deadline:
            raise TimeoutError(f"still writing after {SETTLED} s")


def _user(number: int) -> tuple[tuple[str, Json], tuple[str, Json]]:
    """Return what a user writes for one model: a Service and a ModelDeployment."""
    name = f"model-{number}"
    about = {"name": name, "namespace": "models"}
    ports = [{"port": 80, "targetPort": 8000}]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": about,
        "spec": {"selector": {"app": name}, "ports": ports},
    }
    metric = {"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "Value", "value": 10}}}
    config = {"remoteBackend": {"host": "api.example.com"}, "metrics": [metric]}
    model = {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": about,
        "spec": {
            "serviceRef": {"name": name, "targetPort": 8000},
            "routing": {"mode": "Service"},
            "offloadingConfig": config,
        },
    }
    where = paths.MODEL_DEPLOYMENTS.path("models", name)
    return (paths.SERVICES.path("models", name), service), (where, model)


if __name__ == "__main__":
    logs.configure("error", json=True)
    asyncio.run(_lead(int(sys.argv[1]), Path(sys.argv[2])))
