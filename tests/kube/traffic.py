"""Clients of a model: a steady load over kept and over new connections, and long streams; nothing is ever tried again."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fakes import client
from fakes.http1 import Message
from fakes.load import SERVED_BY
from waiting import eventually

KEPT, NEW = 4, 2
PATIENCE = 240
STREAM_SECONDS = 15


@dataclass
class Traffic:
    """What became of every request so far; `rate` in requests a second may be changed at any time."""

    address: str
    rate: float
    answered: Counter[tuple[str, str]] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    streams: int = 0
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    def by(self, side: str) -> int:
        """Count the requests that this side answered."""
        return sum(count for (_, served_by), count in self.answered.items() if served_by == side)

    def share(self, since: "Counter[tuple[str, str]]") -> float:
        """Return the percentage that the remote answered since a copy of `answered` was taken."""
        lately = self.answered - since
        whole = sum(lately.values())
        remote = sum(count for (_, served_by), count in lately.items() if served_by == "remote")
        return 100 * remote / whole if whole else 0.0

    async def more(self, count: int) -> None:
        """Wait until so many more requests were answered."""
        before = sum(self.answered.values())
        await eventually(lambda: sum(self.answered.values()) - before >= count, within=PATIENCE, every=0.1)

    async def work(self, *, kept: bool) -> None:
        """Send one request after another."""
        connection: client.Client | None = None
        try:
            while not self._over.is_set():
                began = asyncio.get_running_loop().time()
                connection = await self._ask(connection)
                if connection is not None and not kept:
                    connection.abort()
                    connection = None
                await self._pause(began + (KEPT + NEW) / self.rate)
        finally:
            if connection is not None:
                connection.abort()

    async def _ask(self, connection: client.Client | None) -> client.Client | None:
        """Send one request, and give the connection if it may be used again."""
        try:
            connection = connection or await client.open_to(self.address)
            return self._note(await connection.post("/v1/completions", b'{"prompt": "hello"}'), connection)
        except OSError as error:
            self.failed.append(repr(error))
            if connection is not None:
                connection.abort()
            return None

    async def stream(self) -> None:
        """Read one long stream after another, to the end."""
        while not self._over.is_set():
            try:
                async with client.connect(self.address) as connection:
                    answer = await connection.ask(f"/v1/chat?stream={STREAM_SECONDS}s&burn=0s")
                if not answer.body.content.rstrip().endswith(b"[DONE]"):
                    self.failed.append("a stream that ended early")
                self.streams += 1
            except OSError as error:
                self.failed.append(f"a stream that was cut: {error!r}")
                await self._pause(asyncio.get_running_loop().time() + 0.5)

    def end(self) -> None:
        """Begin no more requests."""
        self._over.set()

    def _note(self, answer: Message, connection: client.Client) -> client.Client | None:
        status = answer.line[1]
        self.answered[status, answer.header(SERVED_BY) or ""] += 1
        if status != "200":
            self.failed.append(f"{status} {answer.body.content[:200]!r}")
        if (answer.header("connection") or "").lower() == "close":
            connection.abort()
            return None
        return connection

    async def _pause(self, until: float) -> None:
        left = until - asyncio.get_running_loop().time()
        if left > 0:
            try:
                async with asyncio.timeout(left):
                    await self._over.wait()
            except TimeoutError:
                return


@asynccontextmanager
async def flowing(address: str, *, rate: float, streams: int = 0) -> AsyncIterator[Traffic]:
    """Send requests until the block ends; all that were begun are waited for."""
    traffic = Traffic(address, rate)
    async with asyncio.TaskGroup() as tasks:
        for number in range(KEPT + NEW):
            tasks.create_task(traffic.work(kept=number < KEPT))
        for _ in range(streams):
            tasks.create_task(traffic.stream())
        try:
            yield traffic
        finally:
            traffic.end()
