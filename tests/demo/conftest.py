"""What the demo's tests share: real servers on free ports, and a run to look at."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx2
import pytest
import uvicorn
from demo.plan import Plan
from demo.recorder import Begun, Change, Recorder, Request, Side, Spending, State, Tick
from starlette.types import ASGIApp

from demo import plan as plans
from waiting import eventually

Serve = Callable[[ASGIApp], Awaitable[str]]


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def _served(app: ASGIApp) -> AsyncIterator[str]:
    server = _Server(uvicorn.Config(app, port=0, lifespan="off", log_config=None, timeout_graceful_shutdown=1))
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve())
        await eventually(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        server.should_exit = True


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serve an application on a free port."""
    async with AsyncExitStack() as stack:

        async def start(app: ASGIApp) -> str:
            return await stack.enter_async_context(_served(app))

        yield start


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=60) as client:
        yield client


@pytest.fixture
def plan() -> Plan:
    return plans.plan(1)


@pytest.fixture
def book(plan: Plan) -> Recorder:
    """A run as it should be: 20 s without the gateway, then 60 s with it, on half of the slots from 45 s on."""
    book = Recorder(capacity=8)
    phases = [
        (plan.calm_without, 0),
        (plan.peak_without, 5),
        (plan.calm_before, 20),
        (plan.peak, 30),
        (plan.halved, 45),
        (plan.calm_after, 70),
    ]
    book.begun = [Begun(phase, at) for phase, at in phases]
    for begun, until in zip(book.begun, (5, 20, 30, 45, 70, 80), strict=True):
        book.requests += _requests(begun, until)
    book.came = [request.at for request in book.requests]
    book.ticks = [_tick(at) for at in range(1, 81)]
    book.changes = [
        Change(32, None, 7.5, "MetricAboveTarget", "waiting 6 per pod > 2"),
        Change(50, 7.5, 3.5, "MetricAboveTarget", "waiting 4 per pod > 2"),
    ]
    book.spending = (
        Spending("contract", 30, 13_920, "0.031 USD", 103, is_spent=True),
        Spending("on-demand", 10, 4_640, "0.005 USD"),
    )
    return book


def _requests(begun: Begun, until: float) -> Iterator[Request]:
    """One request in each half second; above capacity without offloading, each waits longer than the one before."""
    for number in range(int((until - begun.at) * 2)):
        remote = begun.phase.name in ("peak", "halved") and number % 2 == 1
        queued = number * 0.1 if begun.phase.name == "peak-without" else 0.0
        side = Side.REMOTE if remote else Side.LOCAL
        yield Request(begun.phase.name, begun.at + number / 2, side, 0.2 + queued, 1.2 + queued)


def _tick(at: float) -> Tick:
    offloading, cap = 32 <= at < 70, 3.5 if at >= 50 else 7.5
    over = State(100, "MetricAboveTarget", "why", 1.5, cap)
    state = over if offloading else State(0, "MetricBelowTarget", "why", 0.5)
    return Tick(at, 12, 6, 6 if offloading else 0, 3, 0.2, 0.5, state if at > 20 else None, 4 if at >= 45 else 8)
