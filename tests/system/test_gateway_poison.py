"""One client's requests that the remote refuses take the remote away from nobody else."""

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

import builders
from beamlit_controller.core.spec import OnRemoteFailure, Overflow
from beamlit_controller.envoy import remote_stats
from fakes import client
from fakes.gateway import gateway, to
from fakes.trouble import REASONS, says
from fakes.upstream import Exchange, upstream

pytestmark = pytest.mark.system

STATUSES = sorted({*REASONS, 413, 422} - {404})


def picky(status: int) -> object:
    """Answer `/poison` with this status, and all else well."""

    async def answer(exchange: Exchange) -> None:
        poisoned = exchange.request.line[1] == "/poison"
        await exchange.respond(b"remote", status=f"{status} No" if poisoned else "200 OK")

    return answer


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("share", [0, 100])
@pytest.mark.parametrize("policy", list(OnRemoteFailure))
async def test_while_local_has_nothing_to_give_everybody_else_is_answered_by_the_remote(
    tmp_path: Path, policy: OnRemoteFailure, share: int, status: int
) -> None:
    answers: Counter[tuple[str, str]] = Counter()
    async with upstream("full", says(503)) as full, upstream("remote", picky(status)) as remote:
        overflow = Overflow(on_status=(503,))
        spec = builders.spec(remote=to(remote), overflow=overflow, on_remote_failure=policy)
        async with gateway(spec, tmp_path, local=[full], share=share) as gate:
            for _ in range(8):
                for _ in range(6):
                    await client.ask(gate.front, "/poison")
                answer = await client.ask(gate.front)
                answers[answer.line[1], answer.header("x-offload-served-by")] += 1

    assert answers == {("200", "remote"): 8}


@pytest.mark.parametrize("status", [401, 403, 429, 500, 529])
async def test_a_few_poisoned_requests_in_a_row_do_not_send_the_share_back(tmp_path: Path, status: int) -> None:
    async with upstream("local") as local, upstream("remote", picky(status)) as remote:
        spec = builders.spec(remote=to(remote))
        async with gateway(spec, tmp_path, local=[local], share=100) as gate:
            for _ in range(6):
                for _ in range(5):
                    await client.ask(gate.front, "/poison")
                answer = await client.ask(gate.front)
                assert answer.header("x-offload-served-by") == "remote"


@pytest.mark.parametrize("policy", list(OnRemoteFailure))
async def test_an_answer_that_is_none_is_a_failure_of_the_remote(tmp_path: Path, policy: OnRemoteFailure) -> None:
    """Such statuses, and `101` to a request that asked for no other protocol, were passed on to clients."""
    said = ["600 X", "999 X", "1000 X", "101 Switching Protocols"]

    async def nonsense(exchange: Exchange) -> None:
        status = exchange.request.line[1][1:].replace("-", " ")
        length = "" if status.startswith("101") else "content-length: 0\r\n"
        await exchange.send_raw(f"HTTP/1.1 {status}\r\n{length}\r\n".encode())

    async with upstream("local") as local, upstream("remote", nonsense) as remote:
        spec = builders.spec(remote=to(remote), on_remote_failure=policy)
        async with gateway(spec, tmp_path, local=[local], share=100) as gate:
            answers = [await client.ask(gate.front, f"/{each.replace(' ', '-')}") for each in said]

    code, side = ("200", "local") if policy is OnRemoteFailure.LOCAL else ("502", "remote")
    assert [(answer.line[1], answer.header("x-offload-served-by")) for answer in answers] == [(code, side)] * len(said)


UPGRADE = (("connection", "upgrade"), ("upgrade", "websocket"))
WAYS = {
    "to the remote": (100, Overflow()),
    "to local": (0, Overflow()),
    "through the local hop": (0, Overflow(after=timedelta(seconds=20))),
}


@pytest.mark.parametrize("way", WAYS)
async def test_an_upgrade_to_which_nothing_is_switched_gets_502_and_harms_nobody(tmp_path: Path, way: str) -> None:
    """The client got the status without the body, the gateway's own mark, and the remote counted as one that closes."""
    share, overflow = WAYS[way]

    async def ignores_upgrades(exchange: Exchange) -> None:
        status = exchange.request.header("x-status") or "200 OK"
        await exchange.respond(exchange.request.line[0].encode(), status=status, headers=[("location", "/")])

    async with upstream("server", ignores_upgrades) as server, upstream("other") as other:
        remote, local = (server, other) if share else (other, server)
        spec = builders.spec(remote=to(remote), overflow=overflow)
        async with gateway(spec, tmp_path, local=[local], share=share) as gate:
            got = [
                await client.get(gate.front, "/v1/realtime", headers=(*UPGRADE, ("x-status", status)))
                for status in ("200 OK", "201 Created", "302 Found", "399 Odd")
                for _ in range(3)
            ]
            refused = await client.get(gate.front, "/v1/realtime", headers=(*UPGRADE, ("x-status", "404 Not Found")))
            fine = [await client.ask(gate.front) for _ in range(3)]
            page = await client.get(gate.params.stats, "/stats/prometheus?filter=offload")

    assert {(each.line[1], each.header("x-offload-served-by")) for each in got} == {("502", "none")}
    assert {json.loads(each.body.content)["error"]["message"] for each in got} == {
        "the server did not switch protocols"
    }
    assert {name for each in (*got, refused) for name, _ in each.headers if name.startswith("x-offload")} == {
        "x-offload-served-by"
    }
    assert (refused.line[1], refused.body.content) == ("404", b"GET")
    served = {each.header("x-offload-served-by") for each in fine}
    assert served == {"remote" if share else "local"}
    results = {result for each in remote_stats.attempts(page.body.content.decode()).values() for result in each.counts}
    assert {(result, code) for result, code, _ in results} == (
        {("declined", 502), ("answered", 404), ("answered", 200)} if share else set()
    )
