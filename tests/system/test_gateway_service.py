"""What clients of a Service had before a gateway stood behind it, and still have."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest

import builders
from beamlit_controller.core.spec import Overflow
from beamlit_controller.envoy import routes
from fakes import client
from fakes.gateway import free_port, gateway, to
from fakes.upstream import upstream

pytestmark = pytest.mark.system

WAYS = {
    "straight": Overflow(),
    "through the hop": Overflow(after=timedelta(seconds=9)),
    "capped": Overflow((), max_in_flight_per_replica=64),
}


async def asked_from(front: str, source: str, forwarded: str = "") -> bytes:
    """Ask once over a connection from an address, and tell which server answered."""
    connection = await client.open_to(front, source=source)
    try:
        headers = [("x-forwarded-for", forwarded)] if forwarded else []
        return (await connection.get("/v1/models", headers=headers)).body.content
    finally:
        connection.abort()


@pytest.mark.parametrize("way", WAYS)
async def test_all_requests_of_a_client_go_to_one_server_as_long_as_that_is_there(tmp_path: Path, way: str) -> None:
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(upstream(f"server-{number}")) for number in range(4)]
        remote = await stack.enter_async_context(upstream("remote"))
        spec = builders.spec(remote=to(remote), overflow=WAYS[way])
        gate = await stack.enter_async_context(gateway(spec, tmp_path, local=servers, client_ip_affinity=True))
        sources = [f"127.0.0.{number}" for number in range(2, 34)]

        first = {source: await asked_from(gate.front, source) for source in sources}
        again = {
            source: await asked_from(gate.front, source, f"10.0.0.{turn}, 10.1.1.{turn}")
            for turn, source in enumerate(sources)
        }
        gone = next(server for server in servers if server.name.encode() == first[sources[0]])
        await gone.stop()
        after = {source: await asked_from(gate.front, source) for source in sources}

    assert again == first
    assert len(set(first.values())) == 4
    assert gone.name.encode() not in after.values()
    assert b"remote" not in after.values()
    stayed = [source for source in sources if first[source] != gone.name.encode()]
    # The points of the ring are shared out anew among those that are left, so a few go elsewhere.
    assert sum(after[source] == first[source] for source in stayed) >= 0.7 * len(stayed)


async def test_another_port_is_passed_through_as_it_is(tmp_path: Path) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(100):
            writer.write(piece.upper())
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    listen = f"127.0.0.1:{free_port()}"
    async with (
        server,
        upstream("local") as local,
        upstream("remote") as remote,
        gateway(
            builders.spec(remote=to(remote)), tmp_path, local=[local], tcp_passthrough=((listen, f"127.0.0.1:{port}"),)
        ) as gate,
    ):
        await gate.offload(100)
        reader, writer = await asyncio.open_connection(*listen.split(":"))
        writer.write(b"\x00not http\xff")
        answered = await reader.readexactly(10)
        writer.write_eof()
        rest = await reader.read()
        writer.close()
        await writer.wait_closed()

    assert (answered, rest) == (b"\x00NOT HTTP\xff", b"")


async def test_a_gateway_tells_whether_it_reaches_the_model(tmp_path: Path) -> None:
    async def reached() -> bool:
        return (await client.get(gate.params.stats, routes.REACH_PATH)).header(routes.REACHED) is not None

    async with (
        upstream("local") as local,
        upstream("remote") as remote,
        gateway(builders.spec(remote=to(remote)), tmp_path, local=[local]) as gate,
    ):
        await gate.offload(100)
        before = await reached()
        await local.stop()
        after = await reached()

    assert (before, after) == (True, False)
    assert remote.requests == []
