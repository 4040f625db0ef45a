"""All local servers are ejected: whoever has no other server is answered by one of them anyway, and counted as local."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

import builders
from beamlit_controller.core.price import Budget, BudgetUnit, Period
from beamlit_controller.core.spec import OnRemoteFailure, Overflow
from beamlit_controller.envoy import remote_stats
from beamlit_controller.envoy.rtds import RuntimeValues
from fakes import client
from fakes.controller import Controller, controller
from fakes.gateway import Gateway, gateway, to
from fakes.http1 import Message
from fakes.trouble import breaks_off, closes, hangs, says
from fakes.upstream import Answer, Exchange, upstream
from waiting import eventually

pytestmark = pytest.mark.system

T = TypeVar("T")

FAILS, SLOW, STAYS, LEAVES = "/v1/files/fails", "/v1/files/slow", "/v1/files", "/v1/chat"
AFTER = timedelta(seconds=60)
NOT_FOR_UNAVAILABILITY = {
    "for nothing": Overflow(on_unavailable=False, on_reset=False),
    "for a closed connection": Overflow(on_unavailable=False),
    "for a status": Overflow(on_unavailable=False, on_reset=False, on_status=(503,)),
    "after a time": Overflow(on_unavailable=False, on_reset=False, after=AFTER),
}


async def breaks_off_what_fails(exchange: Exchange) -> None:
    """Answer, but break off what is to eject the server."""
    await (breaks_off(exchange) if exchange.request.line[1] == FAILS else exchange.respond(b"local"))


@pytest.mark.parametrize("fails", [hangs, breaks_off, closes])
async def test_a_request_that_must_stay_is_answered_by_a_server_that_is_ejected(tmp_path: Path, fails: Answer) -> None:
    """It got 503 for a second after three requests in a row had been too slow, although it would have been answered."""

    async def answer(exchange: Exchange) -> None:
        await (exchange.respond(b"local") if exchange.request.line[1] == STAYS else fails(exchange))

    async with upstream("local", answer) as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), overflow=Overflow(after=timedelta(seconds=0.5)))
        async with gateway(spec, tmp_path, local=[local]) as gate:
            await eventually(lambda: _gets_ejected(gate, LEAVES))
            answers = [await client.ask(gate.front, STAYS) for _ in range(10)]

    assert {(each.line[1], each.body.content) for each in answers} == {("200", b"local")}


async def test_a_request_at_a_server_that_is_ejected_counts_as_in_flight(tmp_path: Path) -> None:
    may_end = asyncio.Event()

    async def answer(exchange: Exchange) -> None:
        if exchange.request.line[1] == FAILS:
            return await closes(exchange)
        if exchange.request.line[1] == SLOW:
            await may_end.wait()
        return await exchange.respond(b"local")

    async with upstream("local", answer) as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), overflow=Overflow(max_in_flight_per_replica=1))
        async with gateway(spec, tmp_path, local=[local]) as gate:
            await gate.cap(1)
            await eventually(lambda: _gets_ejected(gate, FAILS))
            stays = asyncio.create_task(client.ask(gate.front, SLOW))
            await eventually(lambda: local.requests[-1].line[1] == SLOW)
            await eventually(lambda: _is_back(gate))
            await eventually(lambda: _has_in_flight(gate, 1))
            meanwhile = (await client.ask(gate.front, LEAVES)).body.content
            may_end.set()
            kept = await stays
            await eventually(lambda: _has_in_flight(gate, 0))
            afterwards = (await client.ask(gate.front, LEAVES)).body.content

    assert (meanwhile, kept.body.content, afterwards) == (b"remote", b"local", b"local")


@pytest.mark.parametrize("overflow", NOT_FOR_UNAVAILABILITY.values(), ids=NOT_FOR_UNAVAILABILITY)
async def test_a_request_that_leaves_for_other_reasons_only_is_answered_by_a_server_that_is_ejected(
    tmp_path: Path, overflow: Overflow
) -> None:
    """It got 503, although no remote was to answer it, and the server would have."""
    async with upstream("local", breaks_off_what_fails) as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), overflow=overflow)
        async with gateway(spec, tmp_path, local=[local]) as gate:
            answer = await _while_ejected(gate, lambda: client.ask(gate.front, LEAVES))

    assert (answer.line[1], answer.body.content, answer.header("x-offload-served-by")) == ("200", b"local", "local")
    assert remote.connections == 0


@pytest.mark.parametrize("share", [0, 100])
@pytest.mark.parametrize("overflow", [Overflow(), Overflow(after=AFTER), Overflow(on_unavailable=False)])
@pytest.mark.parametrize("answer", [None, closes, says(503)], ids=["refuses", "closes", "fails"])
async def test_what_the_remote_does_not_answer_is_answered_by_a_server_that_is_ejected(
    tmp_path: Path, overflow: Overflow, share: int, answer: Answer | None
) -> None:
    """It got the remote's failure or 503, although a local server would have answered."""
    async with upstream("local", breaks_off_what_fails) as local, upstream("remote", answer) as remote:
        if answer is None:
            await remote.stop()
        spec = builders.spec(remote=to(remote), overflow=overflow)
        async with gateway(spec, tmp_path, local=[local], share=share) as gate:
            answered = await _while_ejected(gate, lambda: client.ask(gate.front, LEAVES))

    assert (answered.line[1], answered.body.content) == ("200", b"local")


@pytest.mark.parametrize("servers", [1, 2])
@pytest.mark.parametrize("overflow", [Overflow(), Overflow(after=AFTER), Overflow(on_unavailable=False)])
async def test_above_the_cap_too_the_remotes_failure_is_answered_by_a_server_that_is_ejected(
    tmp_path: Path, overflow: Overflow, servers: int
) -> None:
    may_end = asyncio.Event()

    async def answer(exchange: Exchange) -> None:
        if exchange.request.line[1] == SLOW:
            await may_end.wait()
        await breaks_off_what_fails(exchange)

    async with AsyncExitStack() as stack:
        local = [await stack.enter_async_context(upstream("local", answer)) for _ in range(servers)]
        remote = await stack.enter_async_context(upstream("remote", says(503)))
        spec = builders.spec(remote=to(remote), overflow=replace(overflow, max_in_flight_per_replica=1))
        gate = await stack.enter_async_context(gateway(spec, tmp_path, local=local))
        await gate.cap(1)
        slow = asyncio.create_task(client.ask(gate.front, SLOW))
        await eventually(lambda: any(each.requests for each in local))
        answered = await _while_ejected(gate, lambda: client.ask(gate.front, LEAVES), servers=servers)
        may_end.set()
        await slow

    assert remote.requests
    assert (answered.line[1], answered.body.content) == ("200", b"local")


@pytest.mark.parametrize("share", [0, 100])
async def test_what_a_remote_without_budget_declines_is_answered_by_a_server_that_is_ejected(
    tmp_path: Path, share: int
) -> None:
    budget = Budget(Decimal(1), BudgetUnit.REQUESTS, Period.DAY)
    async with upstream("local", breaks_off_what_fails) as local, upstream("remote") as remote:
        backend = to(remote, name="spent", budget=budget)
        spec = builders.spec(remote=backend, on_remote_failure=OnRemoteFailure.FAIL)
        async with gateway(spec, tmp_path, local=[local]) as gate:
            gate.shares.set(spec.key, RuntimeValues(share, budget_spent=("spent",)))
            await eventually(lambda: gate.leaves_out(["spent"]))
            answer = await _while_ejected(gate, lambda: client.ask(gate.front, LEAVES))

    assert (answer.line[1], answer.body.content) == ("200", b"local")
    assert remote.connections == 0


async def test_what_local_can_not_answer_still_leaves_while_all_servers_are_ejected(tmp_path: Path) -> None:
    async with (
        upstream("local", breaks_off_what_fails) as local,
        upstream("remote") as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local]) as gate,
    ):
        answer = await _while_ejected(gate, lambda: client.ask(gate.front, LEAVES))

    assert answer.body.content == b"remote"
    assert LEAVES not in {request.line[1] for request in local.requests}


async def test_a_websocket_opens_at_a_server_that_is_ejected(tmp_path: Path) -> None:
    async def switches(exchange: Exchange) -> None:
        if "upgrade" not in {name.lower() for name, _ in exchange.request.headers}:
            return await breaks_off(exchange)
        await exchange.send_raw(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
        )
        return await exchange.gone()

    async with upstream("local", switches) as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), overflow=NOT_FOR_UNAVAILABILITY["for nothing"])
        async with gateway(spec, tmp_path, local=[local]) as gate:
            switched = await _while_ejected(gate, lambda: _switched(gate.front))

    assert (switched.line[1], switched.header("x-offload-served-by")) == ("101", "local")
    assert remote.connections == 0


async def test_counts_what_ejected_servers_answer_as_local_and_once(tmp_path: Path) -> None:
    async with upstream("local", breaks_off_what_fails) as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), overflow=NOT_FOR_UNAVAILABILITY["for a closed connection"])
        async with gateway(spec, tmp_path, local=[local]) as gate:
            await _while_ejected(gate, lambda: _ask_both(gate.front))
            await eventually(lambda: _has_in_flight(gate, 0))
            page = await _page(gate)
        paths = [request.line[1] for request in local.requests]

    counted = remote_stats.traffic(page)
    assert (counted.local, counted.kept, counted.unanswered) == (len(paths), len(paths) - paths.count(LEAVES), 0)
    assert (counted.remote, counted.local_first_bytes) == (0, paths.count(LEAVES))
    assert _labels(page) == {("local", "local_only", "keep"), ("local", "local_first", "local")}


async def test_the_controller_shows_what_ejected_servers_answer_as_local() -> None:
    async with (
        upstream("local", breaks_off_what_fails) as local,
        upstream("remote") as remote,
        controller(_manifest(remote.address), local=[local.address]) as running,
    ):
        admin = f"unix:{running.state}/gateways/default.llama/admin.sock"
        await eventually(lambda: _traffic(running))
        await _while_ejected_at(running.front, admin, lambda: _ask_both(running.front))
        paths = [request.line[1] for request in local.requests if request.line[1] in {FAILS, STAYS, LEAVES}]
        kept = 1 - paths.count(LEAVES) / len(paths)

        await eventually(lambda: _shows_kept(running, kept), what=f"{kept} of the requests are shown as kept")
        await eventually(lambda: _tells_of_requests(running))
        traffic, metrics = await _traffic(running), await _metrics(running)
        _, explained = await running.command("explain", "llama", f"--address=http://{running.web}")

    assert traffic is not None
    assert (traffic["sent"], traffic["unanswered"], traffic["inFlight"]) == (0, 0, 0)
    assert metrics["beamlit_requests_per_second", "remote"] == 0
    assert {value for (name, _), value in metrics.items() if name == "beamlit_sent_ratio"} == {0}
    assert "/s local, 0/s remote: 0 % went to the remote; 0 in flight at local" in " ".join(explained.split())


def _manifest(remote: str) -> dict[str, Any]:
    """Return a model whose requests leave only for a status."""
    service = {"name": "llama", "targetPort": 8000}
    metric = {"metric": {"name": "waiting"}, "target": {"type": "AverageValue", "averageValue": 10}}
    config = {
        "remoteBackend": {"scheme": "http", "host": remote},
        "metrics": [{"type": "Pods", "pods": metric}],
        "overflow": {"onUnavailable": False, "onReset": False, "onStatus": [429]},
    }
    return {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "llama"},
        "spec": {"serviceRef": service, "metricServiceRef": service, "offloadingConfig": config},
    }


async def _while_ejected(gate: Gateway, ask: Callable[[], Awaitable[T]], *, servers: int = 1) -> T:
    return await _while_ejected_at(gate.front, gate.params.admin, ask, servers=servers)


async def _while_ejected_at(front: str, admin: str, ask: Callable[[], Awaitable[T]], *, servers: int = 1) -> T:
    """Return the answer to what is asked while all local servers are ejected, from beginning to end."""
    answers: list[T] = []

    async def asked() -> bool:
        await asyncio.gather(*(client.ask(front, FAILS) for _ in range(8 * servers)), return_exceptions=True)
        if await _ejected(admin) == servers:
            answers.append(await ask())
        return bool(answers) and await _ejected(admin) == servers

    await eventually(asked)
    return answers[-1]


async def _ask_both(front: str) -> list[Message]:
    return [await client.ask(front, path) for path in (STAYS, LEAVES)]


async def _switched(front: str) -> Message:
    """Return the head of the response to the request for a WebSocket."""
    upgrade = (("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13"))
    async with client.connect(front) as asker:
        await asker.send_head(
            "GET /v1/realtime HTTP/1.1", (*upgrade, ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="))
        )
        return await asker.head()


async def _gets_ejected(gate: Gateway, path: str) -> bool:
    """Send some requests that the local server fails all at once, and return whether it is ejected for that."""
    asking = [asyncio.create_task(client.ask(gate.front, path)) for _ in range(8)]
    try:
        # It may be back by the time that Envoy has closed the connections of all of them.
        await eventually(lambda: _is_decided(gate, asking))
        return not await _is_back(gate)
    finally:
        for each in asking:
            each.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


async def _is_decided(gate: Gateway, asking: list[asyncio.Task[Message]]) -> bool:
    return not await _is_back(gate) or all(each.done() for each in asking)


async def _is_back(gate: Gateway) -> bool:
    return not await _ejected(gate.params.admin)


async def _ejected(admin: str) -> int:
    """Return how many local servers are ejected."""
    page = await client.get(admin, f"/stats?filter={quote('^cluster[.]local[.]outlier_detection[.]ejections_active$')}")
    return int(page.body.content.decode().rpartition(":")[2])


async def _has_in_flight(gate: Gateway, number: int) -> bool:
    return remote_stats.traffic(await _page(gate)).in_flight == number


async def _page(gate: Gateway) -> str:
    return (
        await client.get(gate.params.stats, f"/stats/prometheus?filter={quote(remote_stats.FILTER)}")
    ).body.content.decode()


def _labels(page: str) -> set[tuple[str, ...]]:
    """Return side, chain and route of the requests on a page, without what distinguishes chains of a kind."""
    families = text_string_to_metric_families(page)
    (requests,) = [family.samples for family in families if family.name == "envoy_offload_requests"]
    return {(each.labels["side"], each.labels["chain"], each.labels["route"]) for each in requests}


async def _traffic(running: Controller) -> dict[str, Any] | None:
    return (await running.model())["traffic"]


async def _shows_kept(running: Controller, kept: float) -> bool:
    traffic = await _traffic(running)
    return traffic is not None and traffic["kept"] == pytest.approx(kept)


async def _tells_of_requests(running: Controller) -> bool:
    """Return whether the metrics, which are those of the last round, tell of requests."""
    return (await _metrics(running))["beamlit_requests_per_second", "local"] > 0


async def _metrics(running: Controller) -> dict[tuple[str, ...], float]:
    """Return what the controller's metrics tell of requests, by the name and the labels that distinguish them."""
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=60) as web:
        page = (await web.get(f"http://{running.web}/metrics")).text
    samples = [each for family in text_string_to_metric_families(page) for each in family.samples]
    return {(each.name, each.labels.get("side") or each.labels.get("reason") or ""): each.value for each in samples}
