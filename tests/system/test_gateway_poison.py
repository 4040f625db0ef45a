"""One client's requests that the remote refuses take the remote away from nobody else."""

from collections import Counter
from pathlib import Path

import pytest

import builders
from beamlit_controller.core.spec import OnRemoteFailure, Overflow
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
