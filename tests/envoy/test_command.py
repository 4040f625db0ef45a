"""How Envoy is started: the binary itself, with the options that keep it safe."""

import subprocess
from datetime import timedelta
from itertools import pairwise

import pytest

from beamlit_controller.envoy import command
from beamlit_controller.envoy.command import HotRestart

pytestmark = pytest.mark.system


def test_the_binary_is_envoy_and_no_launcher_of_it() -> None:
    with command.binary().open("rb") as file:
        magic = file.read(4)
    version = subprocess.run([command.binary(), "--version"], capture_output=True, text=True, check=True).stdout

    assert magic == b"\x7fELF"
    assert "/1.40.0/" in version


def test_the_command_names_the_bootstrap_and_what_a_gateway_must_not_do() -> None:
    words = command.command("/state/llama", concurrency=2, log_path="/state/llama/log", drain=timedelta(seconds=30))

    assert words[0] == str(command.binary())
    assert {"--disable-hot-restart", "--reject-unknown-dynamic-fields"} <= set(words)
    assert dict(pairwise(words)).items() >= {
        ("--config-path", "/state/llama/bootstrap.json"),
        ("--concurrency", "2"),
        ("--log-path", "/state/llama/log"),
        ("--drain-time-s", "30"),
    }
    assert "--log-path" not in command.command("/state/llama", concurrency=1)


def test_a_successor_has_the_id_of_the_one_before_it_and_an_id_that_envoy_can_hold() -> None:
    first, second = (
        dict(
            pairwise(
                command.command(f"/state/{name}", concurrency=1, hot_restart=HotRestart(epoch, timedelta(minutes=5)))
            )
        )
        for name, epoch in (("llama", 0), ("llama", 1))
    )
    others = [
        command.command(f"/state/{number}", concurrency=1, hot_restart=HotRestart(0, timedelta()))
        for number in range(100)
    ]
    ids = [int(dict(pairwise(words))["--base-id"]) for words in others]

    assert first["--base-id"] == second["--base-id"]
    assert (first["--restart-epoch"], second["--restart-epoch"]) == ("0", "1")
    assert second["--parent-shutdown-time-s"] == "300"
    assert len(set(ids)) == len(ids)
    assert max(ids) * 10 + 9 < 2**31
