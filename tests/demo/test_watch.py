"""What is seen of the controller and of the servers, over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import httpx2
import pytest
from demo.recorder import Recorder, Request, Side, Spending, State, Stopwatch
from demo.watch import Watch

import builders
from beamlit_controller.core import cycle
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.ledger import UsageReading
from beamlit_controller.core.price import Budget, BudgetUnit, Period, Price
from beamlit_controller.core.spec import Behavior, Mode, RemoteBackend, Scheme
from beamlit_controller.core.usage import Usage
from beamlit_controller.telemetry import models
from beamlit_controller.telemetry.models import ModelsSink
from fakes import http
from fakes.model_server import model_server
from waiting import eventually

WITHIN = 60
CONTRACT = RemoteBackend(
    Scheme.HTTPS,
    "contract.example.com",
    443,
    name="contract",
    price=Price(per_request=Decimal("0.5"), currency="EUR"),
    budget=Budget(Decimal(1), BudgetUnit.REQUESTS, Period.MONTH),
)
ON_DEMAND = RemoteBackend(Scheme.HTTPS, "other.example.com", 443, name="on-demand")


class Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)


def told(*queues: int) -> bytes:
    """Return the answer of `/models` after one round for each value of a queue whose target is 10, with 20 in flight."""
    sink, previous = ModelsSink(Clock()), None
    spec = builders.spec(behavior=Behavior(mode=Mode.ADAPTIVE), remote=CONTRACT, next_remotes=(ON_DEMAND,))
    now = datetime.now(UTC)
    for number, queue in enumerate(queues):
        at = now + timedelta(seconds=number)
        flow = Flow(at - timedelta(minutes=2), at, in_flight=20, most_in_flight=20, served=9, sent=0, overflowed=0)
        counted = UsageReading({"gateway": {"contract": Usage(number, 30 * number, 10 * number)}})
        signals = replace(builders.signals(builders.sample(queue, at=at), at=at, flow=flow), usage=counted)
        round_ = cycle.run(spec, signals, previous=previous, now=at)
        sink.record(round_)
        previous = round_.decision
    return models.as_json(sink.snapshot())


@asynccontextmanager
async def watching(book: Recorder, controller: str, *servers: str) -> AsyncIterator[Watch]:
    async with asyncio.timeout(WITHIN), httpx2.AsyncClient(trust_env=False, verify=False, timeout=WITHIN) as client:
        urls = [f"http://{server}" for server in servers]
        watch = Watch(book, now=Stopwatch().seconds, client=client, controller=f"http://{controller}", servers=urls)
        task = asyncio.create_task(watch.run(lambda _: None))
        yield watch
        task.cancel()


async def test_reads_the_controllers_state_and_notes_when_the_cap_changed() -> None:
    book = Recorder(capacity=8)

    async with (
        http.serve(http.by_path(models=http.page(told(5, 15)))) as controller,
        watching(book, controller.address) as watch,
    ):
        await watch.until(lambda state: state.percentage == 100)

    (change,) = book.changes
    assert (change.before, change.reason) == (None, "MetricAboveTarget")
    assert change.after == pytest.approx(20 / 3, rel=0.3)
    assert change.message.startswith("queue 15 > 10; at most ")
    assert 0 <= change.at <= WITHIN
    assert book.spending == (
        Spending("contract", 1, 40, "0.5 EUR", 100, is_spent=True),
        Spending("on-demand", 0, 0, "-"),
    )


async def test_a_tick_has_queues_rates_and_latencies() -> None:
    book = Recorder(capacity=8)
    book.came = [0.1, 0.2, 0.3]
    book.requests = [Request("peak", 0.0, side, 0.1, 0.4) for side in (Side.LOCAL, Side.LOCAL, Side.REMOTE)]

    async with (
        model_server(vllm__num_requests_waiting=3) as one,
        model_server(vllm__num_requests_waiting=4) as other,
        http.serve(http.by_path(models=http.page(told(15)))) as controller,
        watching(book, controller.address, one.address, other.address),
    ):
        await eventually(lambda: book.ticks)

    tick = book.ticks[0]
    assert tick.waiting == 7
    assert (tick.came, tick.local, tick.remote) == pytest.approx((3, 2, 1), rel=0.4)
    assert tick.local == 2 * tick.remote
    assert (tick.p50, tick.p95) == (0.1, 0.1)
    assert isinstance(tick.state, State)
    assert tick.state.ratio == 1.5


@pytest.mark.parametrize(
    "answer",
    [http.page("<html>"), http.page(status=500), http.hang_up, http.json({"models": 3})],
    ids=["html", "error", "hang-up", "other-json"],
)
async def test_a_controller_that_does_not_tell_is_not_there(answer: http.Respond) -> None:
    book = Recorder(capacity=8)

    async with http.serve(answer) as controller, watching(book, controller.address, controller.address):
        await eventually(lambda: book.ticks)

    assert book.ticks[0].state is None
    assert book.changes == []
