"""Envoy's admin socket, whatever sits behind it."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from beamlit_controller.standalone.admin import Admin, AdminError, NotRunningError, answered
from fakes import hold_up, http

ODD = ["", "{", "[]", "3", '{"listener_statuses": 3}', '{"listener_statuses": [{"name": {}}]}', "[" * 100_000]


async def silent_for_too_long(_: http.Request, __: asyncio.StreamWriter) -> None:
    hold_up.hold_up(4)
    await asyncio.Event().wait()


@asynccontextmanager
async def answering(folder: Path, body: str) -> AsyncIterator[Admin]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body.encode()))
        writer.close()

    async with await asyncio.start_unix_server(answer, folder / "admin.sock"):
        yield Admin(folder / "admin.sock")


@pytest.mark.parametrize("body", ODD, ids=range(len(ODD)))
async def test_an_answer_that_envoy_never_gives_is_an_admin_error(body: str, tmp_path: Path) -> None:
    async with answering(tmp_path, body) as admin:
        for ask in (admin.listeners, admin.active_requests):
            with pytest.raises(AdminError, match="expected JSON of Envoy, got another response"):
                await ask()


async def test_a_compressed_answer_is_an_admin_error(tmp_path: Path) -> None:
    server = http.Server(http.layers(b'{"listener_statuses": []}'))
    async with await asyncio.start_unix_server(server.converse, tmp_path / "admin.sock"):
        with pytest.raises(AdminError, match="expected content-encoding none"):
            await Admin(tmp_path / "admin.sock").listeners()

    assert server.requests[0].headers["accept-encoding"] == "identity"


async def test_listeners_are_named_with_their_addresses(tmp_path: Path) -> None:
    body = '{"listener_statuses": [{"name": "front", "local_address": {"socket_address": {"address": "::1", "port_value": 80}}}]}'

    async with answering(tmp_path, body) as admin:
        assert await admin.listeners() == {"front": "[::1]:80"}


async def test_asking_loads_no_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A default TLS context for each request took 40 ms: an idle controller used 4 % of a core per model."""
    contexts: list[object] = []
    transport = httpx2.AsyncHTTPTransport

    def made(**given: Any) -> httpx2.AsyncHTTPTransport:  # noqa: ANN401 - as httpx2 has it
        contexts.append(given["verify"])
        return transport(**given)

    monkeypatch.setattr(httpx2, "AsyncHTTPTransport", made)
    async with answering(tmp_path, '{"listener_statuses": []}') as admin:
        assert [await admin.listeners() for _ in range(2)] == [{}, {}]

    assert isinstance(contexts[0], ssl.SSLContext)
    assert contexts[0] is contexts[1]


async def test_envoy_is_not_running_where_nothing_can_be_connected_to(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(tmp_path / "left.sock"))

    for path in ("gone/admin.sock", "gone.sock", "left.sock"):
        with pytest.raises(NotRunningError):
            await Admin(tmp_path / path).listeners()


@pytest.mark.parametrize(
    ("answer", "said"),
    [(http.page(status=503), "expected status 200, got 503"), (http.hang_up, ""), (silent_for_too_long, "timed out")],
)
async def test_whatever_is_connected_to_is_running(answer: http.Respond, said: str, tmp_path: Path) -> None:
    server = http.Server(answer)
    async with await asyncio.start_unix_server(server.converse, tmp_path / "admin.sock"):
        with pytest.raises(AdminError) as raised:
            await Admin(tmp_path / "admin.sock").listeners()
        await server.close()

    assert not isinstance(raised.value, NotRunningError)
    assert said in str(raised.value)
    assert "Error" not in str(raised.value)


@pytest.mark.looptime
async def test_a_request_is_repeated_until_it_is_answered_or_envoy_is_not_running() -> None:
    outcomes: list[AdminError | int] = [AdminError("slow"), AdminError("odd"), 3, AdminError("slow"), NotRunningError()]

    async def ask() -> int:
        outcome = outcomes.pop(0)
        if isinstance(outcome, AdminError):
            raise outcome
        return outcome

    assert await answered(ask, period=2) == 3
    assert asyncio.get_running_loop().time() == 4
    with pytest.raises(NotRunningError):
        await answered(ask, period=2)


async def test_endpoints_are_told_with_what_became_of_them(tmp_path: Path) -> None:
    def host(address: str, **more: object) -> dict[str, object]:
        return {"hostname": "a.lan", "address": {"socket_address": {"address": address, "port_value": 80}}, **more}

    failed = [{"name": "cx_connect_fail", "value": "3"}, {"name": "cx_active", "type": "GAUGE"}]
    hosts = [host("::1", health_status={"failed_outlier_check": True}), host("10.0.0.1", stats=failed)]
    other = {"name": "other", "host_statuses": [host("10.0.0.2")]}

    body = json.dumps({"cluster_statuses": [other, {"name": "local", "host_statuses": hosts}]})
    async with answering(tmp_path, body) as admin:
        one, two = await admin.endpoints("local")

    assert (one.address, one.name, one.ejected, one.failed_connections) == ("[::1]:80", "a.lan:80", True, 0)
    assert (two.address, two.name, two.ejected, two.failed_connections) == ("10.0.0.1:80", "a.lan:80", False, 3)


async def test_an_answer_that_came_while_the_loop_was_held_up_is_read(tmp_path: Path) -> None:
    held_up = hold_up.after(http.json({"listener_statuses": []}), 4)

    async with await asyncio.start_unix_server(http.Server(held_up).converse, tmp_path / "admin.sock"):
        assert await Admin(tmp_path / "admin.sock").listeners() == {}
