"""The controller exactly as users run it: the command, a folder of manifests, a settings file, a state folder."""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import yaml

from beamlit_controller.standalone import process
from fakes.gateway import free_port
from waiting import eventually

COMMAND = Path(sys.executable).parent / "beamlit-controller"


@dataclass
class Controller:
    """A controller in a folder of its own, for the model `default/llama`."""

    folder: Path
    front: str
    web: str
    flags: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    _process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Return the process that runs now."""
        return self._process.pid if self._process else None

    @property
    def manifests(self) -> Path:
        """Return the folder of manifests."""
        return self.folder / "manifests"

    @property
    def state(self) -> Path:
        """Return the state folder."""
        return self.folder / "state"

    @property
    def log(self) -> str:
        """Return what the controller has printed."""
        return (self.folder / "log").read_text()

    def write(self, manifest: object, name: str = "llama.yaml") -> None:
        """Write a manifest, as text or as a document."""
        text = manifest if isinstance(manifest, str) else yaml.safe_dump(manifest)
        (self.manifests / name).write_text(text)

    async def start(self) -> None:
        """Start the command, and wait until it says that it is ready."""
        await self.launch()
        await eventually(self._ready, within=60, what="the controller is ready")

    async def launch(self) -> None:
        """Start the command."""
        with (self.folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                str(COMMAND),
                "run",
                f"--manifests={self.manifests}",
                f"--settings={self.folder / 'settings.yaml'}",
                f"--state-dir={self.state}",
                *self.flags,
                env={**os.environ, **self.environment},
                stdout=log,
                stderr=log,
            )

    async def kill(self) -> None:
        """Kill it hard."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    def terminate(self) -> None:
        """Send SIGTERM."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    async def ended(self) -> int:
        """Wait for its end, and give the exit code."""
        assert self._process is not None
        async with asyncio.timeout(60):
            return await self._process.wait()

    async def answer(self) -> dict[str, Any]:
        """Return all of `/models`."""
        async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=60) as client:
            return (await client.get(f"http://{self.web}/models")).raise_for_status().json()

    async def model(self) -> dict[str, Any]:
        """Return what is known of the one model."""
        (model,) = (await self.answer())["models"]
        return model

    async def reaches(self, percentage: int, *, within: float = 20) -> None:
        """Wait for a percentage."""

        async def reached() -> bool:
            return (await self.model())["decision"]["percentage"] == percentage

        await eventually(reached, within=within, what=f"{percentage} % is decided")

    async def metric(self) -> dict[str, Any]:
        """Return what is known of the model's first metric."""
        return (await self.model())["metrics"][0]

    async def override(self, *arguments: str) -> tuple[int, str]:
        """Run the command that sets a percentage by hand; give its exit code and what it said."""
        return await self.command("override", *arguments, f"--state-dir={self.state}")

    async def command(self, *arguments: str) -> tuple[int, str]:
        """Run a command; give its exit code and what it said."""
        command = await asyncio.create_subprocess_exec(
            str(COMMAND), *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await command.communicate()
        return command.returncode or 0, said.decode()

    def gateway_pids(self) -> list[int]:
        """Return the gateway's processes."""
        found = process.find(str(self.state / "gateways" / "default.llama" / "bootstrap.json"))
        for each in found:
            each.close()
        return [each.pid for each in found]

    async def end(self) -> None:
        """End whatever still runs."""
        if self._process is not None and self._process.returncode is None:
            self.terminate()
            await self.ended()
        for each in process.find(str(self.state / "gateways" / "default.llama" / "bootstrap.json")):
            each.send(signal.SIGKILL)
            await each.exited()
            each.close()

    async def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.returncode is None, self.log
        async with httpx2.AsyncClient(trust_env=False, verify=False) as client:
            try:
                answer = await client.get(f"http://{self.web}/readyz")
            except httpx2.HTTPError:
                return False
            return answer.status_code == 200


@asynccontextmanager
async def controller(
    manifest: object,
    *,
    local: list[str],
    prometheus: str | None = None,
    ready: bool = True,
    flags: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
    **standalone: object,
) -> AsyncIterator[Controller]:
    """Run a controller with one manifest, and wait for it unless it can't be ready; a Prometheus is asked every second."""
    with tempfile.TemporaryDirectory(prefix="controller-") as folder:
        running = Controller(
            Path(folder), f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}", flags, environment or {}
        )
        running.manifests.mkdir()
        running.write(manifest)
        settings = _settings(running, local, prometheus, standalone)
        (running.folder / "settings.yaml").write_text(json.dumps(settings))
        try:
            await (running.start() if ready else running.launch())
            yield running
        finally:
            await running.end()


def _settings(
    running: Controller, local: list[str], prometheus: str | None, standalone: Mapping[str, object]
) -> dict[str, Any]:
    asked = {"address": prometheus, "staleAfterSeconds": 5}
    informer = {"type": "prometheus", "prometheus": asked} if prometheus else {}
    return {
        "config": {
            "metricInformer": {**informer, "periodSeconds": 1},
            "allowedRemoteHosts": ["127.0.0.1", "localhost"],
            "standalone": {
                "services": {"default/llama": local},
                "listen": {"default/llama": running.front},
                "webListen": running.web,
                **standalone,
            },
        }
    }
