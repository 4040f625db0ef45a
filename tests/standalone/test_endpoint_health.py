"""Which local servers are down, by what Envoy tells of them and by a connection to those that failed. With real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack

import pytest

from beamlit_controller.standalone.endpoint_health import EndpointHealth, EndpointStatus
from fakes.ports import free_port

IP = "127.0.0.1"


@pytest.fixture
async def listening() -> AsyncIterator[int]:
    """Return the port of a server."""

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(accept, IP, 0) as server:
        yield server.sockets[0].getsockname()[1]


def status(port: int, *, host: str = IP, ip: str = IP, ejected: bool = False, failed: int = 0) -> EndpointStatus:
    return EndpointStatus(ip=ip, host=host, port=port, ejected=ejected, failed_connections=failed)


async def test_a_server_that_refuses_is_down_before_it_is_ejected_and_after(listening: int) -> None:
    """A server that nobody listened at was ready again as soon as its ejection was over, until three more requests failed."""
    health, dead = EndpointHealth(), free_port()
    good = status(listening)

    before = await health.look([good, status(dead, failed=1)])
    meanwhile = await health.look([good, status(dead, failed=3, ejected=True)])
    after = await health.look([good, status(dead, failed=3)])

    assert before == meanwhile == after == {f"{IP}:{dead}"}


async def test_a_server_that_accepts_connections_again_is_ready_without_a_request(listening: int) -> None:
    health = EndpointHealth()
    ejected = await health.look([status(listening, failed=3, ejected=True)])

    back = await health.look([status(listening, failed=3)])

    assert (ejected, back) == ({f"{IP}:{listening}"}, frozenset())


async def test_a_server_that_no_request_failed_at_is_not_asked() -> None:
    assert await EndpointHealth().look([status(free_port())]) == frozenset()


async def test_a_name_is_down_once_all_its_addresses_are(listening: int) -> None:
    health = EndpointHealth()
    there = status(listening, host="a.lan")

    one = await health.look([there, status(listening, host="a.lan", ip="::1", ejected=True)])
    both = await health.look(
        [status(listening, host="a.lan", ejected=True), status(1, host="a.lan", ip="::1", failed=1)]
    )

    assert one == {f"[::1]:{listening}"}
    assert both == {f"{IP}:{listening}", f"a.lan:{listening}", "[::1]:1", "a.lan:1"}


async def test_a_server_that_is_too_busy_to_accept_in_time_is_not_down() -> None:
    """Its queue of connections is full, as under load. Only one that was down stays so until it accepts."""
    health = EndpointHealth()
    with socket.socket() as busy, ExitStack() as waiting:
        busy.bind((IP, 0))
        busy.listen(0)
        port = busy.getsockname()[1]
        for _ in range(4):
            client = waiting.enter_context(socket.socket())
            client.settimeout(0)
            client.connect_ex((IP, port))

        first = await health.look([status(port, failed=1)])
        ejected = await health.look([status(port, failed=3, ejected=True)])
        then = await health.look([status(port, failed=3)])

    assert first == frozenset()
    assert ejected == then == {f"{IP}:{port}"}
