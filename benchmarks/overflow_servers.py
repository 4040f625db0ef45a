"""The model servers of the `overflow` benchmark: what a setup has to know of them, and the demo's, which lose half of their slots."""

import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from demo.certificates import Files
from demo.engine import Capacity
from prometheus_client.parser import text_string_to_metric_families

from benchmarks import machine
from benchmarks.overflow_load import TOKENS
from benchmarks.packages import ROOT
from demo import certificates

MODEL = "llama"
LOCAL = Capacity(slots=6, tokens_per_second=6, prefill_seconds=0.15)
REMOTE = Capacity(slots=48, tokens_per_second=6, prefill_seconds=0.3)
"""Few tokens a second, so that the servers themselves cost little: what is measured is who waits for a slot."""
METRICS = """
metrics:
  - type: Pods
    pods:
      metric: {name: "vllm:num_requests_waiting"}
      target: {type: AverageValue, averageValue: 1}
"""


@dataclass(frozen=True, slots=True)
class Servers:
    """What a setup is in front of: local servers, and a remote behind TLS.

    `slots` is the number of requests that a local server processes at once, `metrics` the part of a manifest that names
    its metrics, and `counter` its metric of generated tokens. `halve` takes half of local's capacity away.
    """

    local: tuple[int, ...]
    remote: int
    tls: Files
    slots: int
    metrics: str
    counter: str
    halve: Callable[[], Awaitable[None]]

    async def generated(self) -> float:
        """Return the tokens that the local servers have generated."""
        async with httpx2.AsyncClient(trust_env=False) as client:
            pages = [await client.get(f"http://127.0.0.1:{port}/metrics") for port in self.local]
        return sum(
            sample.value
            for page in pages
            for family in text_string_to_metric_families(page.raise_for_status().text)
            for sample in family.samples
            if sample.name == self.counter
        )


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of model servers: whose they are, how to run them, how many requests per second local can answer, and how it is halved."""

    name: str
    run: Callable[[Path], AbstractAsyncContextManager[Servers]]
    per_second: Callable[[], Coroutine[object, object, float]]
    halved: str


async def per_second() -> float:
    """Return the requests per second that the demo's local servers can answer."""
    return 2 * LOCAL.slots / (LOCAL.prefill_seconds + (TOKENS - 1) / LOCAL.tokens_per_second)


@asynccontextmanager
async def demo(folder: Path) -> AsyncIterator[Servers]:
    """Run the demo's servers."""
    local = (machine.free_port(), machine.free_port())

    async def halve() -> None:
        async with httpx2.AsyncClient(trust_env=False) as client:
            for port in local:
                (await client.put(f"http://127.0.0.1:{port}/slots/{LOCAL.slots // 2}")).raise_for_status()

    async with AsyncExitStack() as stack, remote(folder) as (far, tls):
        for port in local:
            await stack.enter_async_context(_running(folder, port, LOCAL))
            await up(f"http://127.0.0.1:{port}/health")
        yield Servers(local, far, tls, LOCAL.slots, METRICS, "vllm:generation_tokens_total", halve)


@asynccontextmanager
async def remote(folder: Path) -> AsyncIterator[tuple[int, Files]]:
    """Run a remote behind TLS that has room for everything; yield its port and the files of its certificate."""
    tls, port = certificates.make(folder / "tls"), machine.free_port()
    async with _running(folder, port, REMOTE, "--certificate", str(tls.certificate), "--key", str(tls.key)):
        await up(f"https://localhost:{port}/health", ca=tls.ca)
        yield port, tls


@asynccontextmanager
async def _running(folder: Path, port: int, capacity: Capacity, *more: str) -> AsyncIterator[None]:
    words = (
        *(sys.executable, "-m", "demo.server", "--model", MODEL, "--port", str(port)),
        *("--slots", str(capacity.slots), "--tokens-per-second", str(capacity.tokens_per_second)),
        *("--prefill-seconds", str(capacity.prefill_seconds)),
    )
    async with machine.running(*words, *more, log=folder / f"server-{port}", cwd=ROOT):
        yield


async def up(url: str, *, ca: Path | None = None) -> None:
    """Wait until a URL answers well."""
    trust = ssl.create_default_context(cafile=ca)
    async with httpx2.AsyncClient(trust_env=False, verify=trust) as client:

        async def answers() -> bool:
            try:
                return (await client.get(url)).is_success
            except httpx2.HTTPError:
                return False

        await machine.until(answers, within=90, what=f"{url} answers")


DEMO = Kind("the demo's", demo, per_second, "with half of its slots")
