"""Bodies of the API server's responses, bounded in size; at most one layer of gzip is decoded."""

from collections.abc import AsyncIterator
from typing import Final

import httpx2

from beamlit_controller.controller import response_body

PLAIN: Final = dict([response_body.PLAIN])
LONGEST_REFUSAL: Final = 64 * 1024
"""Maximum number of bytes that are read of an error response."""


async def guard(response: httpx2.Response) -> None:
    """Check a response before the client reads any of it. Raises EncodingError if its encoding is not accepted.

    The client itself reads a 401 to its end before it sends the request again with a new token.
    """
    response_body.require(_encoding(response), gzip=True)
    if response.is_error and isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Beginning(response.stream)


async def whole(response: httpx2.Response, most: int) -> bytes:
    """Read a body. Raises BodyTooLargeError."""
    return await response_body.whole(response.aiter_raw(), encoding=_encoding(response), longest=most, gzip=True)


async def beginning(response: httpx2.Response) -> bytes:
    """Read the beginning of an error response; the rest is ignored."""
    raw, encoding = response.aiter_raw(), _encoding(response)
    return await response_body.beginning(raw, encoding=encoding, longest=LONGEST_REFUSAL, gzip=True)


def require_plain(response: httpx2.Response) -> None:
    """Check a watch, which is read as it comes. Raises EncodingError if it is compressed."""
    response_body.require(_encoding(response))


def _encoding(response: httpx2.Response) -> str:
    return str(response.headers.get("content-encoding", ""))


class _Beginning(httpx2.AsyncByteStream):
    """The beginning of a stream."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = LONGEST_REFUSAL
        async for piece in self._stream:
            yield piece[:left]
            left -= len(piece)
            if left <= 0:
                break

    async def aclose(self) -> None:
        await self._stream.aclose()
