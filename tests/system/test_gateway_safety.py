"""One request stays one request, one odd client harms nobody else, and refusals can be read by clients."""

import asyncio
import json
from pathlib import Path

import pytest

import builders
from beamlit_controller.core.spec import (
    Overflow,
    RemoteBackend,
    Scheme,
)
from beamlit_controller.core.stickiness import CookieStickiness
from fakes import client
from fakes.gateway import gateway, to
from fakes.ports import free_port
from fakes.trouble import says
from fakes.upstream import upstream

pytestmark = pytest.mark.system


async def test_two_gateways_that_overflow_to_each_other_multiply_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    overflow = Overflow(on_status=(429, 503))
    port = free_port()
    async with upstream("a", says(503)) as a, upstream("b", says(503)) as b:
        to_a = RemoteBackend(Scheme.HTTP, "127.0.0.1", port)
        async with gateway(builders.spec(remote=to_a, overflow=overflow), tmp_path / "b", local=[b]) as second:
            to_b = RemoteBackend(Scheme.HTTP, "127.0.0.1", int(second.front.rpartition(":")[2]))
            spec = builders.spec(remote=to_b, overflow=overflow)
            async with gateway(spec, tmp_path / "a", local=[a], front=f"127.0.0.1:{port}") as first:
                answer = await client.ask(first.front)

    assert answer.line[1] == "503"
    assert len(a.requests) <= 2
    assert len(b.requests) == 1


async def test_a_remote_that_is_the_gateway_itself_is_asked_once(tmp_path: Path) -> None:
    port = free_port()
    async with upstream("local") as local:
        spec = builders.spec(remote=RemoteBackend(Scheme.HTTP, "127.0.0.1", port))
        async with gateway(spec, tmp_path, local=[local], share=100, front=f"127.0.0.1:{port}") as gate:
            answer = await client.ask(gate.front)

    assert answer.body.content == b"local"
    assert len(local.requests) == 1


@pytest.mark.parametrize("cookie", ["a" * 55_000, "a=" * 27_000, " =" * 27_000, ";" * 55_000, " " * 27_000 + "a"])
async def test_an_odd_cookie_keeps_nobody_waiting(tmp_path: Path, cookie: str) -> None:
    async with upstream("local") as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), stickiness=CookieStickiness("sid"))
        async with gateway(spec, tmp_path, local=[local], share=0) as gate, asyncio.timeout(20):
            answers = await asyncio.gather(
                *(client.ask(gate.front, headers=(("cookie", cookie),)) for _ in range(20)), client.ask(gate.front)
            )

    assert {answer.line[1] for answer in answers} == {"200"}


@pytest.mark.parametrize(("path", "side"), [("/v1/chat/completions", "any"), ("/v1/files", "local")])
async def test_a_refusal_is_json_as_clients_of_openai_read_it(tmp_path: Path, path: str, side: str) -> None:
    async with upstream("remote") as remote:
        await remote.stop()
        async with gateway(builders.spec(remote=to(remote)), tmp_path, share=0) as gate:
            answer = await client.ask(gate.front, path)

    error = json.loads(answer.body.content)["error"]
    assert answer.line[1] == "503"
    assert answer.header("content-type") == "application/json"
    assert answer.header("retry-after") == "1"
    assert error["type"] == "gateway_error"
    assert error["message"]
    assert error["side"] in {side, "remote"}
