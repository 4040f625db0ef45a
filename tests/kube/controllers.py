"""The controller as it runs in a cluster, started as a process beside the control plane, with a kubeconfig."""

import asyncio
import json
import re
import secrets
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import yaml

from fakes.controller import COMMAND
from fakes.ports import free_port
from fakes.tls import Authority
from kube.client import Client
from waiting import eventually

Json = dict[str, Any]
CHART = Path(__file__).resolve().parents[2] / "chart"
NAME, SYSTEM = "beamlit-controller", "beamlit-system"
RIGHTS = (
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ClusterRole",
    "ClusterRoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
)
PEOPLES = "rbac.authorization.k8s.io/aggregate-to-"
"""The label of the roles that are not the controller's: they are added to those that people have."""
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
        """Return what it has printed."""
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
        """End it if it still runs: so that it gives up its lease, or else hard."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            await self.ended()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
            raise

    async def answers(self, path: str) -> bool:
        """Return whether it answers 200."""
        assert self._process is not None
        assert self._process.returncode is None, self.log
        async with httpx2.AsyncClient(trust_env=False, verify=False) as client:
            try:
                return (await client.get(f"http://{self.web}{path}")).status_code == 200
            except httpx2.HTTPError:
                return False

    def peak_mebibytes(self) -> int:
        """Return the most memory that it ever held."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]) // 1024

    async def metrics(self) -> str:
        """Return its own metrics."""
        async with httpx2.AsyncClient(trust_env=False, verify=False) as client:
            return (await client.get(f"http://{self.web}/metrics")).raise_for_status().text

    async def models(self) -> list[Json]:
        """Return what it knows of its models."""
        async with httpx2.AsyncClient(trust_env=False, verify=False) as client:
            found: list[Json] = (await client.get(f"http://{self.web}/models")).raise_for_status().json()["models"]
        return found

    async def leads(self) -> bool:
        """Return whether it is the leader."""
        return re.search(r"^beamlit_leader{.*} 1\.0$", await self.metrics(), re.MULTILINE) is not None


def install(client: Client, helm: Path, values: Mapping[str, Any] | None = None) -> Path:
    """Have the resource there, and the chart's service account with its rights; give its kubeconfig."""
    client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
    rendered = subprocess.run(
        [helm, "template", NAME, CHART, f"--namespace={SYSTEM}", "--kube-version=1.36.0", "--values=-"],
        input=json.dumps(values or {}),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    wanted = [each for each in yaml.safe_load_all(rendered) if each and _is_right(each)]
    client.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml.safe_dump_all(wanted))
    client.kubectl("wait", "--for=condition=Established", "crd/modeldeployments.deployment.beamlit.com")
    return client.account_kubeconfig(NAME, namespace=SYSTEM)


def uninstall(client: Client) -> None:
    """Take the rights away again, in all namespaces."""
    chart = "app.kubernetes.io/name=beamlit-controller"
    policies = "validatingadmissionpolicy,validatingadmissionpolicybinding"
    client.kubectl("delete", f"clusterrole,clusterrolebinding,{policies}", "-l", chart)
    client.kubectl("delete", "role,rolebinding", "-A", "-l", chart)


def _is_right(content: Json) -> bool:
    hook = "helm.sh/hook" in (content["metadata"].get("annotations") or {})
    return not hook and (content["kind"] in RIGHTS or content["kind"] == "CustomResourceDefinition")


def share_secrets(folder: Path) -> Path:
    """Make what the RTDS server needs: its certificate, the CA, and the key of the tokens."""
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
    """Return a replica, not started yet."""
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
