"""The lines of a watch, from the bytes of its answer."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing

SHOWN = 1024


async def read(pieces: AsyncGenerator[bytes, None], *, longest: int) -> AsyncIterator[str]:
    """Give the lines of a stream, each ended by a line feed and nothing else.

    An object may hold any other separator, such as U+0085, unescaped. Of a line with more bytes than `longest` only the
    beginning is given, and only that is held.
    """
    line = _PartialLine(longest)
    async with aclosing(pieces):
        async for piece in pieces:
            for each in line.add(piece):
                yield each
    if line.held:
        yield line.take()


class _PartialLine:
    """The line that is not complete yet."""

    def __init__(self, longest: int) -> None:
        self.held = bytearray()
        self._longest = longest

    def add(self, piece: bytes) -> Iterator[str]:
        """Take a piece of the stream in, and give the lines that it completes."""
        *complete, rest = piece.split(b"\n")
        for part in complete:
            self._extend(part)
            yield self.take()
        self._extend(rest)

    def take(self) -> str:
        """Give the line as it is and begin the next."""
        held, self.held = self.held, bytearray()
        return (held if len(held) <= self._longest else held[:SHOWN]).decode(errors="replace")

    def _extend(self, part: bytes) -> None:
        self.held += part[: self._longest + 1 - len(self.held)]
