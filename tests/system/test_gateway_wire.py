"""What was on the wire: every byte that either side received, held against what it must never see.

The sides are plain TCP servers that keep what comes, whatever a parser would make of it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

import builders
from beamlit_controller.core.spec import (
    ApiKey,
    HeaderMatch,
    OnRemoteFailure,
    Overflow,
    SecretKey,
)
from beamlit_controller.core.stickiness import HeaderStickiness
from fakes import client, secrets
from fakes.gateway import Gateway, gateway, to
from fakes.upstream import Upstream

pytestmark = pytest.mark.system

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
FAULTS = {
    "answers": OK,
    "429": b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n",
    "401": b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n",
    "500": b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
    "503": b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
    "redirects": b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n",
    "breaks off": b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
    "garbage": b"\x00\x01 nothing of HTTP\r\n\r\n",
    "closes": b"",
}
THEIRS = b"the-remotes-own-key"
CLIENTS = b"clients-own-secret"
MUST_STAY = b"restricted-text"
ASKED = (
    ("/v1/chat", (("authorization", "Bearer clients-own-secret"), ("x-api-key", "clients-own-secret"))),
    ("/v1/chat", (("cookie", "a=clients-own-secret"), ("x-offload", "remote"), ("x-session", "one"))),
    ("/v1/chat", (("x-data-class", "restricted"),)),
    ("/v1/chat", (("X-Data-Class", "public, RESTRICTED"), ("x-offload", "remote"), ("x-session", "one"))),
    ("/v1/chat", (("x-data-class", "public"), ("x-data-class", "restricted"), ("x-session", "two"))),
)


@dataclass
class Wire:
    """A port that keeps all that it receives, and answers each head with the same bytes."""

    answer: bytes
    port: int = 0
    received: bytearray = field(default_factory=bytearray)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        unanswered = b""
        try:
            while piece := await reader.read(65536):
                self.received += piece
                unanswered += piece
                # Every body here ends with this word.
                while b"end." in unanswered:
                    unanswered = unanswered.partition(b"end.")[2]
                    writer.write(self.answer)
                    if self.answer not in {FAULTS["closes"], FAULTS["breaks off"]}:
                        continue
                    return
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def end(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.mark.parametrize(
    ("local_fault", "policy"),
    [
        *((fault, OnRemoteFailure.LOCAL) for fault in ("answers", "503", "closes", "breaks off", "refuses")),
        ("503", OnRemoteFailure.FAIL),
    ],
)
async def test_neither_side_ever_receives_what_is_not_for_it(
    tmp_path: Path, local_fault: str, policy: OnRemoteFailure
) -> None:
    secrets.put(tmp_path, "remote", apiKey=THEIRS)
    for remote_fault, answer in FAULTS.items():
        folder = tmp_path / remote_fault.replace(" ", "-")
        folder.mkdir()
        async with _wire(FAULTS.get(local_fault, b"")) as local, _wire(answer) as remote:
            remote_side = Upstream("remote", None, port=remote.port)
            spec = builders.spec(
                remote=to(
                    remote_side, auth=ApiKey(SecretKey("remote", "apiKey")), model_names=(("here", "over-there"),)
                ),
                overflow=Overflow(on_status=(429, 503), max_in_flight_per_replica=1, after=timedelta(seconds=5)),
                on_remote_failure=policy,
                keep_local=(HeaderMatch("x-data-class", "restricted"),),
                stickiness=HeaderStickiness("x-session"),
                allow_override=True,
            )
            port = local.port if local_fault != "refuses" else 9
            params = {"secrets": str(tmp_path), "local": (f"127.0.0.1:{port}",)}
            async with gateway(spec, folder, share=50, **params) as gate:
                await asyncio.gather(*(_ask(gate, *each) for each in ASKED for _ in range(4)))

        assert CLIENTS not in remote.received
        assert MUST_STAY not in remote.received
        assert THEIRS not in local.received
        assert b"over-there" not in local.received
        if local_fault != "refuses":
            assert local.received.count(MUST_STAY) >= 12  # three that must stay, four times


async def _ask(gate: Gateway, path: str, headers: tuple[tuple[str, str], ...]) -> None:
    kept = any(name.lower() == "x-data-class" for name, _ in headers)
    body = b'{"model":"here","text":"%s end."}' % (MUST_STAY if kept else b"harmless")
    about = (*headers, ("content-type", "application/json"))
    try:
        async with client.connect(gate.front) as asker, asyncio.timeout(60):
            await asker.post(path, body, headers=about)
    except ConnectionError:
        pass  # what broke off, broke off


@asynccontextmanager
async def _wire(answer: bytes) -> AsyncIterator[Wire]:
    wire = Wire(answer)
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        server.close()
        await wire.end()
        await server.wait_closed()
