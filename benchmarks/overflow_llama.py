"""A real llama.cpp server for the `overflow` benchmark: `OVERFLOW_SERVERS=llama python -m benchmarks overflow`.

The server computes in one thread, bound to a core. The load generator, the setup and the remote, which is one of the
demo's, run on any core. The speed of the server depends on the machine, so it is measured before the first setup.

llama.cpp can't change its number of slots while it runs. Instead, a process that never rests is started on the server's
core, and the kernel gives half of the core to each. The slots stay, at half the speed: a limit that was right before the
change is right after it, which is in favour of haproxy and LiteLLM.
"""

import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from demo.recorder import Phase

from benchmarks import machine, overflow_servers, packages
from benchmarks.overflow_load import Target, play
from benchmarks.overflow_servers import MODEL, Kind, Servers
from benchmarks.packages import ROOT

SLOTS = 4
METRICS = "preset: llamacpp"
COUNTER = "llamacpp:tokens_predicted_total"
WARM = Phase("warm", "warm", rate=20, seconds=0.2, offloading=False)
BURST = Phase("burst", "burst", rate=2000, seconds=0.03, offloading=False)
"""About 60 requests at once, so that nearly all the time every slot is busy."""
BURST_SECONDS = 120
BUSY = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"


async def per_second() -> float:
    """Measure the requests per second that the server can answer; NotInstalledError where there is none."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as text:
        folder = Path(text)
        async with _server(folder) as port:
            whole = await measured(_local(port))
        # A new server, because the first one has these prompts in its cache.
        async with _server(folder) as port, _busy(folder):
            half = await measured(_local(port))
    print(f"llama.cpp with {SLOTS} slots answers {whole:.1f} requests/s, and {half:.1f} on half a core", flush=True)
    return whole


def _local(port: int) -> Target:
    return Target((f"http://127.0.0.1:{port}",), MODEL)


async def measured(target: Target) -> float:
    """Return the requests per second that are answered while more wait; RuntimeError if one is not answered."""
    await play(target, [(WARM, _nothing)], seed=1, patience=BURST_SECONDS)
    began = time.monotonic()
    outcomes = await play(target, [(BURST, _nothing)], seed=2, patience=BURST_SECONDS)
    if lost := [outcome for outcome in outcomes if not outcome.answered]:
        why = lost[0].failure or "too slow"
        raise RuntimeError(f"{len(lost)} of {len(outcomes)} requests were not answered: {why}")
    return len(outcomes) / (time.monotonic() - began)


async def _nothing() -> None:
    """Begin with nothing."""


@asynccontextmanager
async def llama(folder: Path) -> AsyncIterator[Servers]:
    """Run a llama.cpp server, and one of the demo's as the remote."""
    async with AsyncExitStack() as stack:

        async def halve() -> None:
            await stack.enter_async_context(_busy(folder))

        remote, tls = await stack.enter_async_context(overflow_servers.remote(folder))
        port = await stack.enter_async_context(_server(folder))
        yield Servers((port,), remote, tls, SLOTS, METRICS, COUNTER, halve)


@asynccontextmanager
async def _server(folder: Path) -> AsyncIterator[int]:
    python, port = await packages.llamacpp(), machine.free_port()
    words = (python, ROOT / "benchmarks" / "real_server.py", str(port), f"--slots={SLOTS}", "--threads=1")
    async with machine.running(*words, f"--core={_core()}", log=folder / f"server-{port}"):
        await overflow_servers.up(f"http://127.0.0.1:{port}/health")
        yield port


@asynccontextmanager
async def _busy(folder: Path) -> AsyncIterator[None]:
    async with machine.running(sys.executable, "-c", BUSY, str(_core()), log=folder / "busy"):
        yield


def _core() -> int:
    return max(os.sched_getaffinity(0))


LLAMA = Kind("llama.cpp's", llama, per_second, "with another process on its core")
