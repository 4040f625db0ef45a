"""Load: several connections that send requests continuously, and the outcome of each."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fakes import client

SERVED_BY = "x-offload-served-by"


@dataclass
class Tally:
    """What became of the requests: those answered by status and side, and those without an answer."""

    answered: Counter[tuple[str, str]] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Count all requests."""
        return sum(self.answered.values()) + len(self.failed)

    @property
    def good(self) -> int:
        """Count the requests that were answered with 200."""
        return sum(count for (status, _), count in self.answered.items() if status == "200")

    def by(self, side: str) -> int:
        """Count the requests that this side answered."""
        return sum(count for (_, served_by), count in self.answered.items() if served_by == side)


async def ask(address: str, *, requests: int, connections: int = 16) -> Tally:
    """Send so many requests over so many kept connections."""
    tally, left = Tally(), iter(range(requests))
    async with asyncio.TaskGroup() as tasks:
        for _ in range(connections):
            tasks.create_task(_worker(address, tally, lambda: next(left, None) is not None))
    return tally


@asynccontextmanager
async def asking(address: str, *, connections: int = 8, kept: bool = True, pause: float = 0) -> AsyncIterator[Tally]:
    """Keep asking, on kept connections or on a new one each time, with a pause after each answer, until the block ends; every request that was begun is answered or counted as failed."""
    tally, over = Tally(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(connections):
            tasks.create_task(_worker(address, tally, lambda: not over.is_set(), kept=kept, pause=pause))
        try:
            yield tally
        finally:
            over.set()


async def _worker(address: str, tally: Tally, more: Callable[[], bool], *, kept: bool = True, pause: float = 0) -> None:
    connection = None
    while more():
        try:
            if connection is None:
                connection = await client.open_to(address)
            answer = await connection.post(
                "/v1/completions", b'{"prompt": "hello"}', headers=[("content-type", "application/json")]
            )
        except OSError as error:
            tally.failed.append(repr(error))
            connection = None
        else:
            tally.answered[(answer.line[1], answer.header(SERVED_BY) or "")] += 1
            if not kept or answer.header("connection") == "close":
                connection.abort()
                connection = None
        await asyncio.sleep(pause)
    if connection is not None:
        connection.abort()
