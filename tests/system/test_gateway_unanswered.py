"""A request that no server answered is served by nobody: the header, the counters and the log claim no side for it."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from urllib.parse import quote

import grpc
import pytest

import builders
from beamlit_controller.core.price import Budget, BudgetUnit, Period
from beamlit_controller.core.spec import ApiKey, OffloadSpec, OnRemoteFailure, Overflow, SecretKey
from beamlit_controller.core.traffic import RequestCounters
from beamlit_controller.envoy import remote_stats, usage_stats
from beamlit_controller.envoy.response_headers import NOBODY, SERVED_BY
from beamlit_controller.envoy.rtds import RuntimeValues
from fakes import client
from fakes.gateway import Gateway, gateway, to
from fakes.http1 import Message
from fakes.trouble import breaks_off, closes, hangs, says
from fakes.upstream import Answer, Exchange, Upstream, tells, upstream
from waiting import eventually

pytestmark = pytest.mark.system

LEAVES, STAYS = "/v1/chat", "/v1/files"
ENOUGH = 5  # after three failures in a row the local server is ejected
FAIL, LOCAL = OnRemoteFailure.FAIL, OnRemoteFailure.LOCAL
OVERFLOWS = {
    "by default": Overflow(),
    "through the local hop": Overflow(after=timedelta(seconds=60)),
    "but not for unavailability": Overflow(on_unavailable=False),
    "through the local hop, but not for unavailability": Overflow(on_unavailable=False, on_status=(503,)),
    "above a cap": Overflow(max_in_flight_per_replica=1),
}
TROUBLES: dict[str, Answer | None] = {"refuses": None, "closes": closes}
BUDGET = Budget(Decimal(1), BudgetUnit.REQUESTS, Period.DAY)


@pytest.mark.parametrize("share", [0, 100])
@pytest.mark.parametrize("policy", list(OnRemoteFailure))
@pytest.mark.parametrize("overflow", OVERFLOWS.values(), ids=OVERFLOWS)
@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
async def test_with_both_sides_down_nobody_serves_a_request(
    tmp_path: Path, trouble: Answer | None, overflow: Overflow, policy: OnRemoteFailure, share: int
) -> None:
    """They were said to be served by the remote or by local, whichever was tried last, and were counted for that side."""
    async with _gateway(tmp_path, [trouble], overflow=overflow, policy=policy, share=share) as gate:
        answers = await _ask(gate, [*[LEAVES] * ENOUGH, STAYS])
        counted = await _counted(gate)
        lines = await _lines(gate, len(answers))

    assert {(each.line[1], each.header(SERVED_BY)) for each in answers} == {("503", NOBODY)}
    assert counted == RequestCounters(unanswered=len(answers))
    assert [(line["side"], line["reason"]) for line in lines] == [*[(NOBODY, "unanswered")] * ENOUGH, (NOBODY, "kept")]


@pytest.mark.parametrize("share", [0, 100])
@pytest.mark.parametrize("status", [401, 429, 503])
@pytest.mark.parametrize("overflow", [Overflow(), Overflow(after=timedelta(seconds=60))], ids=["direct", "local hop"])
async def test_an_error_that_the_remote_answers_is_the_remotes(
    tmp_path: Path, overflow: Overflow, status: int, share: int
) -> None:
    async with _gateway(tmp_path, [says(status)], overflow=overflow, policy=FAIL, share=share) as gate:
        answers = await _ask(gate, [LEAVES] * ENOUGH)
        counted = await _counted(gate)

    assert {(each.line[1], each.header(SERVED_BY)) for each in answers} == {(str(status), "remote")}
    assert (counted.remote, counted.local, counted.unanswered) == (ENOUGH, 0, 0)


async def test_an_error_that_local_answers_is_locals_and_of_a_dead_remote_nobodys(tmp_path: Path) -> None:
    async with upstream("local", says(500)) as local, _gateway(tmp_path, [None], local=local, policy=FAIL) as gate:
        locally = await _ask(gate, [LEAVES, STAYS])
        await gate.offload(100)
        [offloaded] = await _ask(gate, [LEAVES])
        counted = await _counted(gate)

    assert [(each.line[1], each.header(SERVED_BY)) for each in locally] == [("500", "local")] * 2
    assert (offloaded.line[1], offloaded.header(SERVED_BY)) == ("503", NOBODY)
    assert (counted.local, counted.kept, counted.remote, counted.unanswered) == (2, 1, 0, 1)


@pytest.mark.parametrize("policy", list(OnRemoteFailure))
@pytest.mark.parametrize("share", [0, 100])
async def test_no_remote_of_several_serves_what_all_of_them_fail(
    tmp_path: Path, share: int, policy: OnRemoteFailure
) -> None:
    async with _gateway(tmp_path, [closes, None, closes], policy=policy, share=share) as gate:
        answers = await _ask(gate, [LEAVES] * ENOUGH)
        counted = await _counted(gate)

    assert {(each.line[1], each.header(SERVED_BY)) for each in answers} == {("503", NOBODY)}
    assert counted == RequestCounters(unanswered=ENOUGH)


@pytest.mark.parametrize("policy", list(OnRemoteFailure))
@pytest.mark.parametrize("share", [0, 100])
async def test_with_all_budgets_spent_and_local_down_nobody_serves_a_request_and_nothing_is_charged(
    tmp_path: Path, share: int, policy: OnRemoteFailure
) -> None:
    async with _gateway(tmp_path, [tells("one"), tells("two")], policy=policy, budget=BUDGET) as gate:
        gate.shares.set(gate.spec.key, RuntimeValues(share, budget_spent=("remote-0", "remote-1")))
        await eventually(lambda: gate.leaves_out(["remote-0", "remote-1"]))
        answers = await _ask(gate, [LEAVES] * ENOUGH)
        counted, used = await _counted(gate), usage_stats.usage(await _page(gate))

    assert {(each.line[1], each.header(SERVED_BY)) for each in answers} == {("503", NOBODY)}
    assert counted == RequestCounters(unanswered=ENOUGH)
    assert not any(each.requests for each in used.values())


async def test_above_the_cap_too_nobody_serves_what_a_dead_remote_should(tmp_path: Path) -> None:
    may_end = asyncio.Event()

    async def answer(exchange: Exchange) -> None:
        await may_end.wait()
        await exchange.respond(b"local")

    overflow = Overflow(max_in_flight_per_replica=1)
    async with (
        upstream("local", answer) as local,
        _gateway(tmp_path, [None], local=local, overflow=overflow, policy=FAIL) as gate,
    ):
        await gate.cap(1)
        slow = asyncio.create_task(client.ask(gate.front, LEAVES))
        await eventually(lambda: bool(local.requests))
        [above] = await _ask(gate, [LEAVES])
        may_end.set()
        served = await slow
        counted = await _counted(gate)

    assert [above.header(SERVED_BY), served.header(SERVED_BY)] == [NOBODY, "local"]
    assert (counted.local, counted.overflow, counted.unanswered) == (1, 0, 1)


async def test_nobody_serves_what_a_paused_remote_should_and_429_counts_as_unanswered(tmp_path: Path) -> None:
    async def throttles(exchange: Exchange) -> None:
        await exchange.respond(status="429 Too Many Requests", headers=[("retry-after", "60")])

    async with _gateway(tmp_path, [throttles], policy=FAIL, share=100) as gate:
        answers = await _ask(gate, [LEAVES] * 2)
        counted = await _counted(gate)

    assert [(each.line[1], each.header(SERVED_BY)) for each in answers] == [("429", "remote"), ("429", NOBODY)]
    assert (counted.share, counted.unanswered) == (1, 1)


async def test_nobody_serves_what_there_is_no_credential_for(tmp_path: Path) -> None:
    key = ApiKey(SecretKey("remote", "key"))
    async with _gateway(tmp_path, [tells("remote")], policy=FAIL, share=100, auth=key) as gate:
        [answered] = await _ask(gate, [LEAVES])
        counted = await _counted(gate)

    assert (answered.line[1], answered.header(SERVED_BY)) == ("503", NOBODY)
    assert counted == RequestCounters(unanswered=1)


async def test_nobody_serves_what_local_is_too_slow_for_and_the_remote_closes(tmp_path: Path) -> None:
    overflow = Overflow(after=timedelta(seconds=0.2))
    async with (
        upstream("local", hangs) as local,
        _gateway(tmp_path, [closes], local=local, overflow=overflow, policy=FAIL) as gate,
    ):
        [answered] = await _ask(gate, [LEAVES])
        counted = await _counted(gate)

    assert (answered.line[1], answered.header(SERVED_BY)) == ("503", NOBODY)
    assert counted == RequestCounters(unanswered=1)


@pytest.mark.parametrize(("share", "side"), [(0, "local"), (100, "remote")])
async def test_a_request_whose_client_leaves_counts_for_the_side_that_it_waited_for(
    tmp_path: Path, share: int, side: str
) -> None:
    """The side was working on it. It is told by the code 0, and is no request that nobody could answer."""
    async with upstream("local", hangs) as local, _gateway(tmp_path, [hangs], local=local, share=share) as gate:
        leaving = asyncio.create_task(client.ask(gate.front, LEAVES))
        await eventually(lambda: _is_at(gate, side))
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        [line] = await _lines(gate, 1)
        requests, counted = await gate.requests(), await _counted(gate)

    assert (line["side"], line["reason"], line["code"]) == (side, "share" if share else "local", 0)
    assert {(each[0], each[2]): number for each, number in requests.items()} == {(side, "0"): 1}
    assert (counted.local, counted.remote, counted.unanswered) == ((1, 0, 0) if side == "local" else (0, 1, 0))


@pytest.mark.parametrize(("share", "side"), [(0, "local"), (100, "remote")])
async def test_a_response_that_is_broken_off_was_served_by_who_began_it(tmp_path: Path, share: int, side: str) -> None:
    async with (
        upstream("local", breaks_off) as local,
        _gateway(tmp_path, [breaks_off], local=local, share=share) as gate,
    ):
        async with client.connect(gate.front) as asker:
            await asker.send_head(f"POST {LEAVES} HTTP/1.1", (("content-length", "0"),))
            head = await asker.head()
        await _lines(gate, 1)
        counted = await _counted(gate)

    assert head.header(SERVED_BY) == side
    assert (counted.local, counted.remote, counted.unanswered) == ((1, 0, 0) if side == "local" else (0, 1, 0))


@pytest.mark.parametrize("overflow", [Overflow(), Overflow(after=timedelta(seconds=60))], ids=["direct", "local hop"])
async def test_no_server_can_say_that_another_or_nobody_served(tmp_path: Path, overflow: Overflow) -> None:
    def claims(side: str) -> Answer:
        async def answer(exchange: Exchange) -> None:
            await exchange.respond(headers=[(SERVED_BY, side), (SERVED_BY, NOBODY)])

        return answer

    async with (
        upstream("local", claims("remote")) as local,
        _gateway(tmp_path, [claims("local")], local=local, overflow=overflow) as gate,
    ):
        answers = await _ask(gate, [LEAVES, STAYS])
        await gate.offload(100)
        answers += await _ask(gate, [LEAVES])
        counted = await _counted(gate)

    sides = [[value for name, value in each.headers if name == SERVED_BY] for each in answers]
    assert sides == [["local"], ["local"], ["remote"]]
    assert (counted.local, counted.remote, counted.unanswered) == (2, 1, 0)


async def test_a_request_that_the_gateway_rejects_is_served_by_nobody_and_does_not_count_as_unanswered(
    tmp_path: Path,
) -> None:
    """No server was to answer it."""
    async with upstream("local") as local, _gateway(tmp_path, [tells("remote")], local=local) as gate:
        rejected = await client.ask(gate.front, LEAVES, headers=(("x_data_class", "restricted"),))
        requests, counted = await gate.requests(), await _counted(gate)

    assert (rejected.line[1], rejected.header(SERVED_BY)) == ("400", NOBODY)
    assert {(each[0], each[2]) for each in requests} == {(NOBODY, "400")}
    assert counted == RequestCounters()


@pytest.mark.parametrize("policy", list(OnRemoteFailure))
async def test_a_grpc_call_that_nobody_answers_is_unanswered_and_is_not_charged(
    tmp_path: Path, policy: OnRemoteFailure
) -> None:
    """Its HTTP status is 200 in any case."""
    async with (
        _gateway(tmp_path, [None], policy=policy, share=100, budget=BUDGET) as gate,
        grpc.aio.insecure_channel(gate.front) as channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await channel.unary_unary("/inference/infer")(b"")
        counted, used = await _counted(gate), usage_stats.usage(await _page(gate))
        requests = await gate.requests()

    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
    assert {(each[0], each[2]) for each in requests} == {(NOBODY, "200")}
    assert counted == RequestCounters(unanswered=1)
    assert not any(each.requests for each in used.values())


@asynccontextmanager
async def _gateway(
    folder: Path,
    answers: Iterable[Answer | None],
    *,
    local: Upstream | None = None,
    overflow: Overflow | None = None,
    policy: OnRemoteFailure = LOCAL,
    share: int = 0,
    **remote: object,
) -> AsyncIterator[Gateway]:
    """Run a gateway with remotes that answer so, or refuse (None); without `local`, its server refuses, too."""
    async with AsyncExitStack() as stack:
        here = local or await stack.enter_async_context(upstream("local"))
        if local is None:
            await here.stop()
        remotes = [await stack.enter_async_context(upstream("remote", answer)) for answer in answers]
        for server, answer in zip(remotes, answers, strict=True):
            if answer is None:
                await server.stop()
        spec = _spec(remotes, overflow or Overflow(), policy, **remote)
        yield await stack.enter_async_context(gateway(spec, folder, local=[here], share=share))


def _spec(remotes: list[Upstream], overflow: Overflow, policy: OnRemoteFailure, **changes: object) -> OffloadSpec:
    names = [f"remote-{number}" if len(remotes) > 1 else "" for number in range(len(remotes))]
    first, *others = (to(server, name=name, **changes) for server, name in zip(remotes, names, strict=True))
    spec = builders.spec(remote=first, overflow=overflow, on_remote_failure=policy)
    return replace(spec, next_remotes=tuple(others))


async def _ask(gate: Gateway, paths: Iterable[str]) -> list[Message]:
    return [await client.ask(gate.front, path) for path in paths]


async def _lines(gate: Gateway, requests: int) -> list[dict[str, object]]:
    """Wait for the line of each request, and return them."""

    async def written() -> bool:
        lines.extend((await gate.log(0))[len(lines) :])
        return sum("reason" in line for line in lines) >= requests

    lines: list[dict[str, object]] = []
    await eventually(written)
    return [line for line in lines if "reason" in line]


async def _is_at(gate: Gateway, side: str) -> bool:
    """Return whether a request waits for this side."""
    return await gate.stat(f"cluster.{side}.upstream_rq_active") == 1


async def _counted(gate: Gateway) -> RequestCounters:
    return replace(remote_stats.traffic(await _page(gate)), in_flight=0)


async def _page(gate: Gateway) -> str:
    path = f"/stats/prometheus?filter={quote(remote_stats.FILTER)}"
    return (await client.get(gate.params.stats, path)).body.content.decode()
