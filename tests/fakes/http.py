"""An HTTP/1.1 server on a raw socket, which can answer in every way that no library would let it.

`async with http.serve(http.page(b"hello")) as server:` — what came is in `server.requests`; `server.respond` may be
exchanged at any time. Whatever it does ends with the `async with`.
"""

import asyncio
import functools
import gzip
import json as jsons
import ssl
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came: header names in lower case, and `connection` counts the connections from 1."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: int

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def asked(self) -> dict[str, str]:
        """The parameters of the URL and of a form together."""
        return dict(parse_qsl(urlsplit(self.target).query) + parse_qsl(self.body.decode()))


Respond = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class Server:
    """A server that runs."""

    respond: Respond
    address: str = ""
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    most_open: int = 0
    _readers: set[asyncio.StreamReader] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    @property
    def open_connections(self) -> int:
        """How many connections the other side has not closed."""
        return sum(not reader.at_eof() for reader in self._readers)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until either side has enough."""
        self.connections += 1
        number = self.connections
        self._readers.add(reader)
        self.most_open = max(self.most_open, self.open_connections)
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while not writer.is_closing():
                    request = await _request(reader, number)
                    self.requests.append(request)
                    await self.respond(request, writer)
        finally:
            self._readers.discard(reader)
            self._tasks.discard(task)
            writer.transport.abort()

    async def close(self) -> None:
        """Break all conversations off."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def serve(
    respond: Respond, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """Serve on this address of the machine itself, at a free port if none is given."""
    server = Server(respond)
    listener = await asyncio.start_server(server.converse, host, port, ssl=tls, limit=1024 * 1024)
    server.address = f"{host}:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        await server.close()
        await listener.wait_closed()


async def _request(reader: asyncio.StreamReader, connection: int) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *fields = head.rstrip("\r\n").split("\r\n")
    method, target, _ = line.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in fields)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, target, headers, body, connection)


# Ways to answer well.


def page(body: bytes | str = b"", *, status: int = 200, **headers: str) -> Respond:
    """Answer with a body; header names are written with _ for -."""
    content = body.encode() if isinstance(body, str) else body

    async def respond(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head(status, {"content-length": str(len(content)), **_dashed(headers)}) + content)
        await writer.drain()

    return respond


def json(document: object, *, status: int = 200, **headers: str) -> Respond:
    """Answer with JSON."""
    return page(jsons.dumps(document), status=status, content_type="application/json", **headers)


def by_path(**answers: Respond) -> Respond:
    """Answer each path, written without its slash, in its own way, and 404 elsewhere."""

    async def respond(request: Request, writer: asyncio.StreamWriter) -> None:
        await answers.get(request.path.strip("/"), page(status=404))(request, writer)

    return respond


def zipped(body: bytes) -> Respond:
    """Answer gzipped, whether that was asked for or not."""
    return page(gzip.compress(body), content_encoding="gzip")


def layers(body: bytes = b"", *, number: int = 3) -> Respond:
    """Answer with a body that is gzipped several times."""
    packed = functools.reduce(lambda content, _: gzip.compress(content), range(number), body)
    return page(packed, content_encoding=", ".join(["gzip"] * number))


def redirect(target: str, *, status: int = 302) -> Respond:
    return page(b"over there", status=status, location=target)


# Ways to misbehave.


async def silence(request: Request, writer: asyncio.StreamWriter) -> None:
    """Take the request and never answer."""
    await asyncio.Event().wait()


async def hang_up(request: Request, writer: asyncio.StreamWriter) -> None:
    """Take the request and close the connection."""
    writer.close()


async def reset(request: Request, writer: asyncio.StreamWriter) -> None:
    """Take the request and break the connection."""
    writer.transport.abort()


async def garbage(request: Request, writer: asyncio.StreamWriter) -> None:
    """Answer with what is no HTTP."""
    writer.write(b"\x16\x03\x01\x00\xa5 certainly not HTTP\r\n\r\n")
    writer.close()


async def endless_header(request: Request, writer: asyncio.StreamWriter) -> None:
    """Answer with a header that has no end."""
    writer.write(b"HTTP/1.1 200 OK\r\nx-long: ")
    while not writer.is_closing():
        writer.write(b"x" * 65536)
        await writer.drain()


def echo(*, status: int = 200) -> Respond:
    """Answer with the request, header and all."""

    async def respond(request: Request, writer: asyncio.StreamWriter) -> None:
        said = f"you said {request.target} {dict(request.headers)}"
        await page(said, status=status)(request, writer)

    return respond


def truncated(body: bytes, *, promised: int) -> Respond:
    """Promise more bytes than there are, and close."""

    async def respond(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head(200, {"content-length": str(promised)}) + body)
        await writer.drain()
        writer.close()

    return respond


def endless(piece: bytes = b" " * 65536, *, status: int = 200, **headers: str) -> Respond:
    """Answer with a body that has no end, as fast as it is taken."""

    async def respond(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head(status, {"transfer-encoding": "chunked", **_dashed(headers)}))
        while not writer.is_closing():
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()

    return respond


def huge(size: int, **headers: str) -> Respond:
    """Answer with as many blanks as promised."""

    async def respond(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head(200, {"content-length": str(size), **_dashed(headers)}))
        left = size
        while left and not writer.is_closing():
            piece = min(left, 1024 * 1024)
            writer.write(b" " * piece)
            await writer.drain()
            left -= piece

    return respond


def bomb(size: int) -> Respond:
    """Answer with a small gzipped body that unpacks to `size` blanks."""
    packer, block = zlib.compressobj(9, wbits=31), b" " * (1024 * 1024)
    first = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)  # this may be repeated: it looks back at nothing
    number = size // len(block)
    checksum = functools.reduce(lambda sum_, _: zlib.crc32(block, sum_), range(number), 0)
    packed = first + again * (number - 1) + packer.flush()[:-8] + struct.pack("<II", checksum, number * len(block))
    return page(packed, content_encoding="gzip")


def drip(body: bytes, *, interval: float) -> Respond:
    """Answer one byte at a time."""

    async def respond(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head(200, {"content-length": str(len(body))}))
        for each in body:
            writer.write(bytes([each]))
            await writer.drain()
            await asyncio.sleep(interval)

    return respond


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """Write a status line and headers."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _dashed(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
