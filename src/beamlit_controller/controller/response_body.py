"""Reads the body of an HTTP response in bounded pieces, so that no server can occupy the event loop or the memory with it.

An HTTP client decodes every layer of `content-encoding` at once, however much a compressed byte expands to: 24 kB in
three layers of gzip take it minutes. Here at most one layer is decoded, of the bytes as they were received.
"""

import asyncio
import zlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Final

PLAIN: Final = ("accept-encoding", "identity")
"""The header that requests a body without compression. Some servers compress it nevertheless."""
PIECE: Final = 64 * 1024
"""Maximum size in bytes of a piece, and about how much is read before other tasks have their turn."""


class EncodingError(Exception):
    """The encoding of a body is not accepted, or broken."""


class BodyTooLargeError(Exception):
    """A body is larger than allowed, compressed or not."""


async def whole(raw: AsyncGenerator[bytes], *, encoding: str = "", longest: int, gzip: bool = False) -> bytes:
    """Return a body of at most `longest` bytes. Raises EncodingError or BodyTooLargeError."""
    body = bytearray()
    async with aclosing(pieces(raw, encoding=encoding, longest=longest, gzip=gzip)) as received:
        async for piece in received:
            body += piece
    return bytes(body)


async def beginning(raw: AsyncGenerator[bytes], *, encoding: str = "", longest: int, gzip: bool = False) -> bytes:
    """Return the first `longest` bytes of a body, or as many as can be decoded."""
    body = bytearray()
    with suppress(EncodingError, BodyTooLargeError):
        async with aclosing(pieces(raw, encoding=encoding, longest=longest, gzip=gzip)) as received:
            async for piece in received:
                body += piece
    return bytes(body)


async def pieces(
    raw: AsyncGenerator[bytes], *, encoding: str = "", longest: int, gzip: bool = False
) -> AsyncGenerator[bytes]:
    """Yield the first `longest` bytes of a body in pieces. Raises BodyTooLargeError if there are more.

    `encoding` is the response's `content-encoding`; with `gzip`, one layer of it is decoded. Raises EncodingError for
    any other, or if it is broken.
    """
    decoder, turn = _decoder(encoding, gzip=gzip), _Turn()
    left, unread = longest, longest + _OVERHEAD
    async with aclosing(_parts(raw)) as parts:
        async for part in parts:
            unread -= len(part)
            if unread < 0:
                raise BodyTooLargeError
            for piece in _decoded(decoder, part) if decoder else (part,):
                yield piece[:left]
                left -= len(piece)
                if left < 0:
                    raise BodyTooLargeError
                await turn.after(len(part) + len(piece))
            if decoder and decoder.eof:
                await _drop(parts)
                return
    if decoder:
        raise EncodingError("the gzip encoding of the body is broken: it ends early")


async def _drop(parts: AsyncGenerator[bytes]) -> None:
    """Read what follows a compressed body, so that the connection can be used again; only a little of it, whatever it is."""
    left = PIECE
    with suppress(Exception):
        async for part in parts:
            left -= len(part)
            if left < 0:
                return


async def _parts(raw: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with aclosing(raw):
        async for received in raw:
            for start in range(0, len(received), PIECE):
                yield received[start : start + PIECE]


@dataclass(slots=True)
class _Turn:
    """Lets other tasks have their turn after each large step."""

    step: int = 0

    async def after(self, size: int) -> None:
        self.step += size + _PER_PIECE
        if self.step > PIECE:
            self.step = 0
            await asyncio.sleep(0)


def require(encoding: str, *, gzip: bool = False) -> None:
    """Raise EncodingError if a `content-encoding` is none of those that are accepted."""
    _decoder(encoding, gzip=gzip)


def _decoder(encoding: str, *, gzip: bool) -> "zlib._Decompress | None":
    layer = ", ".join(each for each in encoding.lower().replace(",", " ").split() if each != "identity")
    if not layer:
        return None
    if gzip and layer in _ZIPPED:
        return zlib.decompressobj(_GZIP)
    got = layer if len(layer) <= _SHOWN and _KNOWN.issuperset(layer.replace(",", " ").split()) else "an unknown one"
    raise EncodingError(f"expected content-encoding {'gzip or none' if gzip else 'none'}, got {got}")


def _decoded(decoder: "zlib._Decompress", part: bytes) -> Iterator[bytes]:
    try:
        piece = decoder.decompress(part, PIECE)
        yield piece
        while decoder.unconsumed_tail or len(piece) == PIECE:
            piece = decoder.decompress(decoder.unconsumed_tail, PIECE)
            yield piece
    except zlib.error as error:
        raise EncodingError(f"the gzip encoding of the body is broken: {error}") from error


_ZIPPED = frozenset({"gzip", "x-gzip"})
_GZIP = 31
_KNOWN = frozenset({"br", "compress", "deflate", "zstd", "identity", *_ZIPPED})
_SHOWN = 100
_OVERHEAD = PIECE
"""What a compressed body may be larger than the decoded one."""
_PER_PIECE = 256
"""What a piece costs, in bytes: a body may come byte by byte."""
