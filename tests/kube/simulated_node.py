"""A node that is played: pods get addresses and become ready, and what would be gateways answers as they do.

Nothing runs in the pods, so that taking Services over can be tried hundreds of times. The addresses lie in a network of its
own, where the controller runs too.
"""

import asyncio
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import yaml

from beamlit_controller.kubernetes.api_server import ApiError, ApiServer
from beamlit_controller.kubernetes.list_chunks import Collection
from beamlit_controller.kubernetes.paths import ENDPOINT_SLICES, PODS
from beamlit_controller.kubernetes.reflector import Reflector
from fakes.controller import COMMAND
from kube import controllers, netns
from kube.control_plane import ControlPlane
from kube.fault_proxy import FaultProxy
from kube.netns import ADDRESS, NetworkNamespace
from kube.processes import Processes
from kube.relay import enter_network

Json = dict[str, Any]
PODS_NETWORK = "10.77"
STATS, LOOKS_EVERY = 9902, 0.05
CONTROLLER, OTHER, NODE = "controller", "other-controller", "played"


class Stage:
    """A namespace on a control plane, whose pods are played, and a controller that is started and killed at will."""

    def __init__(
        self, plane: ControlPlane, namespace: str, server: ApiServer, place: NetworkNamespace, between: FaultProxy
    ) -> None:
        self.client = plane.client
        self.namespace = namespace
        self.between = between
        self.outages: list[str] = []
        self.ready = True
        self.reaching = True
        self._server = server
        self._room = place
        self._addresses = 10
        self._endpoints: dict[tuple[str, str], frozenset[str]] = {}
        self.settings: dict[str, Any] = {}
        self._folder = Path()

    @property
    def inside(self) -> Processes:
        """Start processes where the pods are."""
        return self._room.inside

    def prepare(self, folder: Path, token: str, port: int, settings: Mapping[str, Any]) -> None:
        """Write what the controller is given."""
        config = folder / "controller.kubeconfig"
        clusters = [{"name": "tests", "cluster": {"server": f"http://{ADDRESS}:{port}"}}]
        contexts = [{"name": "tests", "context": {"cluster": "tests", "user": "controller", "namespace": "default"}}]
        users = [{"name": "controller", "user": {"token": token}}]
        content = {"apiVersion": "v1", "kind": "Config", "clusters": clusters, "users": users, "contexts": contexts}
        config.write_text(yaml.safe_dump({**content, "current-context": "tests"}))
        self._folder, self.settings = folder, dict(settings)

    def start(self, name: str = CONTROLLER) -> None:
        """Start a replica of the controller, or start it again."""
        config = self._folder / "controller.kubeconfig"
        replica = controllers.replica(self.client, self._folder, name, self.settings, config)
        self.inside.start(name, str(COMMAND), "cluster", *replica.arguments)

    def kill(self) -> None:
        """Kill it."""
        self.inside.kill(CONTROLLER)

    def send(self, number: signal.Signals, name: str = CONTROLLER) -> None:
        """Send a signal to a replica."""
        first = psutil.Process(self.inside.pid(name))
        for each in (first, *first.children(recursive=True)):
            each.send_signal(number)

    def end(self) -> None:
        """End all replicas that run."""
        for name in (CONTROLLER, OTHER):
            with suppress(KeyError):
                self.inside.kill(name)

    def clear(self) -> None:
        """Leave nothing to the controllers of later tests that would wait for pods which nobody plays any more."""
        for each in self.client.get("md", namespace=self.namespace)["items"]:
            unheld = {"metadata": {"finalizers": None}}
            self.client.patch("md", each["metadata"]["name"], unheld, namespace=self.namespace)
        self.client.kubectl("delete", "md,deployment", "--all", "-n", self.namespace)
        self.client.kubectl("delete", "pod", "--all", "-n", self.namespace, "--force", "--grace-period=0")

    async def play(self) -> None:
        """Let pods run, become ready or not, and end; until cancelled."""
        while True:
            pods = (await self._server.get(PODS.collection(self.namespace)))["items"]
            staying = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
            ended = [pod["metadata"]["name"] for pod in pods if pod not in staying]
            if ended:
                await asyncio.to_thread(self._end, ended)
            for pod in staying:
                wanted = self.ready or "-gateway-" not in pod["metadata"]["name"]
                if not pod["spec"].get("nodeName"):
                    await self._schedule(pod["metadata"]["name"])
                elif _is_ready(pod) != wanted:
                    await self._set_ready(pod, ready=wanted)
            await asyncio.sleep(LOOKS_EVERY)

    async def watch(self) -> None:
        """Note whenever the Service leads nowhere, once it has led somewhere; until cancelled."""
        query = (("labelSelector", "kubernetes.io/service-name=llama"),)
        collection = Collection(ENDPOINT_SLICES.collection(self.namespace), query)
        await Reflector(self._server, collection, keep=_ready_addresses, changed=self._led).run()

    @property
    def led_to(self) -> frozenset[str]:
        """Return the addresses that the Service leads to."""
        return frozenset().union(*self._endpoints.values())

    def _led(self, place: tuple[str, str], seen: frozenset[str] | None) -> None:
        before = self.led_to
        self._endpoints.pop(place, None)
        if seen is not None:
            self._endpoints[place] = seen
        if before and not self.led_to:
            self.outages.append(f"after {len(self.between.writes)} writes: {self.between.writes[-1:]}")

    def _end(self, pods: list[str]) -> None:
        forced = ("--force", "--grace-period=0", "--ignore-not-found")
        self.client.kubectl("delete", "pod", "-n", self.namespace, *forced, *pods)

    async def _schedule(self, pod: str) -> None:
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod},
            "target": {"kind": "Node", "name": NODE},
        }
        await _unless_gone(self._server.create(PODS.path(self.namespace, pod, "binding"), binding))

    async def _set_ready(self, pod: Json, *, ready: bool) -> None:
        address = (pod.get("status") or {}).get("podIP") or self._next_address()
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": conditions}
        path = PODS.path(self.namespace, pod["metadata"]["name"], "status")
        await _unless_gone(self._server.merge(path, {"status": status}))

    def _next_address(self) -> str:
        self._addresses += 1
        return f"{PODS_NETWORK}.{self._addresses // 250}.{self._addresses % 250 + 1}"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer as a gateway pod does where it is watched."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            reached = b"/reach " in head.partition(b"\r\n")[0] and self.reaching
            header = b"x-envoy-upstream-service-time: 1\r\n" if reached else b""
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n" + header + b"\r\n")
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # a controller that was killed meanwhile
        finally:
            writer.close()


async def _unless_gone(write: Awaitable[object]) -> None:
    try:
        await write
    except ApiError as error:
        if error.code not in {404, 409}:
            raise


def _is_ready(pod: Json) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _ready_addresses(content: Json) -> frozenset[str]:
    ready = (
        each for each in content.get("endpoints") or () if (each.get("conditions") or {}).get("ready") is not False
    )
    return frozenset(address for each in ready for address in each["addresses"])


def listening(place: NetworkNamespace, address: str, port: int) -> socket.socket:
    """Listen in the room, from here."""
    here = Path("/proc/thread-self/ns/net")
    with here.open("rb") as back:
        enter_network(place.network)
        try:
            return socket.create_server((address, port))
        finally:
            enter_network(Path(f"/proc/self/fd/{back.fileno()}"))


@asynccontextmanager
async def staged(
    plane: ControlPlane, namespace: str, folder: Path, outside: Processes, *, token: str, settings: Mapping[str, Any]
) -> AsyncIterator[Stage]:
    """Set the stage: the network, who stands between, the played pods. The controller is not started yet."""
    async with AsyncExitStack() as resources:
        place = resources.enter_context(netns.opened(folder, outside))
        plane.client.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
        place.inside.run("ip", "route", "add", "local", f"{PODS_NETWORK}.0.0/16", "dev", "lo")
        server = await resources.enter_async_context(plane.client.api_server())
        trust = ssl.create_default_context(cafile=str(plane.credentials.ca))
        between = FaultProxy(plane.client.server, trust, namespace)
        stage = Stage(plane, namespace, server, place, between)
        entrance, stats = listening(place, ADDRESS, 0), listening(place, "0.0.0.0", STATS)
        stage.prepare(folder, token, entrance.getsockname()[1], settings)
        between.kill = stage.kill
        await resources.enter_async_context(between.standing(entrance))
        figures = await asyncio.start_server(stage.answer, sock=stats)
        resources.callback(figures.close)
        tasks = [asyncio.ensure_future(stage.play()), asyncio.ensure_future(stage.watch())]
        try:
            yield stage
        finally:
            stage.end()
            for task in tasks:
                task.cancel()
            gone = await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.to_thread(stage.clear)
            assert all(isinstance(each, asyncio.CancelledError) for each in gone), gone
