"""The reflector against the real API server: what is there is seen, whatever happens on the way."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from beamlit_controller.kubernetes import pods
from beamlit_controller.kubernetes.paths import PODS
from beamlit_controller.kubernetes.reflector import Collection, Reflector
from cluster.control_plane import ControlPlane
from waiting import eventually

LONG = 90


def pod(name: str, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "model", **labels}},
        "spec": {"containers": [{"name": "server", "image": "model"}]},
    }


@asynccontextmanager
async def watching(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Reflector[pods.KnownPod]]:
    async with control_plane.client.api_server() as server:
        reflector = Reflector(server, Collection(PODS.collection(namespace)), keep=pods.parse)
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
            await asyncio.sleep(3)  # several tries fail meanwhile

            assert names(reflector)() == {"one"}
            assert reflector.synced
        finally:
            await asyncio.to_thread(control_plane.start_api_server)
