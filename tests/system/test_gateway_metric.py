"""A server without any metric, kept at its target in Adaptive mode by what the gateway measures."""

from contextlib import AsyncExitStack
from typing import Any

import pytest

from fakes.controller import Controller, controller
from fakes.overload import WORKERS, asking, server
from waiting import eventually

pytestmark = pytest.mark.system

TARGET = 0.3
"""Seconds to the first byte; with all clients at local it takes about 0.8, and 0.05 where a slot is free."""


def manifest(remote: str) -> dict[str, Any]:
    metric = {"name": "local_time_to_first_byte_seconds"}
    return {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "llama"},
        "spec": {
            "serviceRef": {"name": "llama", "targetPort": 8000},
            "offloadingConfig": {
                "remoteBackend": {"scheme": "http", "host": remote},
                "behavior": {"mode": "Adaptive"},
                "metrics": [
                    {
                        "type": "Gateway",
                        "gateway": {"metric": metric, "target": {"value": str(TARGET), "type": "Value"}},
                    }
                ],
            },
        },
    }


async def is_at_target(running: Controller) -> bool:
    """Return whether a cap is in force with which the time to first byte is at its target, and not zero."""
    model, metric = await running.model(), await running.metric()
    cap = model["decision"]["cap"]
    return (
        cap is not None
        and float(cap) < WORKERS
        and metric["value"] is not None
        and 0 < float(metric["value"]) <= TARGET
    )


async def test_a_server_without_metrics_gets_as_many_requests_as_it_answers_in_time() -> None:
    async with AsyncExitStack() as stack:
        local, remote = await stack.enter_async_context(server(3)), await stack.enter_async_context(server(64))
        running = await stack.enter_async_context(controller(manifest(remote.address), local=[local.address]))
        seen = await stack.enter_async_context(asking(running.front))

        await eventually(lambda: is_at_target(running), within=100, what="the time to first byte is at its target")
        await seen.more("local", 20)
        await seen.more("remote")

    assert (seen.lost, seen.cut) == ([], 0)
