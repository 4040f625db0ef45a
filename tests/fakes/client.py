"""A client that sends exactly what it is told to."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from fakes import http1
from fakes.http1 import Message

LONGEST_HEAD = 256 * 1024


class Client:
    """One kept connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def get(self, path: str = "/", *, headers: Iterable[tuple[str, str]] = (), method: str = "GET") -> Message:
        """Send a request without a body, and read the response."""
        await self.send_head(f"{method} {path} HTTP/1.1", headers)
        return await self.response()

    async def ask(self, path: str = "/", *, headers: Iterable[tuple[str, str]] = ()) -> Message:
        """Send a POST with an empty body, which may be offloaded by default, and read the response."""
        return await self.post(path, b"", headers=headers)

    async def post(self, path: str, body: bytes, *, headers: Iterable[tuple[str, str]] = ()) -> Message:
        """Send a request with a body, and read the response."""
        await self.send_head(f"POST {path} HTTP/1.1", (*headers, ("content-length", str(len(body)))))
        await self.send(body)
        return await self.response()

    async def send_head(self, line: str, headers: Iterable[tuple[str, str]]) -> None:
        """Send a first line, a Host unless it is among the headers, and the headers."""
        own = tuple(headers)
        host = () if any(name.lower() == "host" for name, _ in own) else (("host", "model.test"),)
        await self.send(http1.head_bytes(line, (*host, *own)))

    async def send(self, piece: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(piece)
        await self.writer.drain()

    async def head(self) -> Message:
        """Read the head of a response; ConnectionError if there is none."""
        head = await http1.read_head(self.reader)
        if head is None:
            raise ConnectionError("closed without a response")
        return head

    async def response(self) -> Message:
        """Read a whole response."""
        head = await self.head()
        return Message(head.line, head.headers, await http1.read_body(self.reader, head))

    def abort(self) -> None:
        """Go away without a word."""
        self.writer.transport.abort()


@asynccontextmanager
async def connect(address: str) -> AsyncIterator[Client]:
    """Stay connected until the block ends."""
    client = await open_to(address)
    try:
        yield client
    finally:
        client.abort()


async def open_to(address: str, *, source: str = "") -> Client:
    """Connect to `host:port` or `unix:/path`, to be left with `abort`; from an address of this machine if one is given."""
    if address.startswith("unix:"):
        return Client(*await asyncio.open_unix_connection(address.removeprefix("unix:"), limit=LONGEST_HEAD))
    host, _, port = address.rpartition(":")
    origin = (source, 0) if source else None
    streams = await asyncio.open_connection(host.strip("[]"), int(port), limit=LONGEST_HEAD, local_addr=origin)
    return Client(*streams)


async def get(
    address: str, path: str = "/", *, headers: Iterable[tuple[str, str]] = (), method: str = "GET"
) -> Message:
    """Send one request on a connection of its own."""
    async with connect(address) as client:
        return await client.get(path, headers=headers, method=method)


async def ask(address: str, path: str = "/", *, headers: Iterable[tuple[str, str]] = ()) -> Message:
    """Send one POST with an empty body on a connection of its own."""
    async with connect(address) as client:
        return await client.ask(path, headers=headers)
