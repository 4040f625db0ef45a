"""What a controller costs that has nothing to do: its CPU beside ten models without requests, Adaptive and read directly.

The gateways are other processes and not counted. The controller reads each model's metrics at its period and asks each
gateway for its figures; what it costs to serve its web endpoints to nobody is in it as well.
"""

import asyncio
import json
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import yaml

from benchmarks import machine

MODELS = 10
SECONDS = 60
WARM = 20
OUGHT_TO = 0.5  # percent of a core for each model
PAGE = b"# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting 0\nvllm:num_requests_running 0\n"


async def main() -> None:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        server = await asyncio.start_server(_serve, "127.0.0.1", 0)
        stack.callback(server.close)
        web = f"127.0.0.1:{machine.free_port()}"
        words = _files(folder, web=web, local=server.sockets[0].getsockname()[1])
        process = await stack.enter_async_context(machine.running(*words, log=folder / "log"))
        client = await stack.enter_async_context(httpx2.AsyncClient(trust_env=False))
        await machine.until(lambda: _all_ready(client, web), within=120, what="all gateways are ready")
        await asyncio.sleep(WARM)
        used = await _used(process.pid)
    each = used / SECONDS / MODELS * 100
    rows = (("controller", f"{used:.2f}", f"{each:.2f}"),)
    machine.table(
        f"Idle: {MODELS} models without requests, {SECONDS} s",
        ("", "CPU s", "% of a core a model"),
        rows,
    )
    print(f"It is {'within' if each <= OUGHT_TO else 'NOT within'} {OUGHT_TO:g} % of a core a model.", flush=True)


async def _used(pid: int) -> float:
    before, began = machine.cpu(pid), time.monotonic()
    await asyncio.sleep(SECONDS)
    return (machine.cpu(pid) - before) * SECONDS / (time.monotonic() - began)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n%s" % (len(PAGE), PAGE)
            )
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def _all_ready(client: httpx2.AsyncClient, web: str) -> bool:
    try:
        models = (await client.get(f"http://{web}/models", timeout=5)).json()["models"]
    except (httpx2.HTTPError, ValueError):
        return False
    return len(models) == MODELS and all((each.get("gateway") or {}).get("ready") for each in models)


def _files(folder: Path, *, web: str, local: int) -> list[str | Path]:
    manifests = folder / "manifests"
    manifests.mkdir()
    names = [f"model-{number}" for number in range(MODELS)]
    for name in names:
        (manifests / f"{name}.yaml").write_text(yaml.safe_dump(_manifest(name)))
    settings = {
        "allowedRemoteHosts": ["127.0.0.1"],
        "standalone": {
            "services": {f"default/{name}": [f"127.0.0.1:{local}"] for name in names},
            "listen": {f"default/{name}": f"127.0.0.1:{machine.free_port()}" for name in names},
            "webListen": web,
        },
    }
    (folder / "settings.yaml").write_text(json.dumps({"config": settings}))
    program = Path(sys.executable).parent / "beamlit-controller"
    places = (f"--manifests={manifests}", f"--settings={folder / 'settings.yaml'}", f"--state-dir={folder / 'state'}")
    return [program, "run", *places]


def _manifest(name: str) -> dict[str, object]:
    return {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name},
        "spec": {
            "serviceRef": {"name": name, "targetPort": 8000},
            "metricServiceRef": {"name": name, "targetPort": 8000},
            "offloadingConfig": {
                "remoteBackend": {"scheme": "http", "host": "127.0.0.1:9"},
                "preset": "vllm",
            },
        },
    }
