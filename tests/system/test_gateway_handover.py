"""What is meant for one remote never reaches another, and nothing is lost, however often the remote changes under load."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

import builders
from beamlit_controller.controller.latest import Latest
from beamlit_controller.core.spec import ApiKey, OffloadSpec, Overflow, RemoteBackend, SecretKey
from beamlit_controller.envoy import command, config, config_stats, remote_stats
from beamlit_controller.envoy.gateway_params import GatewayParams
from beamlit_controller.envoy.rtds import RtdsServer
from beamlit_controller.standalone.gateway import Gateway
from beamlit_controller.standalone.gateway_template import GatewayTemplate
from beamlit_controller.wiring import standalone_gateways
from fakes import client, http1, load, secrets
from fakes.gateway import to
from fakes.ports import free_port
from fakes.upstream import Exchange, Upstream, upstream
from waiting import eventually

pytestmark = pytest.mark.system

CHANGES = int(os.environ.get("HANDOVER_CHANGES", "30"))


@dataclass
class Kept:
    """A gateway that is kept as its spec says."""

    gateway: Gateway
    specs: Latest[OffloadSpec]
    front: str
    folder: Path

    def lead_to(self, remote: RemoteBackend | None, **changes: object) -> None:
        """Ask for another remote."""
        self.specs.set(builders.spec(remote=remote, **changes))

    def hops(self) -> set[str]:
        """Name the routes of hops to remotes that there are."""
        return {path.name for path in self.folder.glob("rds-remote_hop_*.json")}


@asynccontextmanager
async def kept(
    folder: Path, remote: RemoteBackend, local: Upstream, *, share: int = 100, **changes: object
) -> AsyncIterator[Kept]:
    """Have a gateway kept, with a share of its requests offloaded."""
    front, directory = f"127.0.0.1:{free_port()}", folder / "gateways" / "llama"
    directory.mkdir(parents=True)
    shares = RtdsServer()
    first = builders.spec(remote=remote, **changes)
    shares.set(first.key, share)
    gateway = Gateway(first.key, directory, _shape(folder, front, local))
    specs = Latest(first)
    async with shares.serve(f"unix:{folder}/shares.sock"):
        task = asyncio.create_task(gateway.keep(specs))
        try:
            await eventually(lambda: gateway.ready, within=30)
            yield Kept(gateway, specs, front, directory)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            stop_now = asyncio.Event()
            stop_now.set()
            await gateway.stop(drain=0, stop_now=stop_now)


def _shape(folder: Path, front: str, local: Upstream) -> GatewayTemplate:
    def files(spec: OffloadSpec, directory: Path) -> Mapping[str, str]:
        stats, shares = f"unix:{directory}/stats.sock", f"unix:{folder}/shares.sock"
        local_servers = (local.address,)
        params = GatewayParams(
            str(spec.key), str(directory), front, stats, "unix:admin.sock", shares, local_servers, str(folder)
        )
        return config.files(spec, params)

    return GatewayTemplate(
        files=files,
        command=lambda _, directory, __: command.command(directory, concurrency=2, drain=timedelta(seconds=1)),
        secrets=lambda _: [],
        stats=remote_stats.FILTER,
        attempts=remote_stats.attempts,
        config_stats=config_stats.FILTER,
        next_step=standalone_gateways.next_step,
    )


async def test_no_credential_reaches_another_remote_over_many_changes_under_load(tmp_path: Path) -> None:
    for name in "ab":
        secrets.put(tmp_path, name, key=f"key-of-{name}")
    async with upstream("local") as local, upstream("a") as a, upstream("b") as b:
        remotes = (_with_key(a, "a"), _with_key(b, "b"), to(a), _with_key(b, "b", headers_to_add=(("x-team", "b"),)))
        async with kept(tmp_path, remotes[0], local) as gate, load.asking(gate.front) as tally:
            for number in range(1, CHANGES + 1):
                server = (a, b)[number % 2]
                before = len(server.requests)
                gate.lead_to(remotes[number % len(remotes)])
                await eventually(lambda server=server, before=before: len(server.requests) > before + 2)

    shown = {server.name: {request.header("authorization") for request in server.requests} for server in (a, b)}
    assert shown == {"a": {"Bearer key-of-a", None}, "b": {"Bearer key-of-b"}}
    assert {request.header("authorization") for request in local.requests} <= {None}
    assert tally.good == tally.total
    assert tally.by("local") == 0


async def test_a_clients_own_key_never_reaches_the_remote_that_must_not_get_it(tmp_path: Path) -> None:
    own = (("authorization", "Bearer of-the-client"),)
    async with upstream("local") as local, upstream("a") as a, upstream("b") as b:
        remotes = (to(a, forward_client_authorization=True), to(b))
        async with kept(tmp_path, remotes[0], local) as gate, client.connect(gate.front) as asker:
            for number in range(1, 11):
                server = (a, b)[number % 2]
                before = len(server.requests)
                gate.lead_to(remotes[number % 2])
                while len(server.requests) <= before:
                    await asker.post("/v1/chat", b"{}", headers=own)

    assert {request.header("authorization") for request in a.requests} == {"Bearer of-the-client"}
    assert {request.header("authorization") for request in b.requests} == {None}


async def test_a_stream_from_the_old_remote_ends_as_it_would_have_and_then_the_old_remote_goes(tmp_path: Path) -> None:
    changed = asyncio.Event()

    async def streams(exchange: Exchange) -> None:
        if exchange.request.line[1] != "/stream":
            await exchange.respond(b"a")
            return
        await exchange.begin()
        await exchange.send(b"before")
        await changed.wait()
        await exchange.send(b"after")
        await exchange.send(b"")

    async with (
        upstream("local") as local,
        upstream("a", streams) as a,
        upstream("b") as b,
        kept(tmp_path, to(a), local) as gate,
        client.connect(gate.front) as asker,
    ):
        await asker.send_head("POST /stream HTTP/1.1", (("content-length", "0"),))
        head = await asker.head()
        gate.lead_to(to(b))
        await eventually(lambda: _asked(gate.front, b))
        gate.lead_to(to(b, headers_to_add=(("x-team", "b"),)))
        await eventually(lambda: _asked_with(gate.front, b, "x-team"))
        await eventually(lambda: len(gate.hops()) == 2)
        changed.set()
        body = await http1.read_body(asker.reader, head)
        await eventually(lambda: len(gate.hops()) == 1)
        after = await load.ask(gate.front, requests=50)

    assert body.content == b"beforeafter"
    assert after.answered == {("200", "remote"): 50}


async def test_a_request_that_waits_at_local_while_the_remote_changes_leaves_for_the_new_one(tmp_path: Path) -> None:
    changed = asyncio.Event()

    async def full(exchange: Exchange) -> None:
        await changed.wait()
        await exchange.respond(status="503 Service Unavailable")

    overflow = Overflow(on_status=(503,))
    async with (
        upstream("local", full) as local,
        upstream("a") as a,
        upstream("b") as b,
        kept(tmp_path, to(a), local, share=0, overflow=overflow) as gate,
    ):
        asking = asyncio.create_task(client.ask(gate.front))
        await eventually(lambda: local.requests)
        gate.lead_to(to(b), overflow=overflow)
        await eventually(lambda: _is_settled(gate) and str(b.port) in _clusters(gate))
        changed.set()
        answer = await asking

    assert answer.line[1] == "200"
    assert answer.body.content == b"b"
    assert a.requests == []


async def _asked_with(front: str, server: Upstream, header: str) -> bool:
    return await _asked(front, server) and server.requests[-1].header(header) is not None


def _with_key(server: Upstream, name: str, **changes: object) -> RemoteBackend:
    return to(server, auth=ApiKey(SecretKey(name, "key")), **changes)


async def _asked(front: str, server: Upstream) -> bool:
    before = len(server.requests)
    await client.ask(front)
    return len(server.requests) > before


def _clusters(gate: Kept) -> str:
    return (gate.folder / "cds.json").read_text()


def _is_settled(gate: Kept) -> bool:
    return len(gate.hops()) == 1
