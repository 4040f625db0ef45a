"""HTTP/1.1 by hand, so that tests control and see every byte; used by the fake servers and the test client."""

import asyncio
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

Headers = tuple[tuple[str, str], ...]

KEPT_BODY = 1024 * 1024
PIECE = 256 * 1024


@dataclass(frozen=True)
class Body:
    """A body as it was received: all of it if it is small, and its size and digest in any case."""

    content: bytes = b""
    size: int = 0
    digest: str = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class Message:
    """A request or a response: its first line in three parts, its headers, and its body."""

    line: tuple[str, str, str]
    headers: Headers
    body: Body = field(default_factory=Body)

    def header(self, name: str) -> str | None:
        """Return the values of a header, joined by commas; None if it is not there."""
        values = [value for key, value in self.headers if key == name.lower()]
        return ",".join(values) if values else None


async def read_head(reader: asyncio.StreamReader) -> Message | None:
    """Read up to the empty line; None if the other side has closed instead."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    a, b, c = (*first.split(" ", 2), "", "")[:3]
    pairs = (line.split(":", 1) for line in lines)
    return Message((a, b, c), tuple((name.lower(), value.strip()) for name, value in pairs))


async def read_body(reader: asyncio.StreamReader, head: Message, *, until_close: bool = False) -> Body:
    """Read a body with a length or in chunks; without either there is none, or all until the other side closes."""
    if "chunked" in (head.header("transfer-encoding") or ""):
        return await _collect(reader, chunks(reader))
    length = head.header("content-length")
    if length is None and until_close:
        return await _collect(reader, _until_close(reader))
    return await _collect(reader, _exactly(reader, int(length or 0)))


async def chunks(reader: asyncio.StreamReader):  # noqa: ANN201 - an async generator of bytes
    """Yield each chunk as it comes, as it was cut; ConnectionError if the stream ends before its last chunk."""
    while True:
        try:
            size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
            piece = (await reader.readexactly(size + 2))[:-2]
        except asyncio.IncompleteReadError:
            raise ConnectionError("the stream was cut") from None
        if not size:
            return
        yield piece


def head_bytes(line: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """Write a first line and headers, and the empty line."""
    return "".join([f"{line}\r\n", *(f"{name}: {value}\r\n" for name, value in headers), "\r\n"]).encode("latin-1")


def chunk(piece: bytes) -> bytes:
    """Write one chunk; an empty one ends the body."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


async def _exactly(reader: asyncio.StreamReader, size: int):  # noqa: ANN202 - an async generator of bytes
    while size:
        piece = await reader.read(min(size, PIECE))
        if not piece:
            raise ConnectionError(f"the body was cut, {size} bytes are missing")
        size -= len(piece)
        yield piece


async def _until_close(reader: asyncio.StreamReader):  # noqa: ANN202 - an async generator of bytes
    while piece := await reader.read(PIECE):
        yield piece


async def _collect(reader: asyncio.StreamReader, pieces) -> Body:  # noqa: ANN001 - an async iterator of bytes
    kept, size, digest = b"", 0, hashlib.sha256()
    async for piece in pieces:
        size += len(piece)
        digest.update(piece)
        if size <= KEPT_BODY:
            kept += piece
    return Body(kept if size <= KEPT_BODY else b"", size, digest.hexdigest())
