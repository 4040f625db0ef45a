"""What the gateway costs a request, beside no proxy and beside proxies that do nothing else.

`wrk` with 16 kept connections sends POSTs with a body and is answered with as many bytes. Rounds are interleaved: in each,
every peer has its turn. Saturated rounds tell throughput and CPU, rounds at about 1,000 requests/s the latency of a
gateway that is not busy.
"""

import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median

from benchmarks import load, machine, peers
from benchmarks.load import Figures, Load
from benchmarks.peers import Peer

ROUNDS = 5
SATURATED_SECONDS = 1
PACED_SECONDS = 2
CONNECTIONS = 16
RATE = 1000


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
    head, tail = '{"model":"model","prompt":"', '"}'
    body = f"{head}{'x' * (size - len(head) - len(tail))}{tail}"
    seconds = PACED_SECONDS if paced else SATURATED_SECONDS
    asked = Load(f"/{size}", body=body, connections=CONNECTIONS, seconds=seconds, rate=RATE if paced else None)
    return await load.send(folder, peer, asked)


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
