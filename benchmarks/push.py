"""How long it takes to tell all gateways their share, and what so many streams cost.

The RTDS server runs in a process of its own, one model for each gateway. The gateways are clients in another process,
each with a connection of its own. One change is a new share for every model at once. The times hold the clients' part
too: they are Python, on the same cores.
"""

import asyncio
import resource
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median

import grpc
from google.protobuf import json_format

from beamlit_controller.core.spec import ModelKey
from beamlit_controller.envoy.rtds import RUNTIME, SERVICE, RtdsServer
from beamlit_controller.envoy.rtds_pb2 import DiscoveryRequest, DiscoveryResponse, Node, Runtime
from beamlit_controller.telemetry import logs
from benchmarks import machine

COUNTS = (1_000, 5_000)
CHANGES = 5
AT_ONCE = 100
WITHIN = 90


async def main() -> None:
    rows = [await _measure(count) for count in COUNTS]
    head = ("streams", "all have it, s", "most, s", "us a stream", "connected in, s", "RSS MiB", "KiB a stream")
    machine.table(f"RTDS push, one change for every model at once (median of {CHANGES} changes)", head, rows)


async def _measure(count: int) -> tuple[str, ...]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        words = (sys.executable, "-m", "benchmarks.push")
        server = await stack.enter_async_context(
            machine.running(*words, "serve", str(count), log=folder / "server.log", pipes=True)
        )
        address = await machine.line(server)
        empty = machine.rss(server.pid)
        began = time.monotonic()
        clients = await stack.enter_async_context(
            machine.running(*words, "listen", address, str(count), log=folder / "clients.log", pipes=True)
        )
        connected = float(await machine.line(clients, within=WITHIN)) - began
        seconds = []
        for percentage in range(1, CHANGES + 1):
            await machine.tell(server, str(percentage))
            began = float(await machine.line(server, within=WITHIN))
            seconds.append(float(await machine.line(clients, within=WITHIN)) - began)
        full = machine.rss(server.pid)
    took = median(seconds)
    return (
        f"{count:,}",
        f"{took:.2f}",
        f"{max(seconds):.2f}",
        f"{took / count * 1e6:.0f}",
        f"{connected:.1f}",
        f"{full:.0f}",
        f"{(full - empty) / count * 1024:.0f}",
    )


# The server's process: prints its address; for each percentage it is told, prints when it began to set it.


async def _serve(count: int) -> None:
    shares = RtdsServer()
    keys = [ModelKey("models", f"model-{i}") for i in range(count)]
    async with shares.serve("127.0.0.1:0") as address:
        _set(shares, keys, 0)
        print(address, flush=True)
        while told := await asyncio.to_thread(sys.stdin.readline):
            began = time.monotonic()
            _set(shares, keys, int(told))
            print(began, flush=True)


def _set(shares: RtdsServer, keys: list[ModelKey], percentage: int) -> None:
    for key in keys:
        shares.set(key, percentage)


# The clients' process: prints when all have the first share, and when all have each that follows.


class _Gateways:
    """Counts who has which percentage."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._having: dict[int, int] = {}

    def has(self, percentage: int) -> None:
        """Note that one more has it, and print the time when it is the last."""
        having = self._having[percentage] = self._having.get(percentage, 0) + 1
        if having == self._count:
            print(time.monotonic(), flush=True)


async def _listen(address: str, count: int) -> None:
    gateways, places = _Gateways(count), asyncio.Semaphore(AT_ONCE)
    async with asyncio.TaskGroup() as group:
        for i in range(count):
            group.create_task(_gateway(address, f"models/model-{i}", gateways, places))


async def _gateway(address: str, name: str, gateways: _Gateways, places: asyncio.Semaphore) -> None:
    own = (("grpc.use_local_subchannel_pool", 1),)  # else all would share one connection
    async with grpc.aio.insecure_channel(address, options=own) as channel:
        open_stream = channel.stream_stream(
            f"/{SERVICE}/StreamRuntime",
            request_serializer=DiscoveryRequest.SerializeToString,
            response_deserializer=DiscoveryResponse.FromString,
        )
        await places.acquire()
        stream = open_stream()
        await stream.write(DiscoveryRequest(node=Node(id=name), resource_names=[name], type_url=RUNTIME))
        response = await stream.read()
        places.release()
        while response is not grpc.aio.EOF:
            gateways.has(_percentage(response))
            await stream.write(
                DiscoveryRequest(
                    version_info=response.version_info,
                    resource_names=[name],
                    type_url=RUNTIME,
                    response_nonce=response.nonce,
                )
            )
            response = await stream.read()


def _percentage(response: DiscoveryResponse) -> int:
    layer = json_format.MessageToDict(Runtime.FromString(response.resources[0].value).layer)
    return int(layer["offload.percentage"]["numerator"]) // 10_000


if __name__ == "__main__":
    logs.configure("warning")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    match sys.argv[1:]:
        case ["serve", wanted]:
            asyncio.run(_serve(int(wanted)))
        case ["listen", where, wanted]:
            asyncio.run(_listen(where, int(wanted)))
        case other:
            sys.exit(f"expected serve COUNT or listen ADDRESS COUNT, got {' '.join(other)}")
