"""A remote of Google: tokens come from the metadata server, are renewed in time, and nothing leaves without one."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import builders
from beamlit_controller.core.spec import GoogleToken
from fakes import client
from fakes.gateway import Gateway, gateway, to
from fakes.trouble import closes, hangs, says
from fakes.upstream import Exchange, Upstream, upstream

pytestmark = pytest.mark.system

PATH = "/computeMetadata/v1/instance/service-accounts/default/token"


class MetadataServer:
    """Gives `token-1`, `token-2`, … to who asks as Google's metadata server wants it."""

    def __init__(self, *, lifetime: int = 3600) -> None:
        self.lifetime = lifetime
        self.given = 0

    async def __call__(self, exchange: Exchange) -> None:
        asked = exchange.request
        if (asked.line[:2], asked.header("metadata-flavor")) != (("GET", PATH), "Google"):
            await exchange.respond(status="403 Forbidden")
            return
        self.given += 1
        token = {"access_token": f"token-{self.given}", "expires_in": self.lifetime, "token_type": "Bearer"}
        await exchange.respond(json.dumps(token).encode(), headers=(("metadata-flavor", "Google"),))


BROKEN = {
    "refused": None,
    "closes": closes,
    "hangs": hangs,
    "no such account": says(404),
}


async def test_requests_for_the_remote_carry_a_token_instead_of_the_clients(tmp_path: Path) -> None:
    async with _world(tmp_path, MetadataServer()) as (remote, metadata, gate):
        for _ in range(5):
            await client.ask(gate.front, headers=[("authorization", "Bearer own")])

    assert shown(remote) == ["Bearer token-1"] * 5
    assert len(metadata.requests) == 1
    assert metadata.requests[0].header("host") == "metadata.google.internal"
    assert "own" not in str(metadata.requests[0].headers)


async def test_a_token_that_ends_within_a_minute_is_renewed(tmp_path: Path) -> None:
    async with _world(tmp_path, MetadataServer(lifetime=60)) as (remote, _, gate):
        for _ in range(3):
            await client.ask(gate.front)

    assert shown(remote) == ["Bearer token-1", "Bearer token-2", "Bearer token-3"]


async def test_a_token_that_the_remote_refuses_is_not_shown_again(tmp_path: Path) -> None:
    async with _world(tmp_path, MetadataServer()) as (remote, _, gate):
        remote.answer = says(401)
        answers = [await client.ask(gate.front) for _ in range(2)]

    assert [each.body.content for each in answers] == [b"local"] * 2
    assert shown(remote) == ["Bearer token-1", "Bearer token-2"]


@pytest.mark.parametrize("name", BROKEN)
async def test_nothing_leaves_without_a_token_and_all_does_once_there_is_one(tmp_path: Path, name: str) -> None:
    async with _world(tmp_path, BROKEN[name]) as (remote, metadata, gate):
        if BROKEN[name] is None:
            await metadata.stop()
        before = await client.ask(gate.front)
        connections = remote.connections
        metadata.answer = MetadataServer()
        if BROKEN[name] is None:
            await metadata.start()
        after = await client.ask(gate.front)
        lines = await gate.log(3)

    assert (before.body.content, connections, after.body.content) == (b"local", 0, b"remote")
    assert [line["result"] for line in lines if "remote_failure" in line] == ["credential"]


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"\xff", b'{"access_token": ""}', b'{"access_token": "a\\nb", "expires_in": 9}']
)
async def test_what_is_no_token_is_not_shown(tmp_path: Path, body: bytes) -> None:
    async def says_this(exchange: Exchange) -> None:
        await exchange.respond(body)

    async with _world(tmp_path, says_this) as (remote, _, gate):
        answer = await client.ask(gate.front)

    assert (answer.body.content, remote.connections) == (b"local", 0)


def shown(remote: Upstream) -> list[str | None]:
    return [each.header("authorization") for each in remote.requests]


@asynccontextmanager
async def _world(folder: Path, answer: object) -> AsyncIterator[tuple[Upstream, Upstream, Gateway]]:
    async with (
        upstream("remote") as remote,
        upstream("metadata", answer) as metadata,  # type: ignore[arg-type] # the fakes' own
        upstream("local") as local,
    ):
        spec = builders.spec(remote=to(remote, auth=GoogleToken()))
        async with gateway(spec, folder, local=[local], share=100, metadata_server=metadata.address) as gate:
            yield remote, metadata, gate
