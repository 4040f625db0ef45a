"""Model servers in processes of their own, and more chats than they have slots for."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from fakes.load import SERVED_BY
from fakes.ports import free_port
from waiting import eventually

ROOT = Path(__file__).parents[2]
QUESTION = {"model": "llama", "messages": [{"role": "user", "content": "where?"}], "max_tokens": 8, "stream": True}
WORKERS, SLOTS = 12, 3


@dataclass
class Server:
    """A model server in a process of its own, which can be killed and started again at the same port."""

    slots: int
    port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        words = ("-m", "demo.server", "--model=llama", f"--port={self.port}", f"--slots={self.slots}")
        more = ("--tokens-per-second=40", "--prefill-seconds=0.05")
        self.process = await asyncio.create_subprocess_exec(sys.executable, *words, *more, cwd=ROOT)
        await eventually(self._up, what="the model server answers")

    async def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    async def _up(self) -> bool:
        async with httpx2.AsyncClient(trust_env=False, verify=False) as client:
            try:
                return (await client.get(f"http://{self.address}/health")).is_success
            except httpx2.HTTPError:
                return False


@asynccontextmanager
async def server(slots: int) -> AsyncIterator[Server]:
    running = Server(slots)
    await running.start()
    try:
        yield running
    finally:
        await running.kill()


@dataclass
class Seen:
    """What became of the requests: answered in whole by a side, cut after the answer had begun, or lost before that."""

    whole: Counter[str] = field(default_factory=Counter)
    cut: int = 0
    lost: list[str] = field(default_factory=list)

    async def more(self, side: str, count: int = 10) -> None:
        """Wait until so many more were answered by a side."""
        before = self.whole[side]
        await eventually(lambda: self.whole[side] >= before + count, what=f"{count} more answers of {side}: {self}")


@asynccontextmanager
async def asking(front: str) -> AsyncIterator[Seen]:
    """Ask with several clients, each again and again, until the block ends."""
    seen, over = Seen(), asyncio.Event()
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=60) as client, asyncio.TaskGroup() as group:
        for _ in range(WORKERS):
            group.create_task(_asks(client, front, seen, over))
        try:
            yield seen
        finally:
            over.set()


async def _asks(client: httpx2.AsyncClient, front: str, seen: Seen, over: asyncio.Event) -> None:
    while not over.is_set():
        side = ""
        try:
            async with client.stream("POST", f"http://{front}/v1/chat/completions", json=QUESTION) as answer:
                if answer.status_code != 200:
                    seen.lost.append(f"{answer.status_code}: {(await answer.aread())[:200]!r}")
                    continue
                side = answer.headers[SERVED_BY]
                text = "".join([piece async for piece in answer.aiter_text()])
        except httpx2.HTTPError as error:
            if side:
                seen.cut += 1
            else:
                seen.lost.append(repr(error))
            continue
        if text.endswith("data: [DONE]\n\n"):
            seen.whole[side] += 1
        else:
            seen.cut += 1
