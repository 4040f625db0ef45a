"""The whole of it, as a user has it: the chart on a real node, a model, load, a remote outside of the cluster."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cluster import chart, project_image, served
from cluster.node import Node
from cluster.room import ADDRESS
from cluster.traffic import Traffic, flowing
from fakes import client
from waiting import eventually

Json = dict[str, Any]

PATIENCE = 240
QUIET, BUSY = 4, 100
"""Requests a second: of 3 ms of CPU each, for two pods that request 100m, that is 6 % and 150 %."""
BURN = "-burn=3ms"
REMOTE_PORT = 9000


@pytest.fixture(scope="module", autouse=True)
def _image(node: Node) -> None:
    node.bring(project_image.need())


@pytest.fixture
def remote(node: Node) -> Iterator[str]:
    with node.model_beside("remote", port=REMOTE_PORT) as address:
        yield address


def model(namespace: str, **config: Any) -> Json:  # noqa: ANN401 - whatever an offloadingConfig has
    """Give the users' example with where its requests go."""
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
    return {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": served.NAME, "namespace": namespace},
        "spec": {
            "modelSourceRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": served.NAME},
            "serviceRef": {"name": served.NAME, "targetPort": "http"},
            "offloadingConfig": {
                "remoteBackend": {"scheme": "http", "host": f"{ADDRESS}:{REMOTE_PORT}"},
                "behavior": {"percentage": 50},
                "metrics": [cpu],
                **config,
            },
        },
    }


async def off_loop(work: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever it gives
    return await asyncio.to_thread(work)


async def status(node: Node, namespace: str) -> Json:
    found = await off_loop(lambda: node.client.get("modeldeployment", served.NAME, namespace=namespace))
    given: Json = found.get("status") or {}
    return given


async def reaches(node: Node, namespace: str, percentage: int) -> None:
    async def reached() -> bool:
        return ((await status(node, namespace)).get("offloading") or {}).get("percentage") == percentage

    await eventually(reached, within=PATIENCE, every=1, what=f"{percentage} % is decided")


async def ready(node: Node, namespace: str) -> None:
    """Wait as a user does."""
    wait = (
        "wait",
        "--for=condition=Ready",
        f"modeldeployment/{served.NAME}",
        "-n",
        namespace,
        f"--timeout={PATIENCE}s",
    )
    await off_loop(lambda: node.client.kubectl(*wait, within=PATIENCE + 10))
    await off_loop(lambda: node.client.rolled_out(f"deployment/{served.NAME}-gateway", namespace=namespace))


async def gateway(node: Node, namespace: str) -> str:
    service = await off_loop(lambda: node.client.get("service", f"{served.NAME}-gateway", namespace=namespace))
    address = node.reach(f"{service['spec']['clusterIP']}:80")
    await eventually(lambda: connects(address), within=PATIENCE)
    return address


async def connects(address: str) -> bool:
    try:
        async with client.connect(address):
            return True
    except OSError:
        return False


@asynccontextmanager
async def applied(node: Node, namespace: str, **config: Any) -> AsyncIterator[str]:  # noqa: ANN401 - as `model` takes it
    """Have a model and its gateway there, and give where clients find it."""
    node.client.apply(served.deployment(arguments=(BURN,)), served.service(), namespace=namespace)
    node.client.rolled_out(f"deployment/{served.NAME}", namespace=namespace)
    node.client.apply(model(namespace, **config))
    await ready(node, namespace)
    yield await gateway(node, namespace)


async def answered(traffic: Traffic, count: int) -> None:
    before = sum(traffic.answered.values())
    await eventually(lambda: sum(traffic.answered.values()) - before >= count, within=PATIENCE, every=0.5)


async def test_a_busy_model_is_offloaded_by_half_and_taken_back_and_no_request_fails(
    node: Node, node_namespace: str, remote: str
) -> None:
    async with chart.installed(node), applied(node, node_namespace) as address:
        async with flowing(address, rate=QUIET) as traffic:
            await answered(traffic, 100)
            assert traffic.by("remote") == 0

            traffic.rate = BUSY
            await reaches(node, node_namespace, 50)
            await answered(traffic, 200)
            before = traffic.answered.copy()
            await answered(traffic, 5_000)
            share = traffic.share(before)

            traffic.rate = QUIET
            await reaches(node, node_namespace, 0)
            await answered(traffic, 10)
            before = traffic.answered.copy()
            await answered(traffic, 40)

        assert traffic.failed == [], chart.said(node)
        assert abs(share - 50) <= 2
        assert traffic.share(before) == 0
