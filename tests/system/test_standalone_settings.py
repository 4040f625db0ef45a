"""Settings that are changed while the controller runs, and what SIGHUP means: real Envoys, the command as users run it."""

import asyncio
import json
import os
import pty
import signal
import socket
from contextlib import suppress
from typing import Any

import httpx2
import pytest

from fakes import client, load
from fakes.controller import COMMAND, Controller, controller
from fakes.model_server import model_server
from fakes.ports import free_port
from fakes.upstream import upstream
from waiting import eventually

pytestmark = pytest.mark.system


def manifest(name: str, remote: str) -> dict[str, Any]:
    """Return a model that serves everything locally."""
    return {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name},
        "spec": {
            "serviceRef": {"name": name, "targetPort": 8000},
            "offloadingConfig": {"remoteBackend": {"scheme": "http", "host": remote}, "behavior": {"percentage": 0}},
        },
    }


def settings_of(running: Controller) -> dict[str, Any]:
    return json.loads((running.folder / "settings.yaml").read_text())


def settle(running: Controller, settings: object) -> None:
    """Put other settings in place, in one rename."""
    new = running.folder / "new"
    new.write_text(settings if isinstance(settings, str) else json.dumps(settings))
    new.rename(running.folder / "settings.yaml")


async def models(running: Controller) -> dict[str, dict[str, Any]]:
    with suppress(httpx2.HTTPError):
        return {each["name"]: each for each in (await running.answer())["models"]}
    return {}


async def test_a_model_is_added_to_the_settings_without_a_lost_request() -> None:
    second = f"127.0.0.1:{free_port()}"
    async with (
        upstream("remote") as remote,
        model_server() as local,
        controller(manifest("llama", remote.address), local=[local.address]) as running,
        load.asking(running.front, connections=4) as tally,
    ):
        pid, (gateway,) = running.pid, running.gateway_pids()
        settings = settings_of(running)
        settings["config"]["standalone"]["services"]["default/embed"] = [local.address]
        settings["config"]["standalone"]["listen"]["default/embed"] = second
        settle(running, settings)
        running.write(manifest("embed", remote.address), "embed.yaml")

        await eventually(lambda: _is_up(running, "embed"), what="the second model is served")
        answer = await client.ask(second, "/v1/completions")
        before = tally.total
        await eventually(lambda: tally.total > before)

        assert answer.header(load.SERVED_BY) == "local"
        assert (running.pid, running.gateway_pids()) == (pid, [gateway])
        (running.manifests / "embed.yaml").unlink()
        await eventually(lambda: not (running.state / "gateways" / "default.embed").exists())

    assert tally.failed == []
    assert tally.good == tally.total


async def test_settings_with_a_mistake_are_told_and_the_last_good_ones_stay_in_force() -> None:
    async with (
        upstream("remote") as remote,
        model_server() as local,
        controller(manifest("llama", remote.address), local=[local.address]) as running,
    ):
        good = settings_of(running)

        settle(running, "config:\n  standalone:\n    lisen: {}\n")

        await eventually(lambda: _problems(running), what="the mistake is told")
        (problem,) = await _problems(running)
        assert problem["where"].endswith("settings.yaml")
        assert "lisen" in problem["field"] + problem["message"]
        said = "1 model, evaluated; mistakes in manifests and settings: 1, see /models\n"
        assert await _readiness(running) == said
        assert (await client.ask(running.front, "/v1/completions")).header(load.SERVED_BY) == "local"
        settle(running, good)
        await eventually(lambda: _mended(running), what="the mistake is mended")
        assert running.log.count("restarting with") == 0


async def test_a_web_address_in_use_is_told_and_the_controller_runs_on_until_it_is_free() -> None:
    """It ended with exit code 1."""
    async with (
        upstream("remote") as remote,
        model_server() as local,
        controller(manifest("llama", remote.address), local=[local.address]) as running,
    ):
        settings = settings_of(running)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = "{}:{}".format(*taken.getsockname())
            settings["config"]["standalone"]["webListen"] = address

            settle(running, settings)

            await eventually(lambda: _problems(running), what="the mistake is told")
            (problem,) = await _problems(running)
            assert problem["field"] == "config.standalone.webListen"
            assert problem["message"] == f"cannot listen on {address}: Address already in use"
            assert running.log.count("restarting with") == 0

        running.web = address
        await eventually(lambda: _is_up(running, "llama"), what="the new address answers")


async def test_a_changed_stats_address_is_served_by_a_new_envoy_without_a_lost_request() -> None:
    """An adopted gateway kept its bootstrap, so the new address was never served, and nothing said so."""
    async with (
        upstream("remote") as remote,
        model_server() as local,
        controller(manifest("llama", remote.address), local=[local.address]) as running,
        load.asking(running.front, connections=4) as tally,
    ):
        settings, address = settings_of(running), f"127.0.0.1:{free_port()}"
        settings["config"]["standalone"]["statsListen"] = address

        settle(running, settings)

        await eventually(lambda: _answers(f"http://{address}/ready"), what="the new address answers")
        await eventually(lambda: _is_up(running, "llama"))
        before = tally.total
        await eventually(lambda: tally.total > before)

    assert tally.failed == []
    assert tally.good == tally.total


async def test_a_stats_address_in_use_is_told_and_the_gateway_serves_on_until_it_is_free() -> None:
    async with (
        upstream("remote") as remote,
        model_server() as local,
        controller(manifest("llama", remote.address), local=[local.address]) as running,
        load.asking(running.front, connections=4) as tally,
    ):
        settings, gateways = settings_of(running), running.gateway_pids()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = "{}:{}".format(*taken.getsockname())
            settings["config"]["standalone"]["statsListen"] = address

            settle(running, settings)

            why = f"config.standalone.statsListen: cannot listen on {address}: Address already in use"
            await eventually(lambda: _problem(running, why), what="the mistake is told")
            assert running.gateway_pids() == gateways

        await eventually(lambda: _answers(f"http://{address}/ready"), what="the new address answers")
        assert not await _problem(running, why)

    assert tally.failed == []


async def test_sighup_starts_anew_in_the_same_process_while_the_gateway_serves_on() -> None:
    async with (
        upstream("remote") as remote,
        model_server() as local,
        controller(manifest("llama", remote.address), local=[local.address]) as running,
    ):
        (gateway,) = running.gateway_pids()

        async with load.asking(running.front, connections=4) as tally:
            os.kill(running.pid, signal.SIGHUP)

            await eventually(lambda: running.log.count("gateway adopted") == 1, what="the gateway is adopted")
            await eventually(lambda: _is_up(running, "llama"))
        assert running.gateway_pids() == [gateway]
        running.terminate()
        assert await running.ended() == 0
        assert running.gateway_pids() == []

    assert tally.good > 0
    assert tally.failed == []


async def test_closing_the_terminal_ends_it_as_sigterm_does() -> None:
    async with (
        upstream("remote") as remote,
        model_server() as local,
        controller(manifest("llama", remote.address), local=[local.address]) as running,
    ):
        running.terminate()
        await running.ended()
        ours, theirs = pty.openpty()
        line = ("run", f"--manifests={running.manifests}", f"--settings={running.folder}/settings.yaml")
        at_terminal = await asyncio.create_subprocess_exec(
            *("setsid", "--ctty", COMMAND, *line, f"--state-dir={running.state}"),
            stdin=theirs,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        os.close(theirs)
        await eventually(lambda: _is_up(running, "llama"), what="the model is served")

        os.close(ours)

        assert await asyncio.wait_for(at_terminal.wait(), 60) == 0
        assert running.gateway_pids() == []


async def _is_up(running: Controller, name: str) -> bool:
    known = (await models(running)).get(name, {})
    return bool((known.get("gateway") or {}).get("ready"))


async def _problem(running: Controller, words: str) -> bool:
    known = (await models(running)).get("llama", {})
    return words in ((known.get("gateway") or {}).get("problem") or "")


async def _answers(url: str) -> bool:
    async with httpx2.AsyncClient(trust_env=False, verify=False) as web:
        with suppress(httpx2.HTTPError):
            return (await web.get(url)).status_code == httpx2.codes.OK
    return False


async def _problems(running: Controller) -> list[dict[str, Any]]:
    return (await running.answer())["problems"]


async def _readiness(running: Controller) -> str:
    async with httpx2.AsyncClient(trust_env=False, verify=False) as web:
        return (await web.get(f"http://{running.web}/readyz")).text


async def _mended(running: Controller) -> bool:
    return not await _problems(running)
