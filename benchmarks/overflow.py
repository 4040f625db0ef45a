"""More load than local can bear, and half of local gone on the way: who keeps local full and nobody waiting.

Model servers with few slots and a queue, a remote that has room for all, and the same requests at the same moments before
each setup: first a low load, then more than local can do, then the same with half of local. The servers are the demo's; with
`OVERFLOW_SERVERS=llama`, a real llama.cpp.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.recorder import Phase

from benchmarks import machine
from benchmarks.overflow_llama import LLAMA
from benchmarks.overflow_load import TOKENS, Outcome, play
from benchmarks.overflow_servers import DEMO, Kind, Servers
from benchmarks.overflow_setups import SETUPS, Setup
from benchmarks.packages import NotInstalledError

KINDS = {"demo": DEMO, "llama": LLAMA}
SERVERS = os.environ.get("OVERFLOW_SERVERS", "demo")
ROUNDS = int(os.environ.get("OVERFLOW_ROUNDS", "1"))
LOW, HIGH = 0.5, 1.6
LOW_SECONDS, HIGH_SECONDS, HALVED_SECONDS = 6, 32, 32
PATIENCE_SECONDS = 20
HEAD = (
    *("", "errors", "unanswered", "p50 s", "p95 s", "p99 s", "locally"),
    *("p95 s, halved", "locally, halved", "CPU ms/request", "lines"),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of a setup: what became of its requests, what local generated of it, and what the setup cost."""

    outcomes: tuple[Outcome, ...]
    local_tokens: tuple[float, float]
    """Before local was halved, and after."""
    cpu: float
    lines: int


def main() -> None:
    """Compare the setups on the servers that were asked for."""
    if SERVERS not in KINDS:
        sys.exit(f"expected OVERFLOW_SERVERS to be one of {', '.join(KINDS)}, got {SERVERS}")
    compare(KINDS[SERVERS])


def compare(kind: Kind) -> None:
    """Run all setups before these servers, and print what was measured."""
    try:
        capacity = asyncio.run(kind.per_second())
    except NotInstalledError as error:
        print(f"Overflow, {kind.name} servers: skipped, as {error}", flush=True)
    else:
        _print(kind, capacity, *_rounds(kind, capacity))


def _rounds(kind: Kind, capacity: float) -> tuple[dict[str, list[Measured]], dict[str, str]]:
    """Run all setups in turn, as many rounds as asked for, every other one in reverse order; also say why some were skipped."""
    runs: dict[str, list[Measured]] = {name: [] for name in SETUPS}
    skipped: dict[str, str] = {}
    for number in range(ROUNDS):
        for name, setup in list(SETUPS.items())[:: -1 if number % 2 else 1]:
            if name in skipped:
                continue
            try:
                runs[name].append(asyncio.run(_measured(kind, setup, capacity, seed=number)))
            except NotInstalledError as error:
                skipped[name] = str(error)
                print(f"{name}: skipped, as {error}", flush=True)
    return runs, skipped


async def _measured(kind: Kind, setup: Setup, capacity: float, *, seed: int) -> Measured:
    with tempfile.TemporaryDirectory(prefix="benchmark-") as text:
        folder = Path(text)
        own = folder / "setup"
        own.mkdir()
        async with kind.run(folder) as servers, setup(servers, own) as running:
            marks = _Marks(servers, capacity)
            used = running.cpu()
            outcomes = await play(running.target, marks.phases(), seed=seed * 10, patience=PATIENCE_SECONDS)
            return Measured(outcomes, await marks.tokens(), running.cpu() - used, running.lines)


class _Marks:
    """The course of a run, and how much local had generated at its turns."""

    def __init__(self, servers: Servers, capacity: float) -> None:
        self._servers = servers
        self._capacity = capacity
        self._seen: list[float] = []

    def phases(self) -> Sequence[tuple[Phase, Callable[[], Awaitable[None]]]]:
        capacity = self._capacity
        return (
            (Phase("low", "low", LOW * capacity, LOW_SECONDS, offloading=True), self._mark),
            (Phase("high", "high", HIGH * capacity, HIGH_SECONDS, offloading=True), self._nothing),
            (Phase("halved", "halved", HIGH * capacity, HALVED_SECONDS, offloading=True), self._halve),
        )

    async def tokens(self) -> tuple[float, float]:
        began, halved, ended = *self._seen, await self._servers.generated()
        return halved - began, ended - halved

    async def _mark(self) -> None:
        self._seen.append(await self._servers.generated())

    async def _nothing(self) -> None:
        """Go on."""

    async def _halve(self) -> None:
        await self._mark()
        await self._servers.halve()


def _print(kind: Kind, capacity: float, runs: dict[str, list[Measured]], skipped: Mapping[str, str]) -> None:
    title = (
        f"Overflow, {kind.name} servers: {HIGH:g} times what local can answer ({capacity:.1f} requests/s) for "
        f"{HIGH_SECONDS} s, then {HALVED_SECONDS} s more {kind.halved} (time to first token; {ROUNDS} rounds together)"
    )
    machine.table(title, HEAD, tuple(rows(runs, skipped)))
    print("A request that was unanswered at the end counts with the time that it had waited.", flush=True)


def rows(runs: Mapping[str, list[Measured]], skipped: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each setup, also for one that could not be installed."""
    for name, measured in runs.items():
        if measured:
            yield tuple(_row(name, measured))
        elif name in skipped:
            yield (f"{name}: not installed", *("-" for _ in HEAD[1:]))


def _row(name: str, runs: list[Measured]) -> Iterator[str]:
    outcomes = [outcome for run in runs for outcome in run.outcomes]
    halved = [outcome for outcome in outcomes if outcome.at >= LOW_SECONDS + HIGH_SECONDS]
    yield name
    yield str(sum(1 for outcome in outcomes if outcome.failure))
    yield str(sum(1 for outcome in outcomes if not outcome.answered and not outcome.failure))
    for share in (0.5, 0.95, 0.99):
        yield f"{_quantile(outcomes, share):.2f}"
    yield _locally(sum(sum(run.local_tokens) for run in runs), outcomes)
    yield f"{_quantile(halved, 0.95):.2f}"
    yield _locally(sum(run.local_tokens[1] for run in runs), halved)
    yield f"{1000 * sum(run.cpu for run in runs) / len(outcomes):.1f}" if runs[0].lines else "-"
    yield str(runs[0].lines)


def _quantile(outcomes: Sequence[Outcome], share: float) -> float:
    return machine.quantile([outcome.first_token for outcome in outcomes if not outcome.failure], share)


def _locally(tokens: float, outcomes: Sequence[Outcome]) -> str:
    return f"{tokens / (TOKENS * len(outcomes)):.0%}"
