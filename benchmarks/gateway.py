"""What the gateway costs a request, beside no proxy and beside proxies that do nothing else.

`wrk` with 16 kept connections sends POSTs with a body and is answered with as many bytes. Rounds are interleaved: in each,
every peer has its turn. Saturated rounds tell throughput and CPU, rounds at about 1,000 requests/s the latency of a
gateway that is not busy.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import machine, peers
from benchmarks.peers import Peer

ROUNDS = 5
SATURATED_SECONDS = 1
PACED_SECONDS = 2
CONNECTIONS = 16
RATE = 1000

SCRIPT = """
local head, tail = '{{"model":"model","prompt":"', '"}}'
wrk.method, wrk.body = "POST", head .. string.rep("x", {size} - #head - #tail) .. tail
wrk.headers["content-type"] = "application/json"
{pace}
done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format("figures %d %d %f %f %d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""
PACE = "function delay() return math.random(0, {most}) end"


@dataclass(frozen=True, slots=True)
class Figures:
    """One turn: requests a second, latencies in ms, CPU of the proxy in us a request (0 without a proxy)."""

    rate: float
    p50: float
    p99: float
    cpu: float


async def main() -> None:
    async with _peers() as (folder, all_of_them):
        for size in peers.SIZES:
            figures = await _rounds(folder, all_of_them, size=size, paced=False)
            _print_saturated(figures, f"Gateway, {size // 1024} KiB there and back, as fast as it goes")
        figures = await _rounds(folder, all_of_them, size=peers.SIZES[0], paced=True)
        _print_paced(figures)


@asynccontextmanager
async def _peers() -> AsyncIterator[tuple[Path, Sequence[Peer]]]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        port = await stack.enter_async_context(peers.server(folder))
        proxies = [
            await stack.enter_async_context(each)
            for each in (
                peers.nginx(folder, port),
                peers.haproxy(folder, port),
                peers.bare_envoy(folder, port),
                peers.gateway(folder, port, share=0),
                peers.gateway(folder, port, share=50),
                peers.gateway(folder, port, share=0, spec=peers.ALL_ON, named="all on"),
                peers.gateway(folder, port, share=50, spec=peers.ALL_ON, named="all on"),
                peers.gateway(folder, port, share=0, spec=peers.SLOW, named="and local hop"),
            )
        ]
        yield folder, (Peer("direct", port), *proxies)


async def _rounds(folder: Path, each: Sequence[Peer], *, size: int, paced: bool) -> dict[str, Figures]:
    taken: dict[str, list[Figures]] = {peer.name: [] for peer in each}
    for turn in range(ROUNDS):
        # Every other round backwards, so that nobody always follows the same neighbour.
        for peer in each[:: 1 if turn % 2 == 0 else -1]:
            taken[peer.name].append(await _turn(folder, peer, size=size, paced=paced))
    return {name: _median(figures) for name, figures in taken.items()}


async def _turn(folder: Path, peer: Peer, *, size: int, paced: bool) -> Figures:
    script, seconds = folder / "load.lua", PACED_SECONDS if paced else SATURATED_SECONDS
    pace = PACE.format(most=2 * CONNECTIONS * 1000 // RATE) if paced else ""
    script.write_text(SCRIPT.format(size=size, pace=pace))
    before = machine.cpu(peer.pid) if peer.pid else 0.0
    words = (
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{seconds}s",
        "-s",
        str(script),
        f"http://127.0.0.1:{peer.port}/{size}",
    )
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(seconds + 30):
        printed, _ = await process.communicate()
    after = machine.cpu(peer.pid) if peer.pid else 0.0
    return _figures(peer, printed.decode(), cpu=after - before)


def _figures(peer: Peer, printed: str, *, cpu: float) -> Figures:
    said = next((line.split()[1:] for line in printed.splitlines() if line.startswith("figures ")), None)
    if said is None:
        raise RuntimeError(f"{peer.name}: wrk did not end well: {printed}")
    requests, microseconds, p50, p99, errors = map(float, said)
    if errors or not requests:
        raise RuntimeError(f"{peer.name}: {errors:g} errors in {requests:g} requests")
    return Figures(requests / (microseconds / 1e6), p50 / 1000, p99 / 1000, cpu / requests * 1e6)


def _median(figures: Sequence[Figures]) -> Figures:
    def of(value: Callable[[Figures], float]) -> float:
        return median(map(value, figures))

    return Figures(of(lambda f: f.rate), of(lambda f: f.p50), of(lambda f: f.p99), of(lambda f: f.cpu))


def _print_saturated(figures: dict[str, Figures], title: str) -> None:
    direct, nginx, bare = figures["direct"], figures["nginx"], figures["Envoy, nothing on"]
    head = (
        "",
        "requests/s",
        "of direct",
        "of nginx",
        "p50 ms",
        "p99 ms",
        "CPU us/request",
        "of nginx",
        "of bare Envoy",
    )
    rows = (
        (
            name,
            f"{it.rate:,.0f}",
            f"{it.rate / direct.rate:.2f}",
            f"{it.rate / nginx.rate:.2f}",
            f"{it.p50:.2f}",
            f"{it.p99:.2f}",
            *((f"{it.cpu:.0f}", f"{it.cpu / nginx.cpu:.1f}", f"{it.cpu / bare.cpu:.2f}") if it.cpu else "---"),
        )
        for name, it in figures.items()
    )
    machine.table(f"{title} (median of {ROUNDS} rounds of {SATURATED_SECONDS} s)", head, rows)


def _print_paced(figures: dict[str, Figures]) -> None:
    direct = figures["direct"]
    head = ("", "requests/s", "p50 ms", "p99 ms", "p50 added", "p99 added")
    rows = (
        (
            name,
            f"{it.rate:,.0f}",
            f"{it.p50:.2f}",
            f"{it.p99:.2f}",
            f"{it.p50 - direct.p50:+.2f}",
            f"{it.p99 - direct.p99:+.2f}",
        )
        for name, it in figures.items()
    )
    machine.table(
        f"Gateway, 1 KiB, at about {RATE:,} requests/s (median of {ROUNDS} rounds of {PACED_SECONDS} s)", head, rows
    )
