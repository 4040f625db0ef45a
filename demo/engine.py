"""The inside of the demo's model server: slots that are few, a queue before them, and tokens at a steady rate."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

TEXT = "local first and remote when a metric says so then back again as soon as the queue is short"
LATENCY_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0)


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a server can do: requests at a time, tokens per second for each, time before the first, tokens one may hold."""

    slots: int
    tokens_per_second: float
    prefill_seconds: float = 0.1
    context_tokens: int = 512


class Meters:
    """What the server tells of itself, under the names and labels that vLLM gives them."""

    def __init__(self, model: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client left it untyped
        self.registry = CollectorRegistry()
        self._labels = {"model_name": model, "engine": "0"}
        self.waiting = self._gauge("num_requests_waiting", "Requests waiting to be processed.")
        self.running = self._gauge("num_requests_running", "Requests being processed.")
        self.cache_usage = self._gauge("kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.")
        self.queued = self._histogram("request_queue_time_seconds", "Time in the queue.")
        self.first_token = self._histogram("time_to_first_token_seconds", "Time from arrival to first token.")
        self.whole = self._histogram("e2e_request_latency_seconds", "Time from arrival to last token.")
        self.prompt_tokens = self._counter("prompt_tokens", "Prompt tokens processed.")
        self.generated_tokens = self._counter("generation_tokens", "Tokens generated.")

    def _gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(f"vllm:{name}", meaning, self._labels, registry=self.registry).labels(**self._labels)

    def _counter(self, name: str, meaning: str) -> Counter:
        return Counter(f"vllm:{name}", meaning, self._labels, registry=self.registry).labels(**self._labels)

    def _histogram(self, name: str, meaning: str) -> Histogram:
        family = Histogram(f"vllm:{name}", meaning, self._labels, registry=self.registry, buckets=LATENCY_BUCKETS)
        return family.labels(**self._labels)


class Engine:
    """Generates tokens for as many requests as there are slots; the others wait, first come, first served."""

    def __init__(self, capacity: Capacity, meters: Meters) -> None:
        self._capacity = capacity
        self._meters = meters
        self._slots = capacity.slots
        self._free = asyncio.Semaphore(capacity.slots)
        self._too_many = 0
        self._cache_tokens = capacity.slots * capacity.context_tokens
        self._held_tokens = 0

    async def resize(self, slots: int) -> None:
        """Have so many slots from now on; requests in slots that go are finished first."""
        for _ in range(slots - self._slots):
            self._release()
        self._too_many += max(0, self._slots - slots)
        self._slots = slots
        while self._too_many and not self._free.locked():
            await self._free.acquire()
            self._too_many -= 1

    async def generate(self, prompt_tokens: int, completion_tokens: int) -> AsyncGenerator[str, None]:
        """Yield the tokens of one answer, each when it is due; to stop early, close the iterator."""
        clock = asyncio.get_running_loop().time
        arrived = clock()
        async with self._slot(), self._cache(prompt_tokens) as hold:
            self._meters.queued.observe(clock() - arrived)
            self._meters.prompt_tokens.inc(prompt_tokens)
            due = clock() + self._capacity.prefill_seconds
            for index, word in enumerate(itertools.islice(itertools.cycle(TEXT.split()), completion_tokens)):
                await asyncio.sleep(due - clock())
                due += 1 / self._capacity.tokens_per_second
                hold(1)
                self._meters.generated_tokens.inc()
                if index == 0:
                    self._meters.first_token.observe(clock() - arrived)
                yield f"{word} "
            self._meters.whole.observe(clock() - arrived)

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        with self._meters.waiting.track_inprogress():
            await self._free.acquire()
        try:
            with self._meters.running.track_inprogress():
                yield
        finally:
            self._release()

    def _release(self) -> None:
        if self._too_many:
            self._too_many -= 1
        else:
            self._free.release()

    @asynccontextmanager
    async def _cache(self, prompt_tokens: int) -> AsyncIterator[Callable[[int], None]]:
        """Hold the prompt's tokens in the cache, and those that are generated, until the answer is done."""
        held = 0

        def hold(tokens: int) -> None:
            nonlocal held
            held += tokens
            self._held_tokens += tokens
            self._meters.cache_usage.set(self._held_tokens / self._cache_tokens)

        hold(prompt_tokens)
        try:
            yield hold
        finally:
            hold(-held)
