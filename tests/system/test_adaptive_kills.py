"""An Adaptive model under load whose processes are killed hard, one after the other: only streams that had begun are cut."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from fakes.controller import Controller, controller
from fakes.overload import SLOTS, WORKERS, Seen, Server, asking, server
from waiting import eventually

pytestmark = pytest.mark.system


def manifest(remote: str) -> dict[str, Any]:
    target = {"type": "AverageValue", "averageValue": 1}
    return {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "llama"},
        "spec": {
            "serviceRef": {"name": "llama", "targetPort": 8000},
            "metricServiceRef": {"name": "llama", "targetPort": 8000},
            "offloadingConfig": {
                "remoteBackend": {"scheme": "http", "host": remote},
                "behavior": {"mode": "Adaptive"},
                "metrics": [
                    {"type": "Pods", "pods": {"metric": {"name": "vllm:num_requests_waiting"}, "target": target}}
                ],
            },
        },
    }


async def has_learned(running: Controller) -> bool:
    return (await running.model())["decision"]["cap"] is not None


@asynccontextmanager
async def overloaded() -> AsyncIterator[tuple[Server, Server, Controller, Seen]]:
    """Provide a model that has learned a cap under a load of which only a part fits."""
    async with AsyncExitStack() as stack:
        local, remote = await stack.enter_async_context(server(SLOTS)), await stack.enter_async_context(server(64))
        made = controller(manifest(remote.address), local=[local.address])
        running = await stack.enter_async_context(made)
        seen = await stack.enter_async_context(asking(running.front))
        await eventually(lambda: has_learned(running), what="a cap is learned")
        await seen.more("local")
        await seen.more("remote")
        yield local, remote, running, seen


async def test_local_killed_cuts_only_streams_that_had_begun_and_gets_requests_again_when_it_is_back() -> None:
    async with overloaded() as (local, _, _, seen):
        await local.kill()
        await seen.more("remote", 30)
        await local.start()
        await seen.more("local")

    assert seen.lost == []
    assert seen.cut <= WORKERS


async def test_the_remote_killed_cuts_only_streams_that_had_begun_and_local_takes_the_others() -> None:
    async with overloaded() as (_, remote, _, seen):
        await remote.kill()
        await seen.more("local", 30)
        await remote.start()
        await seen.more("remote")

    assert seen.lost == []
    assert seen.cut <= WORKERS


async def test_the_controller_killed_costs_nothing_the_gateway_keeps_the_cap_and_the_next_one_goes_on_from_it() -> None:
    async with overloaded() as (_, _, running, seen):
        gateways = running.gateway_pids()
        await running.kill()
        await seen.more("remote", 30)
        await seen.more("local")
        await running.start()
        learned = await has_learned(running)
        await seen.more("remote")

        assert running.gateway_pids() == gateways

    assert learned
    assert (seen.lost, seen.cut) == ([], 0)


async def test_envoy_killed_is_back_with_the_cap_and_only_what_came_meanwhile_was_refused() -> None:
    async with overloaded() as (_, _, running, seen):
        (gateway,) = running.gateway_pids()
        os.kill(gateway, signal.SIGKILL)
        await eventually(lambda: running.gateway_pids() not in ([], [gateway]), what="another Envoy runs")
        await seen.more("local")
        refused = len(seen.lost)
        await seen.more("remote", 30)

        assert len(seen.lost) == refused

    assert seen.cut <= WORKERS
    assert all("Connect" in each or "Read" in each or "RemoteProtocol" in each for each in seen.lost), seen.lost[:3]
