"""What goes wrong on one machine, and who notices: the command as users run it, real Envoys, real files."""

import asyncio
import json
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from beamlit_controller.standalone import process
from fakes import load
from fakes.controller import Controller, controller
from fakes.gateway import free_port
from fakes.model_server import model_server
from fakes.upstream import upstream
from waiting import eventually

pytestmark = pytest.mark.system


def manifest(remote: str, name: str = "llama", **more: object) -> dict[str, Any]:
    """Return a model that offloads nothing."""
    offloading = {"remoteBackend": {"scheme": "http", "host": remote}, **more}
    return {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name},
        "spec": {"serviceRef": {"name": "llama", "targetPort": 8000}, "offloadingConfig": offloading},
    }


def pids(running: Controller, name: str) -> list[int]:
    found = process.find(str(running.state / "gateways" / f"default.{name}" / "bootstrap.json"))
    for each in found:
        each.close()
    return [each.pid for each in found]


async def gateway(running: Controller, name: str) -> dict[str, Any]:
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=60) as web:
        answer = await web.get(f"http://{running.web}/models/default/{name}")
        return (answer.json().get("gateway") or {}) if answer.status_code == 200 else {}


async def restarts(running: Controller, name: str) -> int:
    return int((await gateway(running, name)).get("restarts", 0))


@asynccontextmanager
async def one_in_a_crash_loop() -> AsyncIterator[Controller]:
    """Run llama, which serves, and mistral, whose Envoy ends at once: somebody has the address of its stats."""
    async with upstream("remote") as remote, upstream("squatter") as squatter, model_server() as local:
        front = f"127.0.0.1:{free_port()}"
        running_both = controller(
            manifest(remote.address),
            local=[local.address],
            ready=False,
            listen={"default/llama": front, "default/mistral": f"127.0.0.1:{free_port()}"},
            statsListen={"default/llama": f"127.0.0.1:{free_port()}", "default/mistral": squatter.address},
        )
        async with running_both as running:
            running.front = front
            running.write(manifest(remote.address, "mistral"), "mistral.yaml")
            await eventually(lambda: answers(running), within=30, what="the web endpoints answer")
            await eventually(lambda: ready(running, "llama"), within=60, what="llama serves")
            await eventually(lambda: crashed(running), within=60, what="mistral's Envoy has ended more than once")
            yield running


async def answers(running: Controller) -> bool:
    try:
        await running.answer()
    except httpx2.HTTPError:
        return False
    return True


async def ready(running: Controller, name: str) -> bool:
    return bool((await gateway(running, name)).get("ready"))


async def crashed(running: Controller) -> bool:
    return await restarts(running, "mistral") > 1


async def test_a_gateway_in_a_crash_loop_says_why_and_goes_with_its_manifest_alone() -> None:
    """The controller ended when its manifest was deleted."""
    async with one_in_a_crash_loop() as running:
        before = pids(running, "llama")
        said = (await gateway(running, "mistral"))["problem"]
        async with load.asking(running.front, connections=2) as tally:
            (running.manifests / "mistral.yaml").unlink()
            await eventually(lambda: not (running.state / "gateways" / "default.mistral").exists(), within=20)
            await eventually(lambda: tally.total > 100, within=20)

        assert "in use" in said
        assert "gateway does not stay up" in running.log
        assert pids(running, "llama") == before
        assert await ready(running, "llama")

    assert tally.failed == []


async def test_sigterm_stops_every_gateway_though_one_is_in_a_crash_loop() -> None:
    """The controller ended with an error, and the other gateway ran on."""
    async with one_in_a_crash_loop() as running:
        running.terminate()

        assert await running.ended() == 0
        assert (pids(running, "llama"), pids(running, "mistral")) == ([], [])
        assert not running.state.exists()
        assert "Traceback" not in running.log


async def test_a_folder_that_is_swapped_under_traffic_costs_no_request_and_is_followed() -> None:
    """The controller ended with an error, and did not look at the new folder."""
    async with (
        upstream("remote") as remote,
        model_server() as local,
        controller(manifest(remote.address), local=[local.address]) as running,
    ):
        before = running.gateway_pids()
        following = running.folder / "following"
        following.mkdir()
        changed = manifest(remote.address, allowOverride=True)
        (following / "other.yaml").write_text(json.dumps(changed))

        async with load.asking(running.front, connections=4) as tally:
            running.manifests.rename(running.folder / "former")
            await eventually(lambda: problems(running, "stays in force"), what="the missing folder is shown")
            following.rename(running.manifests)
            await eventually(lambda: allows_override(running), what="the new folder is in force")
            await eventually(lambda: no_problems(running))
            await eventually(lambda: tally.total > 100, within=20)

        assert running.gateway_pids() == before
        assert "Traceback" not in running.log

    assert tally.failed == []
    assert tally.good == tally.total


async def problems(running: Controller, words: str) -> bool:
    return any(words in problem["message"] for problem in (await running.answer())["problems"])


async def no_problems(running: Controller) -> bool:
    return (await running.answer())["problems"] == []


async def allows_override(running: Controller) -> bool:
    return bool((await running.model())["spec"]["allowOverride"])


async def test_a_state_folder_that_is_removed_under_it_costs_no_request_and_sigterm_still_stops_all() -> None:
    async with (
        upstream("remote") as remote,
        model_server() as local,
        controller(manifest(remote.address), local=[local.address]) as running,
    ):
        async with load.asking(running.front, connections=2) as tally:
            removed(running.state)
            await eventually(lambda: faulty(running, "was removed"), within=40, what="the missing folder is shown")
        running.terminate()

        assert await running.ended() == 0
        assert running.gateway_pids() == []

    assert tally.failed == []


def removed(folder: Path) -> None:
    folder.rename(folder.with_name("taken away"))


async def faulty(running: Controller, words: str) -> bool:
    return words in (await gateway(running, "llama")).get("problem", "")


async def test_a_controller_that_runs_out_of_descriptors_goes_on() -> None:
    """Half-open connections to its web port kept it from reading the folder, and that ended it."""
    async with (
        upstream("remote") as remote,
        model_server() as local,
        controller(manifest(remote.address), local=[local.address]) as running,
    ):
        assert running.pid is not None
        limit(running.pid, 64)
        host, _, port = running.web.rpartition(":")
        held = [await asyncio.open_connection(host, int(port)) for _ in range(100)]
        await eventually(lambda: "Too many open files" in running.log, within=30)
        for _, writer in held:
            writer.close()
        running.write(manifest(remote.address, allowOverride=True))

        await eventually(lambda: answers(running), within=20)
        await eventually(lambda: allows_override(running), within=30)
        running.terminate()
        assert await running.ended() == 0


def limit(pid: int, descriptors: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors, descriptors))
