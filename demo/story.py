"""The run from beginning to end: servers, the load without offloading, then controller and gateway and the same load."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx2

from demo import load, ports
from demo import plan as plans
from demo.boot import Boot
from demo.load import Load, Target
from demo.place import Place
from demo.plan import QUESTION, Plan
from demo.ports import Ports
from demo.recorder import Recorder, Side, Stopwatch
from demo.watch import Watch

ANSWER_SECONDS = 60.0
"""How long requests that are under way at the end are waited for."""
CALM_SEED, PEAK_SEED = 7, 11


@dataclass(frozen=True, slots=True)
class Stage:
    """What a run is played with."""

    plan: Plan
    place: Place
    ports: Ports
    book: Recorder
    show: Callable[[float], None]
    """Shows the book, at each look; it is told the time."""


async def play(stage: Stage) -> None:
    """Play the whole run, and write it in the book. Whatever happens, no process is left behind."""
    trust = ssl.create_default_context(cafile=stage.place.tls.ca)
    async with (
        httpx2.AsyncClient(timeout=2, trust_env=False, verify=trust) as client,
        AsyncExitStack() as processes,
        _alongside() as alongside,
    ):
        boot = Boot(stage.place, stage.ports, client=client, processes=processes, alongside=alongside)
        await boot.servers()
        now = Stopwatch().seconds
        async with load.sending(stage.book, QUESTION, now) as sending:
            watch = _watch(stage, now, client)
            alongside(watch.run(stage.show))
            await _without_offloading(stage, sending)
            await boot.controller()
            await _with_offloading(stage, sending, client)


def _watch(stage: Stage, now: Callable[[], float], client: httpx2.AsyncClient) -> Watch:
    controller, servers = ports.url(stage.ports.web), [ports.url(port) for port in stage.ports.local]
    return Watch(stage.book, now=now, client=client, controller=controller, servers=servers)


async def _without_offloading(stage: Stage, sending: Load) -> None:
    plan = stage.plan
    local = Target(tuple(ports.url(port) for port in stage.ports.local), Side.LOCAL)
    await sending.run(plan.calm_without, local, seed=CALM_SEED)
    await sending.run(plan.peak_without, local, seed=PEAK_SEED)
    sending.begin(plan.drain)
    await sending.finish(plan.drain.seconds)


async def _with_offloading(stage: Stage, sending: Load, client: httpx2.AsyncClient) -> None:
    plan = stage.plan
    gateway = Target((ports.url(stage.ports.gateway),))
    await sending.run(plan.calm_before, gateway, seed=CALM_SEED)
    await sending.run(plan.rising, gateway, seed=CALM_SEED)
    await sending.run(plan.peak, gateway, seed=PEAK_SEED)
    await _halve(stage, client)
    await sending.run(plan.halved, gateway, seed=PEAK_SEED)
    await sending.run(plan.calm_after, gateway, seed=CALM_SEED)
    await sending.finish(ANSWER_SECONDS)


async def _halve(stage: Stage, client: httpx2.AsyncClient) -> None:
    """Take half of their slots from the local servers."""
    for port in stage.ports.local:
        (await client.put(f"{ports.url(port)}/slots/{plans.FEWER_SLOTS}")).raise_for_status()
    stage.book.capacity = plans.capacity(plans.FEWER_SLOTS)


@asynccontextmanager
async def _alongside() -> AsyncIterator[Callable[[Coroutine[None, None, None]], None]]:
    """Provide what runs a task until the block ends; an error in it ends the block."""
    tasks: list[asyncio.Task[None]] = []
    async with asyncio.TaskGroup() as group:
        yield lambda work: tasks.append(group.create_task(work))
        for task in tasks:
            task.cancel()
