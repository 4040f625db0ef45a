"""Splits the byte stream of a watch into lines."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing

SHOWN = 1024


async def read(pieces: AsyncGenerator[bytes, None], *, longest: int) -> AsyncIterator[str]:
    """Yield the lines of a stream. Only a line feed ends a line.

    An object may contain other line separators, such as U+0085, unescaped. Of a line longer than `longest` bytes, only
    the beginning is kept in memory and yielded.
    """
    line = _PartialLine(longest)
    async with aclosing(pieces):
        async for piece in pieces:
            for each in line.add(piece):
                yield each
    if line.held:
        yield line.take()


class _PartialLine:
    """The incomplete line at the end of what was received."""

    def __init__(self, longest: int) -> None:
        self.held = bytearray()
        self._longest = longest

    def add(self, piece: bytes) -> Iterator[str]:
        """Add received bytes, and return the completed lines."""
        *complete, rest = piece.split(b"\n")
        for part in complete:
            self._extend(part)
            yield self.take()
        self._extend(rest)

    def take(self) -> str:
        """Return the line and start the next."""
        held, self.held = self.held, bytearray()
        return (held if len(held) <= self._longest else held[:SHOWN]).decode(errors="replace")

    def _extend(self, part: bytes) -> None:
        self.held += part[: self._longest + 1 - len(self.held)]
