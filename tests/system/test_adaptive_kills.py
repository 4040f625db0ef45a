"""An Adaptive model under load whose processes are killed hard, one after the other: only streams that had begun are cut."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fakes.controller import Controller, controller
from fakes.load import SERVED_BY
from fakes.ports import free_port
from waiting import eventually

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
QUESTION = {"model": "llama", "messages": [{"role": "user", "content": "where?"}], "max_tokens": 8, "stream": True}
WORKERS, SLOTS = 12, 3


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


@dataclass
class Server:
    """A model server in a process of its own, which can be killed and started again at the same port."""

    slots: int
    port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        words = ("-m", "demo.server", "--model=llama", f"--port={self.port}", f"--slots={self.slots}")
        more = ("--tokens-per-second=40", "--prefill-seconds=0.05")
        self.process = await asyncio.create_subprocess_exec(sys.executable, *words, *more, cwd=ROOT)
        await eventually(self._up, what="the model server answers")

    async def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    async def _up(self) -> bool:
        async with httpx2.AsyncClient(trust_env=False, verify=False) as client:
            try:
                return (await client.get(f"http://{self.address}/health")).is_success
            except httpx2.HTTPError:
                return False


@asynccontextmanager
async def server(slots: int) -> AsyncIterator[Server]:
    running = Server(slots)
    await running.start()
    try:
        yield running
    finally:
        await running.kill()


@dataclass
class Seen:
    """What became of the requests: answered in whole by a side, cut after the answer had begun, or lost before that."""

    whole: Counter[str] = field(default_factory=Counter)
    cut: int = 0
    lost: list[str] = field(default_factory=list)

    async def more(self, side: str, count: int = 10) -> None:
        """Wait until so many more were answered by a side."""
        before = self.whole[side]
        await eventually(lambda: self.whole[side] >= before + count, what=f"{count} more answers of {side}: {self}")


@asynccontextmanager
async def asking(front: str) -> AsyncIterator[Seen]:
    """Ask with several clients, each again and again, until the block ends."""
    seen, over = Seen(), asyncio.Event()
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=60) as client, asyncio.TaskGroup() as group:
        for _ in range(WORKERS):
            group.create_task(_asks(client, front, seen, over))
        try:
            yield seen
        finally:
            over.set()


async def _asks(client: httpx2.AsyncClient, front: str, seen: Seen, over: asyncio.Event) -> None:
    while not over.is_set():
        side = ""
        try:
            async with client.stream("POST", f"http://{front}/v1/chat/completions", json=QUESTION) as answer:
                if answer.status_code != 200:
                    seen.lost.append(f"{answer.status_code}: {(await answer.aread())[:200]!r}")
                    continue
                side = answer.headers[SERVED_BY]
                text = "".join([piece async for piece in answer.aiter_text()])
        except httpx2.HTTPError as error:
            if side:
                seen.cut += 1
            else:
                seen.lost.append(repr(error))
            continue
        if text.endswith("data: [DONE]\n\n"):
            seen.whole[side] += 1
        else:
            seen.cut += 1


async def has_learned(running: Controller) -> bool:
    return (await running.model())["decision"]["cap"] is not None


@asynccontextmanager
async def overloaded() -> AsyncIterator[tuple[Server, Server, Controller, Seen]]:
    """Give a model that has learned a cap under a load of which only a part fits."""
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
