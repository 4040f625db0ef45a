"""The controller as it runs in a cluster, started as a process beside the control plane, with a kubeconfig."""

import asyncio
import json
import secrets
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from beamlit_controller.api import crd
from cluster.client import Client
from cluster.control_plane import ControlPlane
from fakes.controller import COMMAND
from fakes.ports import free_port
from fakes.tls import Authority
from waiting import eventually

Json = dict[str, Any]
SYSTEM = "beamlit-system"
SHARE_SERVER = "beamlit-controller.beamlit-system.svc"


@dataclass
class Replica:
    """One replica of the controller."""

    name: str
    folder: Path
    web: str
    shares: str
    arguments: tuple[str, ...]
    _process: asyncio.subprocess.Process | None = field(default=None)

    @property
    def log(self) -> str:
        """Give what it has printed."""
        return (self.folder / f"{self.name}.log").read_text()

    async def start(self) -> None:
        """Start it, and wait until it is ready."""
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                str(COMMAND), "cluster", *self.arguments, stdout=log, stderr=log
            )
        await eventually(lambda: self.answers("/readyz"), within=60, what=f"{self.name} is ready")

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self, within: float = 30) -> int:
        """Wait for its end, and give the exit code."""
        assert self._process is not None
        async with asyncio.timeout(within):
            return await self._process.wait()

    async def end(self) -> None:
        """Kill it if it still runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def answers(self, path: str) -> bool:
        """Tell whether it answers 200."""
        assert self._process is not None
        assert self._process.returncode is None, self.log
        async with httpx2.AsyncClient(trust_env=False) as client:
            try:
                return (await client.get(f"http://{self.web}{path}")).status_code == 200
            except httpx2.HTTPError:
                return False

    async def metrics(self) -> str:
        """Give its own metrics."""
        async with httpx2.AsyncClient(trust_env=False) as client:
            return (await client.get(f"http://{self.web}/metrics")).raise_for_status().text

    async def leads(self) -> bool:
        """Tell whether it is the leader."""
        return "beamlit_leader 1.0" in await self.metrics()


@asynccontextmanager
async def installed(control_plane: ControlPlane, folder: Path) -> AsyncIterator[Client]:
    """Have the resource and the controller's namespace there."""
    client = control_plane.client
    client.kubectl("apply", "--server-side", "-f", "-", stdin=crd.render())
    client.kubectl("wait", "--for=condition=Established", "crd/modeldeployments.deployment.beamlit.com")
    client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
    yield client


def share_secrets(folder: Path) -> Path:
    """Make what the share server needs: its certificate, the CA, and the key of the tokens."""
    place = folder / "shares"
    if not place.exists():
        place.mkdir()
        authority = Authority(place, "ca")
        pair = authority.issue(SHARE_SERVER)
        authority.cert.rename(place / "ca.crt")
        pair.cert.rename(place / "tls.crt")
        pair.key.rename(place / "tls.key")
        (place / "token.key").write_bytes(secrets.token_bytes(32))
    return place


def replica(
    client: Client, folder: Path, name: str, settings: Mapping[str, Any], kubeconfig: Path | None = None
) -> Replica:
    """Give a replica, not started yet."""
    (folder / "settings.yaml").write_text(json.dumps({"config": settings}))
    web, shares = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    arguments = (
        f"--settings={folder / 'settings.yaml'}",
        f"--shares-address={SHARE_SERVER}:18000",
        "--gateway-image=beamlit-controller:test",
        f"--name={name}",
        f"--namespace={SYSTEM}",
        f"--shares-listen={shares}",
        f"--shares-secrets={share_secrets(folder)}",
        f"--web-listen={web}",
        "--cluster-domain=cluster.local",
        f"--kubeconfig={kubeconfig or client.kubeconfig}",
        "--log-format=json",
    )
    return Replica(name, folder, web, shares, arguments)


@asynccontextmanager
async def running(*replicas: Replica) -> AsyncIterator[None]:
    """Run replicas, the first one first."""
    try:
        for each in replicas:
            await each.start()
        yield
    finally:
        for each in replicas:
            await each.end()
