"""Requests whose client does not wait for the response: they count once they are sent, and only then."""

import re
from pathlib import Path

import pytest

import builders
from beamlit_controller.core.price import UsageMode
from beamlit_controller.core.spec import ApiKey, SecretKey
from beamlit_controller.envoy import remote_stats, usage_stats
from fakes import client
from fakes.client import Client
from fakes.gateway import Gateway, gateway, to
from fakes.http1 import chunk
from fakes.trouble import REASONS, closes, says
from fakes.upstream import Exchange, upstream
from waiting import eventually

pytestmark = pytest.mark.system

PATH = "/v1/chat/completions"
BODY = b'{"stream": true, "model": "llama"}'
AS_JSON = ("content-type", "application/json")
WHOLE = ((AS_JSON, ("content-length", str(len(BODY)))), (BODY,))
IN_PIECES = ((AS_JSON, ("transfer-encoding", "chunked")), (chunk(BODY[:9]), chunk(BODY[9:]), chunk(b"")))
UNFINISHED = {
    "a part": ((AS_JSON, ("content-length", "1000")), (BODY,)),
    "a part, in pieces": ((AS_JSON, ("transfer-encoding", "chunked")), (chunk(BODY),)),
    "nothing": ((AS_JSON, ("content-length", "1000")), ()),
}


async def sent(gate: Gateway, request: tuple[tuple[tuple[str, str], ...], tuple[bytes, ...]]) -> Client:
    headers, pieces = request
    asker = await client.open_to(gate.front)
    await asker.send_head(f"POST {PATH} HTTP/1.1", headers)
    for piece in pieces:
        await asker.send(piece)
    return asker


async def counts(gate: Gateway) -> dict[str, int]:
    page = await gate.admin("/stats/prometheus?filter=remote_answers")
    return {name: int(count) for name, count in re.findall(r'usage="(\w+)"[^}]*\} (\d+)$', page, re.MULTILINE)}


@pytest.mark.parametrize("mode", [UsageMode.READ, UsageMode.ASK])
async def test_a_request_counts_once_it_is_sent_also_if_its_client_leaves_before_the_response(
    tmp_path: Path, mode: UsageMode
) -> None:
    """They were not counted at all, so a budget could be evaded by leaving early."""

    async def never_answers(exchange: Exchange) -> None:
        await exchange.gone()

    async with upstream("remote", never_answers) as remote:
        spec = builders.spec(remote=to(remote, usage=mode))
        async with gateway(spec, tmp_path, share=100) as gate:
            askers = [await sent(gate, request) for request in (WHOLE, IN_PIECES, ((("content-length", "0"),), ()))]
            await eventually(lambda: len(remote.requests) == 3)
            for asker in askers:
                asker.abort()
            await eventually(lambda: _are(gate, {"gone": 3}))
            page = await gate.admin("/stats/prometheus?filter=offload")

    found = usage_stats.usage(page)
    assert remote_stats.attempts(page)[""].counts == (("client-gone", 0, 3),)
    assert (found[""].requests, found[""].unread, found[""].tokens) == (3, 3, 0)


@pytest.mark.parametrize("name", UNFINISHED)
@pytest.mark.parametrize("mode", [UsageMode.READ, UsageMode.ASK])
async def test_a_request_that_was_not_sent_whole_does_not_count(tmp_path: Path, mode: UsageMode, name: str) -> None:
    async with upstream("remote") as remote:
        spec = builders.spec(remote=to(remote, usage=mode))
        async with gateway(spec, tmp_path, share=100) as gate:
            asker = await sent(gate, UNFINISHED[name])
            await eventually(lambda: gate.stat("http.remote_hop_[0-9a-f]+.downstream_rq_active"))
            asker.abort()
            await eventually(lambda: _has_ended(gate))
            await client.ask(gate.front)
            found = await counts(gate)

    assert found == {"unread": 1}


async def test_a_request_that_the_remote_fails_or_does_not_get_does_not_count(tmp_path: Path) -> None:
    keyless = ApiKey(SecretKey("none", "key"))
    async with upstream("local") as local, upstream("bad", closes) as bad, upstream("remote") as remote:
        remotes = (to(bad), to(remote, auth=keyless), to(remote, model_names=(("other", "gpt"),)))
        for number, each in enumerate(remotes):
            folder = tmp_path / str(number)
            folder.mkdir()
            spec = builders.spec(remote=each)
            async with gateway(spec, folder, local=[local], share=100) as gate, client.connect(gate.front) as asker:
                await asker.post(PATH, BODY, headers=[AS_JSON])
                assert await counts(gate) == {}
        (tmp_path / "statuses").mkdir()
        async with gateway(builders.spec(remote=to(remote)), tmp_path / "statuses", local=[local], share=100) as gate:
            remote.answer = _refuses_in_pieces
            await client.ask(gate.front, PATH)
            for status in REASONS:
                remote.answer = says(status)
                await client.ask(gate.front, PATH)
            assert await counts(gate) == {}


async def _refuses_in_pieces(exchange: Exchange) -> None:
    """Refuse with an error whose end nobody waits for, because the next server is asked."""
    head = b"HTTP/1.1 429 No\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    await exchange.send_raw(head + chunk(b"{"))
    await exchange.gone()


async def _are(gate: Gateway, expected: dict[str, int]) -> bool:
    return await counts(gate) == expected


async def _has_ended(gate: Gateway) -> bool:
    return any(code == "0" for _, _, code in await gate.requests())
