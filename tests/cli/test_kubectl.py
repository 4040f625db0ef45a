"""`kubectl offload …`, `history` and `completion` as they are typed, with a kubectl that notes how it was called."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from beamlit_controller.core import cycle
from beamlit_controller.core.spec import Behavior, ModelKey
from beamlit_controller.telemetry import models
from beamlit_controller.telemetry.models import ModelsSink
from builders import NOW, sample, signals, spec
from fakes import http

pytestmark = pytest.mark.system

BIN = Path(sys.executable).parent
KUBECTL = """\
#!/bin/sh
printf '%s\\n' "$*" >> {folder}/calls
case "$*" in
  *"get lease"*) printf "{leases}"; exit {status} ;;
  *"get pods"*) printf "{pods}" ;;
  *port-forward*) echo "Forwarding from 127.0.0.1:{port} -> 8081"; exec sleep 60 ;;
esac
"""


@dataclass(frozen=True)
class Clock:
    at: datetime = NOW

    def now(self) -> datetime:
        return self.at


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int | None
    out: str
    err: str


@dataclass(frozen=True)
class World:
    """A controller, and a kubectl that leads to it."""

    folder: Path
    address: str

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()

    async def run(self, command: str, *arguments: str) -> Ended:
        process = await asyncio.create_subprocess_exec(
            BIN / command,
            *arguments,
            env=os.environ | {"PATH": f"{self.folder}:{os.environ['PATH']}", "COLUMNS": "120"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 60)
        return Ended(process.returncode, out.decode(), err.decode())


def document() -> bytes:
    """Return what a controller answers that has offloaded `models/llama` and taken it back."""
    sink, previous = ModelsSink(Clock()), None
    whole = spec(key=ModelKey("models", "llama"), behavior=Behavior(percentage=50))
    for minute, value in enumerate((25, 1, 1, 1)):
        at = NOW + timedelta(minutes=minute)
        record = cycle.run(whole, signals(sample(value, at=at, window=timedelta(0)), at=at), previous=previous, now=at)
        previous = record.decision
        sink.record(record)
    return models.as_json(sink.snapshot())


@asynccontextmanager
async def world(
    folder: Path, *, leases: str = "beamlit-controller=beamlit-controller-7d9\\n", pods: str = "", status: int = 0
) -> AsyncIterator[World]:
    respond = http.by_path(models=http.page(document(), content_type="application/json"))
    async with http.serve(respond) as server:
        script = folder / "kubectl"
        script.write_text(KUBECTL.format(folder=folder, leases=leases, pods=pods, status=status, port=server.port))
        script.chmod(0o755)
        yield World(folder, server.address)


async def test_it_asks_the_replica_that_leads(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        ended = await here.run("kubectl-offload", "top", "--context", "prod", "--controller-namespace", "ops")

    assert (ended.code, ended.err) == (0, "")
    assert "models/llama" in ended.out
    assert here.calls[-1] == "--context=prod --namespace=ops port-forward pod/beamlit-controller-7d9 :8081"


TWO = "ours=ours-7d9\\ntheirs=theirs-4c2\\n"


async def test_of_several_controllers_it_asks_the_leader_that_is_named(tmp_path: Path) -> None:
    async with world(tmp_path, leases=TWO) as here:
        unnamed = await here.run("kubectl-offload", "top")
        named = await here.run("kubectl-offload", "top", "--lease", "theirs")

    assert (unnamed.code, named.code) == (1, 0)
    assert "choose one with --lease: ours, theirs" in unnamed.err
    assert "--selector=app.kubernetes.io/name=beamlit-controller" in here.calls[0]
    assert here.calls[-1] == "--namespace=beamlit-system port-forward pod/theirs-4c2 :8081"


async def test_without_a_lease_it_asks_the_only_replica_whatever_the_release_is_called(tmp_path: Path) -> None:
    """It asked for a Deployment named beamlit-controller; the chart's is RELEASE-beamlit-controller."""
    async with world(tmp_path, leases="", pods="ours-beamlit-controller=ours-beamlit-controller-5b8\\n") as here:
        ended = await here.run("kubectl-offload", "explain", "llama")

    assert ended.code == 0
    assert ended.out.startswith("models/llama")
    assert "get pods --selector=app.kubernetes.io/name=beamlit-controller" in here.calls[-2]
    assert here.calls[-1] == "--namespace=beamlit-system port-forward pod/ours-beamlit-controller-5b8 :8081"


async def test_a_lease_that_a_controller_has_left_behind_is_none(tmp_path: Path) -> None:
    """Of a release that was uninstalled it said that it ran."""
    async with world(tmp_path, leases="old=\\nours=ours-7d9\\n") as here:
        ended = await here.run("kubectl-offload", "top")

    assert (ended.code, ended.err) == (0, "")
    assert here.calls[-1] == "--namespace=beamlit-system port-forward pod/ours-7d9 :8081"


TWO_PODS = "ours=ours-7d9-a1\\ntheirs=theirs-4c2-b2\\n"


@pytest.mark.parametrize(
    ("leases", "pods"),
    [(TWO, TWO_PODS), ("", TWO_PODS), ("ours=\\n", "ours=ours-7d9-a1\\n")],
    ids=str,
)
async def test_of_a_controller_that_is_not_there_it_says_so(tmp_path: Path, leases: str, pods: str) -> None:
    """It asked any other controller."""
    async with world(tmp_path, leases=leases, pods=pods) as here:
        ended = await here.run("kubectl-offload", "top", "--lease", "typo")

    assert ended.code == 1
    assert "no controller in the namespace beamlit-system has the Lease typo; there are: ours" in ended.err


async def test_of_several_controllers_without_an_election_it_asks_the_one_that_is_named(tmp_path: Path) -> None:
    async with world(tmp_path, leases="", pods="ours=ours-7d9-a1\\nours-b=ours-b-4c2-b2\\n") as here:
        unnamed = await here.run("kubectl-offload", "top")
        named = await here.run("kubectl-offload", "top", "--lease", "ours-b")

    assert (unnamed.code, named.code) == (1, 0)
    assert "choose one with --lease: ours, ours-b" in unnamed.err
    assert here.calls[-1] == "--namespace=beamlit-system port-forward pod/ours-b-4c2-b2 :8081"


async def test_controllers_without_an_election_are_told_apart_whatever_their_pods_are_called(tmp_path: Path) -> None:
    """The name was cut from that of the pod, which has one dash less if it is long: the Lease was said not to be there."""
    first, second = ("-".join(("r" * 26, team, "beamlit-controller")) for team in ("one", "two"))
    pods = "".join(f"{name}={name}-7d9c5b8f{suffix}\\n" for name, suffix in ((first, "a1b2c"), (second, "d3e4f")))
    async with world(tmp_path, leases="", pods=pods) as here:
        unnamed = await here.run("kubectl-offload", "top")
        named = await here.run("kubectl-offload", "top", "--lease", first)

    assert (unnamed.code, named.code) == (1, 0)
    assert f"choose one with --lease: {first}, {second}" in unnamed.err
    assert "{.spec.serviceAccountName}={.metadata.name}" in here.calls[-2]
    assert here.calls[-1] == f"--namespace=beamlit-system port-forward pod/{first}-7d9c5b8fa1b2c :8081"


async def test_without_a_controller_it_says_where_it_looked(tmp_path: Path) -> None:
    async with world(tmp_path, leases="") as here:
        ended = await here.run("kubectl-offload", "top", "--controller-namespace", "ops")

    assert ended.code == 1
    assert "no controller is running in the namespace ops" in ended.err


async def test_it_ends_as_kubectl_does_when_the_cluster_does_not_answer(tmp_path: Path) -> None:
    async with world(tmp_path, status=7) as here:
        ended = await here.run("kubectl-offload", "top")

    assert (ended.code, len(here.calls)) == (7, 1)


async def test_the_exit_code_is_that_of_the_command(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        ended = await here.run("kubectl-offload", "history", "mistral")

    assert ended.code == 2
    assert "no model mistral; the controller knows: models/llama" in ended.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["llama", "-n", "models"], 0),
        (["llama", "--namespace", "models"], 0),
        (["models/llama", "-n", "models"], 0),
        (["llama", "-n", "others"], 2),
        (["models/llama", "-n", "others"], 1),
    ],
    ids=str,
)
async def test_the_namespace_is_an_option_as_it_is_of_kubectl(tmp_path: Path, arguments: list[str], code: int) -> None:
    async with world(tmp_path) as here:
        explained = await here.run("kubectl-offload", "explain", *arguments)
        told = await here.run("kubectl-offload", "history", *arguments)

    assert (explained.code, told.code) == (code, code)
    assert ("models/llama" in explained.out, "MetricAboveTarget" in told.out) == (code == 0, code == 0)


async def test_the_history_has_the_latest_change_first_with_its_reason(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        ended = await here.run("beamlit-controller", "history", "llama", "--address", here.address)

    lines = [line.split() for line in ended.out.splitlines()]
    assert ended.code == 0
    assert [line[2:5] for line in lines[1:]] == [["50", "→", "0"], ["0", "→", "50"]]
    assert "MetricAboveTarget queue 25 > 10" in " ".join(lines[-1])


@pytest.mark.parametrize(("typed", "offered"), [("to", "top"), ("hist", "history"), ("simul", "simulate")])
async def test_bash_completes_commands_with_what_completion_prints(tmp_path: Path, typed: str, offered: str) -> None:
    script = tmp_path / "completion"
    async with world(tmp_path) as here:
        printed = await here.run("beamlit-controller", "completion", "bash")
    script.write_text(printed.out)
    asked = f'source {script}; COMP_WORDS=(beamlit-controller {typed}); COMP_CWORD=1; _beamlit_controller; echo "${{COMPREPLY[@]}}"'

    process = await asyncio.create_subprocess_exec("bash", "-c", asked, stdout=asyncio.subprocess.PIPE)
    out, _ = await asyncio.wait_for(process.communicate(), 60)

    assert out.decode().split() == [offered]
