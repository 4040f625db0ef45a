"""A model server or a remote: it records what it received, and answers as told."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from fakes import http1
from fakes.http1 import Message

LONGEST_HEAD = 256 * 1024


class Exchange:
    """One request, and the way to answer it."""

    def __init__(self, request: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.request = request
        self._reader = reader
        self._writer = writer

    @property
    def client(self) -> str:
        """Return the name in the certificate that the client has shown; "" for none."""
        shown = self._writer.get_extra_info("peercert") or {}
        return "".join(value for part in shown.get("subject", ()) for name, value in part if name == "commonName")

    async def respond(
        self, body: bytes = b"", *, status: str = "200 OK", headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Answer at once, with a length."""
        length = ("content-length", str(len(body)))
        self._writer.write(http1.head_bytes(f"HTTP/1.1 {status}", (*headers, length)) + body)
        await self._writer.drain()

    async def begin(self, *, headers: Iterable[tuple[str, str]] = (), length: int | None = None) -> None:
        """Answer with a head, to be followed by pieces: in chunks, unless a length is told."""
        framing = ("content-length", str(length)) if length is not None else ("transfer-encoding", "chunked")
        self._writer.write(http1.head_bytes("HTTP/1.1 200 OK", (*headers, framing)))
        await self._writer.drain()

    async def send(self, piece: bytes) -> None:
        """Send a chunk; an empty one ends the body."""
        await self.send_raw(http1.chunk(piece))

    async def send_raw(self, piece: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(piece)
        await self._writer.drain()

    async def gone(self) -> None:
        """Wait until the other side has closed."""
        with suppress(ConnectionError):
            while await self._reader.read(http1.PIECE):
                pass

    def reset(self) -> None:
        """Close without a word."""
        self._writer.transport.abort()


Answer = Callable[[Exchange], Awaitable[None]]


@dataclass
class Upstream:
    """A server on this machine. `requests` are those that were received whole."""

    name: str
    answer: Answer
    host: str = "127.0.0.1"
    port: int = 0
    tls: ssl.SSLContext | None = None
    requests: list[Message] = field(default_factory=list)
    connections: int = 0
    _server: asyncio.Server | None = None
    _serving: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def address(self) -> str:
        """Return its `host:port`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    async def start(self) -> None:
        """Begin to listen; after a stop, on the same port."""
        self._server = await asyncio.start_server(self._serve, self.host, self.port, ssl=self.tls, limit=LONGEST_HEAD)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening, and cut all connections."""
        if self._server is None:
            return
        self._server.close()
        serving = tuple(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        self._serving.add(task)
        try:
            # On 3.11 asyncio's own callback stumbles over a cancelled task; it ends here in any case.
            with suppress(ConnectionError, asyncio.CancelledError):
                while (head := await http1.read_head(reader)) is not None:
                    request = Message(head.line, head.headers, await http1.read_body(reader, head))
                    self.requests.append(request)
                    await self.answer(Exchange(request, reader, writer))
        finally:
            self._serving.discard(task)
            writer.transport.abort()


@asynccontextmanager
async def upstream(
    name: str, answer: Answer | None = None, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Upstream]:
    """Run a server; without an answer of its own it tells its name."""
    server = Upstream(name, answer or tells(name), host=host, tls=tls)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def tells(name: str) -> Answer:
    """Answer every request with the name."""

    async def answer(exchange: Exchange) -> None:
        await exchange.respond(name.encode())

    return answer
