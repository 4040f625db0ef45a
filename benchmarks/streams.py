"""How much later a chunk of an event stream arrives through a proxy.

A small server sends a chunk every few milliseconds, with the time of sending in it; the client, another process with the
same monotonic clock, subtracts. What the two take themselves is in the row `direct`; only the differences say something.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median

from benchmarks import machine, peers
from benchmarks.peers import Peer

ROUNDS = 3
STREAMS = 8
CHUNKS = 100
EVERY = 0.02  # seconds between the chunks of one stream

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
REQUEST = b"POST /v1/completions HTTP/1.1\r\nhost: benchmark\r\ncontent-length: 2\r\n\r\n{}"


async def main() -> None:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        words = (sys.executable, "-m", "benchmarks.streams")
        server = await stack.enter_async_context(machine.running(*words, log=folder / "server.log", pipes=True))
        port = int(await machine.line(server))
        proxies = [
            await stack.enter_async_context(each)
            for each in (
                peers.nginx(folder, port, buffering="off"),
                peers.haproxy(folder, port),
                peers.bare_envoy(folder, port),
                peers.gateway(folder, port, share=0),
                peers.gateway(folder, port, share=100),
                peers.gateway(folder, port, share=0, spec=peers.ALL_ON, named="all on"),
                peers.gateway(folder, port, share=100, spec=peers.ALL_ON, named="all on"),
            )
        ]
        await _rounds((Peer("direct", port), *proxies))


async def _rounds(each: Sequence[Peer]) -> None:
    taken: dict[str, list[tuple[float, float]]] = {peer.name: [] for peer in each}
    for turn in range(ROUNDS):
        for peer in each[:: 1 if turn % 2 == 0 else -1]:
            delays = await _turn(peer.port)
            taken[peer.name].append((machine.quantile(delays, 0.5), machine.quantile(delays, 0.99)))
    figures = {name: tuple(map(median, zip(*turns, strict=True))) for name, turns in taken.items()}
    base50, base99 = figures["direct"]
    rows = (
        (name, f"{p50:.2f}", f"{p99:.2f}", f"{p50 - base50:+.2f}", f"{p99 - base99:+.2f}")
        for name, (p50, p99) in figures.items()
    )
    title = f"SSE, ms from sending to receiving a chunk ({STREAMS} streams, a chunk every {EVERY * 1000:.0f} ms, median of {ROUNDS} rounds)"
    machine.table(title, ("", "p50", "p99", "p50 added", "p99 added"), rows)


async def _turn(port: int) -> list[float]:
    """Read the streams side by side, and give the delay of every chunk in ms."""
    async with asyncio.timeout(CHUNKS * EVERY + 20), asyncio.TaskGroup() as group:
        tasks = []
        for _ in range(STREAMS):
            tasks.append(group.create_task(_read(port)))
            await asyncio.sleep(EVERY / STREAMS)
    return [delay for task in tasks for delay in task.result()]


async def _read(port: int) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST)
    delays: list[float] = []
    while len(delays) < CHUNKS:
        line = await reader.readuntil(b"\n")
        if line.startswith(b"data: "):
            delays.append((time.monotonic_ns() - int(line[6:])) / 1e6)
    writer.close()
    return delays[1:]  # the first comes with the connection to the server


async def _serve() -> None:
    """Serve streams at a free port, which is printed, until ended."""
    server = await asyncio.start_server(_stream, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        for _ in range(CHUNKS):
            event = b"data: %d\n\n" % time.monotonic_ns()
            writer.write(b"%x\r\n%s\r\n" % (len(event), event))
            await asyncio.sleep(EVERY)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # somebody only looked whether we listen, or left
    finally:
        writer.close()


if __name__ == "__main__":
    asyncio.run(_serve())
