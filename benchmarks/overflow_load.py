"""The load of the `overflow` benchmark: the same requests at the same moments for each setup, and what became of them.

A request is sent when it is due, whether or not earlier ones were answered, and its time counts from then.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import httpx2
from demo.recorder import Phase

from demo import load

TIMEOUT = httpx2.Timeout(30, read=120, pool=None)
TOKENS = 8
WORDS = "a model serves its own machines first and what does not fit goes elsewhere at once"


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go, one address after the other, and with which key."""

    addresses: tuple[str, ...]
    model: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request: when it was due, and how long its first token took, or how long it has waited for one at the end."""

    at: float
    first_token: float
    answered: bool
    failure: str = ""


async def play(
    target: Target, phases: Iterable[tuple[Phase, Callable[[], Awaitable[None]]]], *, seed: int, patience: float
) -> tuple[Outcome, ...]:
    """Send all phases, each after what it begins with; after the last one, wait for the answers no longer than that."""
    outcomes: list[Outcome] = []
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx2.AsyncClient(timeout=TIMEOUT, limits=limits, trust_env=False) as client:
        sender = _Sender(target, client, outcomes)
        for number, (phase, begin) in enumerate(phases):
            await begin()
            await sender.run(phase, seed + number)
        await sender.finish(patience)
    return tuple(outcomes)


class _Sender:
    """Sends requests, and writes down what became of them."""

    def __init__(self, target: Target, client: httpx2.AsyncClient, outcomes: list[Outcome]) -> None:
        self._target = target
        self._client = client
        self._outcomes = outcomes
        self._began = time.monotonic()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sent = 0

    async def run(self, phase: Phase, seed: int) -> None:
        began = time.monotonic()
        for offset in load.arrivals(phase, seed):
            await asyncio.sleep(began + offset - time.monotonic())
            task = asyncio.create_task(self._account(began + offset))
            self._tasks.add(task)
        await asyncio.sleep(began + phase.seconds - time.monotonic())

    async def finish(self, patience: float) -> None:
        _, unanswered = await asyncio.wait(self._tasks, timeout=patience)
        for task in unanswered:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _account(self, due: float) -> None:
        heard = _Heard()
        failure, answered = "", False
        try:
            failure = await self._ask(heard)
            answered = not failure
        except httpx2.HTTPError as error:
            failure = f"{type(error).__name__}: {error}"
        finally:
            first = (heard.first_token or time.monotonic()) - due
            self._outcomes.append(Outcome(due - self._began, first, answered, failure))

    async def _ask(self, heard: "_Heard") -> str:
        self._sent += 1
        address = self._target.addresses[self._sent % len(self._target.addresses)]
        headers = {"authorization": f"Bearer {self._target.key}"} if self._target.key else {}
        body = {
            "model": self._target.model,
            "messages": [{"role": "user", "content": f"{self._sent} " + WORDS}],
            "max_tokens": TOKENS,
            "stream": True,
            "ignore_eos": True,
        }
        url = f"{address}/v1/chat/completions"
        async with self._client.stream("POST", url, json=body, headers=headers) as answer:
            if answer.status_code != httpx2.codes.OK:
                return f"HTTP {answer.status_code}"
            async for line in answer.aiter_lines():
                heard.hear(line)
        return "" if heard.whole else "cut off"


@dataclass(slots=True)
class _Heard:
    """One answer, as it comes in."""

    first_token: float | None = None
    whole: bool = False

    def hear(self, line: str) -> None:
        """Take one line of the stream."""
        if not line.startswith("data: "):
            return
        if line == "data: [DONE]":
            self.whole = True
        elif self.first_token is None and _content(line):
            self.first_token = time.monotonic()


def _content(line: str) -> str:
    choices = json.loads(line.removeprefix("data: ")).get("choices") or [{}]
    return (choices[0].get("delta") or {}).get("content") or ""
