"""How long it takes from a metric that is visible to the first request that goes the new way.

The command as users run it reads a server's own metrics once a second. The server's value jumps at an arbitrary moment of
the period; a client asks all the time and notes when the remote first answers. The part up to the next reading is the
period's; what comes after the reading (parse, decide, push, route) is ours.
"""

import asyncio
import json
import random
import re
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx2

from benchmarks import machine

FLIPS = 12
PERIOD = 1
METRIC = "vllm:num_requests_waiting"
OUGHT_TO = 0.1  # seconds beyond the period


@dataclass
class Model:
    """A model server: its queue, and when a reading first told the present one."""

    queue: int = 0
    told_at: float | None = None

    def become(self, queue: int) -> float:
        """Take another value, and give the time of it."""
        self.queue, self.told_at = queue, None
        return time.monotonic()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests until the client goes."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if length := re.search(rb"(?i)content-length: *(\d+)", head):
                    await reader.readexactly(int(length[1]))
                body = b"ok"
                if head.startswith(b"GET /metrics"):
                    body = f"{METRIC} {self.queue}\n".encode()
                    self.told_at = self.told_at or time.monotonic()
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def main() -> None:
    local, remote = Model(), Model()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        ports = [await _listen(stack, model) for model in (local, remote)]
        front, web = (f"127.0.0.1:{machine.free_port()}" for _ in range(2))
        words = _files(folder, front=front, web=web, local=ports[0], remote=ports[1])
        await stack.enter_async_context(machine.running(*words, log=folder / "log"))
        client = await stack.enter_async_context(httpx2.AsyncClient(trust_env=False))
        await machine.until(lambda: _is_ready(client, web), within=30, what="the controller is ready")

        measured = [await _flip(local, front) for _ in range(FLIPS)]
    _print(measured)


def _print(measured: list[tuple[float, float]]) -> None:
    whole, ours = zip(*measured, strict=True)
    rows = (
        (name, *(f"{part(each) * 1000:,.0f}" for part in (min, _p50, max)), f"{max(each) / PERIOD:.2f}")
        for name, each in (
            ("metric visible to first request at the new share", whole),
            ("of it after the metric was read", ours),
        )
    )
    title = f"Reaction, ms ({FLIPS} jumps at arbitrary moments, period {PERIOD * 1000:,.0f} ms)"
    machine.table(title, ("", "least", "p50", "most", "most, of a period"), rows)
    said = "within" if max(whole) <= PERIOD + OUGHT_TO else "NOT within"
    print(f"The slowest is {said} a period and {OUGHT_TO:g} s.", flush=True)


def _p50(values: tuple[float, ...]) -> float:
    return machine.quantile(values, 0.5)


async def _flip(local: Model, front: str) -> tuple[float, float]:
    """Let the queue jump, and give the seconds until the remote first answered: since the jump, since it was read."""
    await _first(front, "local", streak=100)
    await asyncio.sleep(random.uniform(0, PERIOD))
    visible = local.become(50)
    moved = await _first(front, "remote")
    read = local.told_at or moved
    local.become(0)
    return moved - visible, moved - read


async def _first(front: str, side: str, *, streak: int = 1) -> float:
    """Ask until the side has answered so many times in a row, and give when the first of these was asked for."""
    host, _, port = front.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    count, began = 0, 0.0
    async with asyncio.timeout(30):
        while count < streak:
            asked = time.monotonic()
            writer.write(b"POST / HTTP/1.1\r\nhost: benchmark\r\ncontent-length: 0\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(2)
            served = f"x-offload-served-by: {side}".encode() in head
            count, began = (count + 1, began if count else asked) if served else (0, 0.0)
            await asyncio.sleep(0.001)
    writer.close()
    return began


async def _listen(stack: AsyncExitStack, model: Model) -> int:
    server = await asyncio.start_server(model.serve, "127.0.0.1", 0)
    stack.callback(server.close)
    return int(server.sockets[0].getsockname()[1])


async def _is_ready(client: httpx2.AsyncClient, web: str) -> bool:
    try:
        return (await client.get(f"http://{web}/readyz")).status_code == 200
    except httpx2.HTTPError:
        return False


def _files(folder: Path, *, front: str, web: str, local: int, remote: int) -> list[str | Path]:
    """Write manifest and settings, and give the command."""
    manifests = folder / "manifests"
    manifests.mkdir()
    (manifests / "llama.yaml").write_text(json.dumps(_manifest(remote)))
    settings = {
        "metricInformer": {"periodSeconds": PERIOD},
        "allowedRemoteHosts": ["127.0.0.1"],
        "standalone": {
            "services": {"default/llama": [f"127.0.0.1:{local}"]},
            "listen": {"default/llama": front},
            "webListen": web,
        },
    }
    (folder / "settings.yaml").write_text(json.dumps({"config": settings}))
    program = Path(sys.executable).parent / "beamlit-controller"
    places = (f"--manifests={manifests}", f"--settings={folder / 'settings.yaml'}", f"--state-dir={folder / 'state'}")
    return [program, "run", *places]


def _manifest(remote: int) -> dict[str, object]:
    target = {"type": "AverageValue", "averageValue": 10}
    return {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "llama"},
        "spec": {
            "serviceRef": {"name": "llama", "targetPort": 8000},
            "metricServiceRef": {"name": "llama", "targetPort": 8000},
            "offloadingConfig": {
                "remoteBackend": {"scheme": "http", "host": f"127.0.0.1:{remote}"},
                # Half, so that demand can still be seen and the share is given back at once.
                "behavior": {"percentage": 50, "release": {"stabilizationWindowSeconds": 0}},
                "metrics": [{"type": "Pods", "pods": {"metric": {"name": METRIC}, "target": target}}],
            },
        },
    }
