"""The load: requests sent when they are due, whether or not earlier ones were answered, and an account of each.

A latency counts from the moment a request was due, so that a late sender does not flatter the servers.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from demo.recorder import Begun, Phase, Recorder, Request, Side

SERVED_BY = "x-offload-served-by"
PATIENCE = httpx2.Timeout(10, read=120, pool=None)
"""A request in a queue is slow, not failed."""
MOST_REQUESTS_PER_PHASE = 5_000
UNANSWERED = "not answered when the run was over"
PREFIX, END = "data: ", "[DONE]"


@dataclass(frozen=True, slots=True)
class Question:
    """What every request asks: so many tokens of this model."""

    model: str
    prompt: str
    tokens: int

    @property
    def body(self) -> dict[str, Any]:
        """Return the request's body."""
        messages = [{"role": "user", "content": self.prompt}]
        return {"model": self.model, "messages": messages, "max_tokens": self.tokens, "stream": True}


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go: to the address with the fewest under way. `side` is who answers there, if that is known before."""

    addresses: tuple[str, ...]
    side: Side | None = None


class Load:
    """Sends requests, and writes in the book what became of them."""

    def __init__(
        self,
        book: Recorder,
        question: Question,
        *,
        now: Callable[[], float],
        client: httpx2.AsyncClient,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._book = book
        self._question = question
        self._now = now
        self._client = client
        self._tasks = tasks
        self._under_way: Counter[str] = Counter()
        self._requests: set[asyncio.Task[None]] = set()

    async def run(self, phase: Phase, target: Target, *, seed: int) -> None:
        """Send the requests of one phase; at its end, some may still be under way."""
        began = self.begin(phase)
        for offset in arrivals(phase, seed):
            await asyncio.sleep(began + offset - self._now())
            self._send(phase, target, due=began + offset)
        await asyncio.sleep(began + phase.seconds - self._now())

    def begin(self, phase: Phase) -> float:
        """Write in the book that a phase begins, and tell when."""
        began = self._now()
        self._book.begun.append(Begun(phase, began))
        return began

    async def finish(self, backoff: float) -> None:
        """Wait until no request is under way; those that are after so many seconds are cancelled, and have failed."""
        if self._requests:
            _, unanswered = await asyncio.wait(self._requests, timeout=backoff)
            for request in unanswered:
                request.cancel()

    def _send(self, phase: Phase, target: Target, *, due: float) -> None:
        address = min(target.addresses, key=self._under_way.__getitem__)
        self._book.came.append(due)
        self._under(address, 1)
        request = self._tasks.create_task(self._account(phase, address, target.side, due=due))
        self._requests.add(request)
        request.add_done_callback(self._requests.discard)

    async def _account(self, phase: Phase, address: str, side: Side | None, *, due: float) -> None:
        said = _Said(failure=UNANSWERED)
        try:
            await self._ask(address, said)
        finally:
            self._under(address, -1)
            self._book.requests.append(
                Request(
                    phase=phase.name,
                    at=due,
                    side=side or said.side,
                    first_token=None if said.first_token is None else said.first_token - due,
                    total=self._now() - due,
                    failure=said.failure,
                )
            )

    def _under(self, address: str, step: int) -> None:
        self._under_way[address] += step
        self._book.in_flight += step

    async def _ask(self, address: str, said: "_Said") -> None:
        try:
            said.failure = await self._stream(f"{address}/v1/chat/completions", said)
        except httpx2.HTTPError as error:
            said.failure = f"{type(error).__name__}: {error}"

    async def _stream(self, url: str, said: "_Said") -> str:
        """Read one answer to its end, and tell what was wrong with it; "" is nothing."""
        async with self._client.stream("POST", url, json=self._question.body) as answer:
            said.side = _side(answer.headers.get(SERVED_BY, ""))
            if answer.status_code != httpx2.codes.OK:
                return f"HTTP {answer.status_code}: {(await answer.aread()).decode(errors='replace')[:200]}"
            async for line in answer.aiter_lines():
                said.hear(line, self._now())
        if not said.whole:
            return f"cut off after {said.tokens} tokens"
        return "" if said.tokens == self._question.tokens else f"{said.tokens} tokens, not {self._question.tokens}"


@dataclass(slots=True)
class _Said:
    """One answer, as it comes in."""

    side: Side = Side.UNKNOWN
    first_token: float | None = None
    tokens: int = 0
    whole: bool = False
    failure: str = ""

    def hear(self, line: str, now: float) -> None:
        """Take one line of the stream. Each token is an event with a `content`; the rest frames them."""
        if line == PREFIX + END:
            self.whole = True
        elif line.startswith(PREFIX) and '"content":' in line:
            self.tokens += 1
            self.first_token = self.first_token or now


@asynccontextmanager
async def sending(book: Recorder, question: Question, now: Callable[[], float]) -> AsyncIterator[Load]:
    """Provide a load that writes in the book, with the times that `now` tells; the block's end waits for the requests under way, an error cancels them."""
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    async with (
        httpx2.AsyncClient(timeout=PATIENCE, limits=limits, trust_env=False) as client,
        asyncio.TaskGroup() as tasks,
    ):
        yield Load(book, question, now=now, client=client, tasks=tasks)


def arrivals(phase: Phase, seed: int) -> Iterator[float]:
    """Yield the offsets, in seconds, at which requests of a phase are due: a Poisson process, the same for the same seed."""
    draw = random.Random(seed)
    offset = 0.0
    for _ in range(MOST_REQUESTS_PER_PHASE):
        offset += draw.expovariate(phase.rate)
        if offset >= phase.seconds:
            return
        yield offset


def _side(header: str) -> Side:
    return Side(header) if header in tuple(Side) else Side.UNKNOWN
