"""`wrk`: requests over kept connections for some seconds, as fast as it goes or at about a rate."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from benchmarks import machine
from benchmarks.peers import Peer

SCRIPT = """
local file = assert(io.open("{body}"))
wrk.method, wrk.body = "POST", file:read("*a")
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
class Load:
    """What is sent: POSTs of a body to a path; without a rate (requests a second) as fast as it goes."""

    path: str
    body: str
    connections: int
    seconds: int
    rate: int | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """One turn: requests a second, latencies in ms, CPU of the proxy in us a request (0 without a proxy)."""

    rate: float
    p50: float
    p99: float
    cpu: float


async def send(folder: Path, peer: Peer, load: Load) -> Figures:
    """Send it to a peer. Raises RuntimeError if any request fails."""
    script, body = folder / "load.lua", folder / "load.body"
    body.write_text(load.body)
    pace = PACE.format(most=2 * load.connections * 1000 // load.rate) if load.rate else ""
    script.write_text(SCRIPT.format(body=body, pace=pace))
    words = ("wrk", "-t1", f"-c{load.connections}", f"-d{load.seconds}s", "-s", str(script))
    before = machine.cpu(peer.pid) if peer.pid else 0.0
    address = f"http://127.0.0.1:{peer.port}{load.path}"
    process = await asyncio.create_subprocess_exec(*words, address, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(load.seconds + 30):
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
