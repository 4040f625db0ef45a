"""Files that change under a running gateway: taken over without a lost request, refused where they are wrong."""

import asyncio
import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest

import builders
from beamlit_controller.core.spec import HeaderMatch, PathPrefix
from fakes import client, http1, load
from fakes.gateway import Gateway, gateway, to
from fakes.upstream import Exchange, upstream
from waiting import eventually

pytestmark = pytest.mark.system


async def test_every_kind_of_change_is_taken_over_without_losing_a_request(tmp_path: Path) -> None:
    async with upstream("local") as local, upstream("one") as one, upstream("two") as two:
        first = builders.spec(remote=to(one))
        changes = (
            replace(first, keep_local=(PathPrefix("/internal"), HeaderMatch("x-data-class", "restricted"))),
            replace(first, remote=to(two)),
            replace(first, remote=to(two, path_prefix="/a", headers_to_add=(("x-team", "search"),))),
            replace(first, enabled=False),
            replace(first, remote=None),
            first,
        )
        async with gateway(first, tmp_path, local=[local], share=50) as gate, load.asking(gate.front) as tally:
            for spec in changes:
                await gate.change(spec)
                await eventually(lambda done=tally.total + 200: tally.total >= done)
                if spec.remote is not None and spec.remote.path_prefix:
                    # The hop's routes are a file of their own, which is read when Envoy comes to it.
                    await eventually(lambda: two.requests[-1].line[1] == "/a/v1/completions")

    assert tally.total == tally.good


@pytest.mark.parametrize("share", [0, 100])
async def test_remotes_are_added_removed_and_reordered_without_losing_a_request(tmp_path: Path, share: int) -> None:
    async with upstream("one") as one, upstream("two") as two, upstream("three") as three:
        a, b, c = (to(server, name=server.name) for server in (one, two, three))
        orders = ((a, b), (b, a), (b, c, a), (c,), (a, b, c))
        first = builders.spec(remote=to(one))
        async with gateway(first, tmp_path, share=share) as gate, load.asking(gate.front) as tally:
            for remote, *others in orders:
                await gate.change(replace(first, remote=remote, next_remotes=tuple(others)))
                server = {"one": one, "two": two, "three": three}[remote.name]
                begin = len(server.requests)
                await eventually(lambda server=server, begin=begin: len(server.requests) > begin + 100)

    assert tally.total == tally.good


@pytest.mark.parametrize(
    ("share", "change"),
    [(0, {"keep_local": (PathPrefix("/elsewhere"),)}), (100, {"enabled": False})],
    ids=["other rules", "offloading turned off"],
)
async def test_a_stream_outlives_a_change(tmp_path: Path, share: int, change: dict[str, object]) -> None:
    changed = asyncio.Event()

    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.send(b"before")
        await changed.wait()
        await exchange.send(b"after")
        await exchange.send(b"")

    async with upstream("local", answer) as local, upstream("remote", answer) as remote:
        spec = builders.spec(remote=to(remote))
        async with gateway(spec, tmp_path, local=[local], share=share) as gate, client.connect(gate.front) as asker:
            await asker.send_head("POST / HTTP/1.1", (("content-length", "0"),))
            head = await asker.head()
            await gate.change(replace(spec, **change))
            changed.set()
            body = await http1.read_body(asker.reader, head)

    assert body.content == b"beforeafter"


@pytest.mark.parametrize("name", ["cds.json", "lds.json", "rds-front.json"])
@pytest.mark.parametrize("text", ["", '{"resources": [{', '{"resources": [{"@type": "no.such.Type"}]}', None])
async def test_a_broken_file_is_refused_and_the_last_good_one_stays(
    tmp_path: Path, name: str, text: str | None
) -> None:
    async with (
        upstream("local") as local,
        upstream("remote") as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local], share=100) as gate,
    ):
        refusals = await _refusals(gate)
        broken = text if text is not None else _with_unknown_field((tmp_path / name).read_text())
        (tmp_path / ".broken").write_text(broken)
        (tmp_path / ".broken").rename(tmp_path / name)
        await eventually(lambda: _more_refusals(gate, refusals))
        tally = await load.ask(gate.front, requests=50)

    assert tally.answered == {("200", "remote"): 50}


async def test_finds_local_servers_by_name(tmp_path: Path) -> None:
    async with (
        upstream("local") as local,
        gateway(builders.spec(), tmp_path, local=[f"localhost:{local.port}"]) as gate,
    ):
        tally = await load.ask(gate.front, requests=50)

    assert tally.answered == {("200", "local"): 50}


@pytest.mark.skipif(not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists(), reason="this machine has no IPv6")
async def test_listens_and_finds_servers_at_addresses_of_ipv6(tmp_path: Path) -> None:
    async with (
        upstream("local", host="::1") as local,
        gateway(builders.spec(), tmp_path, local=[local], front=f"[::1]:{local.port + 1}") as gate,
    ):
        answer = await client.ask(gate.front)

    assert answer.body.content == b"local"


async def _refusals(gate: Gateway) -> int:
    names = ("cluster_manager.cds", "listener_manager.lds", "http.front.rds.front")
    return sum([await gate.stat(f"{name}.{kind}") for name in names for kind in ("update_rejected", "update_failure")])


async def _more_refusals(gate: Gateway, before: int) -> bool:
    return await _refusals(gate) > before


def _with_unknown_field(text: str) -> str:
    """Return the file with a field that Envoy does not know."""
    content = json.loads(text)
    content["resources"][0]["no_such_field"] = True
    return json.dumps(content)
