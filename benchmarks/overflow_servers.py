"""The model servers of the `overflow` benchmark: the demo's, whose slots are halved on the way."""

import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from demo.certificates import Files
from demo.engine import Capacity
from prometheus_client.parser import text_string_to_metric_families

from benchmarks import machine
from benchmarks.packages import ROOT
from demo import certificates

MODEL = "llama"
TOKENS = "vllm:generation_tokens_total"
LOCAL = Capacity(slots=6, tokens_per_second=6, prefill_seconds=0.15)
REMOTE = Capacity(slots=48, tokens_per_second=6, prefill_seconds=0.3)
"""Few tokens a second, so that the servers themselves cost little: what is measured is who waits for a slot."""


@dataclass(frozen=True, slots=True)
class Servers:
    """What a setup stands before: two local servers and a remote behind TLS."""

    local: tuple[int, ...]
    remote: int
    tls: Files
    slots: int

    async def resize(self, slots: int) -> None:
        """Give each local server so many slots."""
        async with httpx2.AsyncClient(trust_env=False) as client:
            for port in self.local:
                (await client.put(f"http://127.0.0.1:{port}/slots/{slots}")).raise_for_status()

    async def generated(self) -> float:
        """Return the tokens that the local servers have generated."""
        async with httpx2.AsyncClient(trust_env=False) as client:
            pages = [await client.get(f"http://127.0.0.1:{port}/metrics") for port in self.local]
        return sum(
            sample.value
            for page in pages
            for family in text_string_to_metric_families(page.text)
            for sample in family.samples
            if sample.name == TOKENS
        )


def per_second(tokens: int) -> float:
    """Return the requests per second that the local servers can answer."""
    return 2 * LOCAL.slots / (LOCAL.prefill_seconds + (tokens - 1) / LOCAL.tokens_per_second)


@asynccontextmanager
async def demo(folder: Path) -> AsyncIterator[Servers]:
    """Run the demo's servers."""
    tls = certificates.make(folder / "tls")
    local, remote = (machine.free_port(), machine.free_port()), machine.free_port()
    secure = ("--certificate", str(tls.certificate), "--key", str(tls.key))
    async with AsyncExitStack() as stack:
        for port, capacity, more in (*((port, LOCAL, ()) for port in local), (remote, REMOTE, secure)):
            words = (*_server(port, capacity), *more)
            await stack.enter_async_context(machine.running(*words, log=folder / f"server-{port}", cwd=ROOT))
        for port in local:
            await up(f"http://127.0.0.1:{port}/health")
        await up(f"https://localhost:{remote}/health", ca=tls.ca)
        yield Servers(local, remote, tls, LOCAL.slots)


def _server(port: int, capacity: Capacity) -> tuple[str, ...]:
    return (
        *(sys.executable, "-m", "demo.server", "--model", MODEL, "--port", str(port)),
        *("--slots", str(capacity.slots), "--tokens-per-second", str(capacity.tokens_per_second)),
        *("--prefill-seconds", str(capacity.prefill_seconds)),
    )


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
