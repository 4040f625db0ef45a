"""The tour of the README, walked: its manifest and its settings, checked, run, explained and overruled by its commands."""

import asyncio
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from beamlit_controller.api import manifests
from beamlit_controller.api.settings import Settings
from beamlit_controller.core import cycle
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.spec import Mode
from beamlit_controller.core.traffic import Minute, RequestCounters
from builders import pod_samples, signals
from cli.test_explain import World, shown
from docs import pages
from docs.pages import ROOT
from fakes import client
from fakes.controller import COMMAND, Controller, controller
from fakes.model_server import model_server
from fakes.prometheus import prometheus
from waiting import eventually

README = ROOT / "README.md"
USERS_EXAMPLE = """\
offloadingConfig:
    behavior:
      percentage: 50
    metrics:
      - type: Resource
        resource:
          name: cpu
          target:
            type: Utilization
            averageUtilization: 50
"""
"""Word for word as the first users have it."""


def block(beginning: str) -> str:
    (found,) = (each.text for each in pages.blocks("yaml") if each.page == README and each.text.startswith(beginning))
    return found


def command(name: str) -> list[str]:
    lines = (shlex.split(line) for each in pages.blocks("sh") if each.page == README for line in each.commands)
    (found,) = (line[1:] for line in lines if line[0].endswith("beamlit-controller") and line[1] == name)
    return found


async def run(arguments: list[str], folder: Path) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        COMMAND, *arguments, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(60):
        said, _ = await process.communicate()
    return process.returncode, said.decode()


async def test_check_finds_the_manifest_and_the_settings_of_the_tour_valid(tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "llama.yaml").write_text(block("apiVersion"))
    (tmp_path / "settings.yaml").write_text(block("config"))

    code, said = await run(command("check"), tmp_path)

    assert (code, said) == (0, "manifests/llama.yaml: valid\n")


async def test_the_tour_begins_with_adaptive_and_has_the_percentage_example_as_users_know_it() -> None:
    (first,) = manifests.parse(block("apiVersion"), settings=Settings()).specs
    around = yaml.safe_load(block("apiVersion"))
    del around["spec"]["offloadingConfig"]["preset"]
    around["spec"]["offloadingConfig"] |= yaml.safe_load(block("offloadingConfig"))["offloadingConfig"]
    (second,) = manifests.parse(yaml.safe_dump(around), settings=Settings()).specs

    assert (first.behavior.mode, first.behavior.percentage) == (Mode.ADAPTIVE, 100)
    assert (second.behavior.mode, second.behavior.percentage) == (Mode.FIXED, 50)
    assert block("offloadingConfig") == USERS_EXAMPLE


def test_explain_prints_what_the_tour_shows_of_its_model() -> None:
    (whole,) = manifests.parse(block("apiVersion"), settings=Settings()).specs
    world = World(minute=Minute(timedelta(minutes=1), RequestCounters(in_flight=26, local=240, overflow=90)))
    previous = None
    for waiting, cache, in_flight, overflowed in ((9, "0.8", 40, 0), (5, "0.75", 26, 30), ("4.5", "0.7", 26, 30)):
        since, world.at = world.at, world.at + timedelta(seconds=15)
        read = (pod_samples(each, each, at=world.at, window=timedelta(0)) for each in (waiting, cache))
        counted = Flow(since, world.at, in_flight, in_flight, 60, overflowed, overflowed)
        seen = signals(*read, at=world.at, ready=2, flow=counted)
        record = cycle.run(whole, seen, previous=previous, now=world.at, took=timedelta(milliseconds=12))
        world.sink.record(record)
        previous = record.decision
    world.at += timedelta(seconds=1)

    screen = shown(world, width=134)

    (sample,) = (each.text for each in pages.blocks("") if each.page == README and "MetricBelowTarget" in each.text)
    assert screen.startswith(sample.rstrip("\n"))


async def test_settings_for_a_cluster_are_values_of_the_chart() -> None:
    values = yaml.safe_load((ROOT / "chart" / "values.yaml").read_text())

    assert set(yaml.safe_load(block("config"))) <= set(values)


@pytest.mark.system
async def test_run_serves_locally_and_explain_and_override_do_what_the_tour_says() -> None:
    manifest = block("apiVersion").replace("api.example.com", "localhost")
    async with (
        model_server(vllm__num_requests_waiting=2) as local,
        controller(manifest, local=[local.address]) as running,
    ):
        await eventually(lambda: is_served_by(running, "local"), within=20, what="the gateway answers")

        code, explained = await run(
            [*without("--watch", command("explain")), f"--address=http://{running.web}"], running.folder
        )
        assert code == 0, explained
        assert "vllm:num_requests_waiting 2 per pod <= 5" in " ".join(explained.split())

        code, said = await run([*command("override")[:-1], str(running.state)], running.folder)
        assert code == 0, said
        await running.reaches(25)
        assert "a rehearsal" in (await running.model())["decision"]["message"]


@pytest.mark.system
async def test_simulate_replays_the_model_of_the_tour_as_it_says(tmp_path: Path) -> None:
    """The preset has two metrics, and the tour had a query for one of them."""
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "llama.yaml").write_text(block("apiVersion"))
    asked = command("simulate")
    async with prometheus(history=recent("vllm:num_requests_waiting", "vllm:kv_cache_usage_perc")) as server:
        asked[asked.index("--prometheus") + 1] = server.address

        code, said = await run(asked, tmp_path)

    assert code == 0, said
    assert "as written" in said
    assert "behavior.percentage=30" in said


def recent(*names: str) -> str:
    """Return the last 10 minutes of these metrics."""
    now = int(datetime.now(UTC).timestamp())
    series = (
        "\n".join([f"# TYPE {name} gauge", *(f"{name} 0.5 {at}" for at in range(now - 600, now, 15))]) for name in names
    )
    return "\n".join([*series, "# EOF\n"])


def without(option: str, arguments: list[str]) -> list[str]:
    return [each for each in arguments if each != option]


async def is_served_by(running: Controller, side: str) -> bool:
    answer = await client.ask(running.front, "/")
    return answer.header("x-offload-served-by") == side
