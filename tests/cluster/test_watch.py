"""The reflector against the real API server: what is there is seen, whatever happens on the way."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from beamlit_controller.kubernetes import pods
from beamlit_controller.kubernetes.paths import PODS
from beamlit_controller.kubernetes.reflector import SILENCE, Collection, Reflector
from kube.control_plane import ControlPlane
from waiting import eventually

LONG = 90


class Wire:
    """A way to the API server that can be torn, and stalled: then it takes everything and passes nothing on."""

    def __init__(self, server: str) -> None:
        self.address = ""
        self.connections = 0
        self._server = server
        self._open: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()

    @asynccontextmanager
    async def laid(self) -> AsyncIterator["Wire"]:
        listener = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            listener.close()
            self.go_on()
            self.tear()

    def tear(self) -> None:
        for each in tuple(self._open):
            each.transport.abort()

    def stall(self) -> None:
        self._flowing.clear()

    def go_on(self) -> None:
        self._flowing.set()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        host, _, port = self._server.rpartition(":")
        try:
            there, back = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, back}
        await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        self._open -= {writer, back}

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(65536):
                await self._flowing.wait()
                writer.write(piece)
                await writer.drain()
        writer.transport.abort()


def pod(name: str, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "model", **labels}},
        "spec": {"containers": [{"name": "server", "image": "model"}]},
    }


@asynccontextmanager
async def watching(
    control_plane: ControlPlane, namespace: str, *, through: "Wire | None" = None, silence: float = SILENCE
) -> AsyncIterator[Reflector[pods.KnownPod]]:
    client = control_plane.client
    kubeconfig = control_plane.credentials.kubeconfig("wire", server=through.address) if through else None
    async with client.api_server(kubeconfig) as server:
        reflector = Reflector(server, Collection(PODS.collection(namespace)), keep=pods.parse, silence=silence)
        task = asyncio.ensure_future(reflector.run())
        try:
            await asyncio.wait_for(reflector.wait_synced(), LONG)
            yield reflector
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def names(reflector: Reflector[pods.KnownPod]) -> Callable[[], set[str]]:
    return lambda: {name for _, name in reflector.items}


async def test_pods_that_come_change_and_go_are_seen(control_plane: ControlPlane, namespace: str) -> None:
    client = control_plane.client
    async with watching(control_plane, namespace) as reflector:
        client.apply(pod("one"), pod("two"), namespace=namespace)
        await eventually(lambda: names(reflector)() == {"one", "two"}, within=LONG)

        client.set_status("pod", "one", {"phase": "Running", "podIP": "10.1.1.1"}, namespace=namespace)
        await eventually(lambda: reflector.items[namespace, "one"].ip == "10.1.1.1", within=LONG)
        client.kubectl("delete", "pod", "two", "-n", namespace, "--force", "--grace-period=0")

        await eventually(lambda: names(reflector)() == {"one"}, within=LONG)


async def test_a_restarted_api_server_is_found_again_and_nothing_is_missed(
    control_plane: ControlPlane, namespace: str
) -> None:
    client = control_plane.client
    client.apply(pod("before"), namespace=namespace)
    async with watching(control_plane, namespace) as reflector:
        await asyncio.to_thread(control_plane.restart_api_server)
        client.apply(pod("after"), namespace=namespace)

        await eventually(lambda: names(reflector)() == {"before", "after"}, within=LONG)


async def test_while_the_api_server_is_down_the_old_items_stay(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.client.apply(pod("one"), namespace=namespace)
    async with watching(control_plane, namespace) as reflector:
        await asyncio.to_thread(control_plane.stop_api_server)
        try:
            await eventually(lambda: reflector.age() > 3, within=LONG, what="several tries have failed")

            assert names(reflector)() == {"one"}
            assert reflector.synced
        finally:
            await asyncio.to_thread(control_plane.start_api_server)


async def test_a_torn_watch_goes_on_and_misses_nothing(control_plane: ControlPlane, namespace: str) -> None:
    async with Wire(control_plane.client.server).laid() as wire:
        async with watching(control_plane, namespace, through=wire) as reflector:
            for name in ("one", "two", "three"):
                wire.tear()
                control_plane.client.apply(pod(name), namespace=namespace)
                await eventually(lambda added=name: added in names(reflector)(), within=LONG)

        assert wire.connections >= 4


async def test_a_watch_that_is_silent_is_given_up_whatever_tcp_thinks(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with (
        Wire(control_plane.client.server).laid() as wire,
        watching(control_plane, namespace, through=wire, silence=2) as reflector,
    ):
        wire.stall()
        control_plane.client.apply(pod("one"), namespace=namespace)
        before = wire.connections
        await eventually(lambda: wire.connections > before, within=LONG, what="another connection is tried")
        wire.go_on()

        await eventually(lambda: names(reflector)() == {"one"}, within=LONG)


async def test_what_has_expired_meanwhile_is_listed_anew(control_plane: ControlPlane, namespace: str) -> None:
    client = control_plane.client
    client.apply(pod("gone"), pod("kept"), namespace=namespace)
    async with (
        Wire(client.server).laid() as wire,
        watching(control_plane, namespace, through=wire, silence=2) as reflector,
    ):
        await eventually(lambda: names(reflector)() == {"gone", "kept"}, within=LONG)
        wire.stall()
        client.kubectl("delete", "pod", "gone", "-n", namespace, "--force", "--grace-period=0")
        client.apply(pod("new"), namespace=namespace)
        control_plane.compact()
        await asyncio.to_thread(control_plane.restart_api_server)
        wire.tear()
        wire.go_on()

        await eventually(lambda: names(reflector)() == {"kept", "new"}, within=LONG)
