"""`init` as it is typed: what it writes, what it asks, and what it refuses. What it wrote is run."""

import asyncio
import configparser
import os
import pty
import re
import shlex
import stat
import subprocess
from dataclasses import replace
from importlib.metadata import metadata, version
from pathlib import Path

import pytest
import yaml

from beamlit_controller.api import presets
from beamlit_controller.cli import scaffold
from beamlit_controller.cli.main import app
from fakes import client, commands, load
from fakes.commands import COMMAND
from fakes.controller import Controller
from fakes.model_server import model_server
from fakes.ports import free_port
from fakes.upstream import upstream

GIVEN = {"--local": "127.0.0.1:8000", "--remote": "https://api.example.com", "--preset": "vllm", "--name": "llama"}


def init(folder: Path, *more: str, **changes: str | None) -> subprocess.CompletedProcess[str]:
    """Run it with the usual flags; a change to None leaves one out."""
    flags = GIVEN | {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
    words = [word for flag, value in flags.items() if value is not None for word in (flag, value)]
    return typed("init", str(folder), *words, *more)


def typed(*words: str) -> subprocess.CompletedProcess[str]:
    return commands.typed(*words)


def printed_check(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    """Run the check that it printed."""
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("  beamlit-controller check")]
    return typed(*shlex.split(line)[1:])


def written(folder: Path) -> tuple[dict[str, object], dict[str, object]]:
    """Return the config and the spec."""
    config = yaml.safe_load((folder / "settings.yaml").read_text())["config"]
    (manifest,) = (folder / "manifests").iterdir()
    return config, yaml.safe_load(manifest.read_text())["spec"]


def test_a_server_at_the_gateways_usual_port_moves_the_gateway(tmp_path: Path) -> None:
    """That is where llama.cpp listens by default."""
    done = init(tmp_path / "b", local="localhost:8080", preset="llamacpp")

    assert "send requests to http://127.0.0.1:8090" in done.stdout
    assert written(tmp_path / "b")[0]["standalone"]["listen"] == {"default/llama": "127.0.0.1:8090"}


@pytest.mark.parametrize("preset", [scaffold.NO_PRESET, *presets.WITHOUT_METRICS])
def test_a_server_without_metrics_is_kept_at_a_time_to_first_byte(tmp_path: Path, preset: str) -> None:
    done = init(tmp_path / "b", "--first-byte", "1.5", preset=preset)

    checked = printed_check(done)
    spec = written(tmp_path / "b")[1]
    assert (checked.returncode, checked.stdout.count("valid")) == (0, 2), checked.stdout
    config = spec["offloadingConfig"]
    assert isinstance(config, dict)
    (metric,) = config["metrics"]
    assert metric == {
        "type": "Gateway",
        "gateway": {
            "metric": {"name": "local_time_to_first_byte_seconds"},
            "target": {"type": "Value", "value": "1.5"},
        },
    }
    assert config["behavior"] == {"mode": "Adaptive", "percentage": 100}


@pytest.mark.parametrize("preset", [*presets.PRESETS, scaffold.NO_PRESET])
def test_what_is_given_for_any_server_is_valid(tmp_path: Path, preset: str) -> None:
    setup = scaffold.Setup(tmp_path, ("127.0.0.1:8000",), "https://api.example.com", preset)

    texts = scaffold.files(setup)

    assert set(texts) == {setup.settings, setup.manifest}


def test_what_it_wrote_is_valid_by_the_check_that_it_prints(tmp_path: Path) -> None:
    done = init(tmp_path / "a folder", "--in-flight", "4", local="http://127.0.0.1:8000,127.0.0.1:8001")

    checked = printed_check(done)

    assert (done.returncode, done.stderr) == (0, "")
    assert checked.returncode == 0
    assert [line.rpartition(": ")[2] for line in checked.stdout.splitlines()] == ["valid", "valid"]
    config, spec = written(tmp_path / "a folder")
    assert config["standalone"]["services"] == {"default/llama": ["127.0.0.1:8000", "127.0.0.1:8001"]}
    assert config["allowedRemoteHosts"] == ["api.example.com"]
    assert spec["offloadingConfig"]["overflow"]["maxInFlightPerReplica"] == 4


@pytest.mark.parametrize(
    ("remote", "backend"),
    [
        ("api.example.com", {"scheme": "https", "host": "api.example.com"}),
        ("https://api.example.com/v1/", {"scheme": "https", "host": "api.example.com"}),
        ("https://example.com/openai/v1", {"scheme": "https", "host": "example.com", "pathPrefix": "/openai"}),
        ("http://127.0.0.1:9000", {"scheme": "http", "host": "127.0.0.1:9000"}),
        ("https://[2001:db8::1]:8443", {"scheme": "https", "host": "[2001:db8::1]:8443"}),
    ],
)
def test_the_remote_is_taken_as_providers_write_it(tmp_path: Path, remote: str, backend: dict[str, str]) -> None:
    setup = scaffold.Setup(tmp_path, ("127.0.0.1:8000",), remote, "vllm")

    spec = yaml.safe_load(scaffold.files(setup)[setup.manifest])["spec"]

    assert spec["offloadingConfig"]["remoteBackend"] == backend


def test_the_key_of_the_remote_is_for_its_owner_alone_and_nowhere_else(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("sk-secret\n")

    done = init(tmp_path / "b", "--systemd", "--compose", remote_key=str(key), remote_model="gpt-x")

    place = tmp_path / "b/secrets/remote/api-key"
    assert place.read_text() == "sk-secret"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    others = [path for path in (tmp_path / "b").rglob("*") if path.is_file() and path != place]
    assert "sk-secret" not in done.stdout + "".join(path.read_text() for path in others)
    assert printed_check(done).returncode == 0
    assert written(tmp_path / "b")[1]["offloadingConfig"]["remoteBackend"]["modelName"] == "gpt-x"


def test_no_file_is_overwritten_and_nothing_is_written_beside_it(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("config: {}\n")

    done = init(tmp_path)

    assert done.returncode == 1
    assert done.stderr == f"beamlit-controller: already exists and is not overwritten: {tmp_path / 'settings.yaml'}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["settings.yaml"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"local": "127.0.0.1"}, '--local: expected host:port, got "127.0.0.1": the port is missing'),
        ({"name": "Llama3"}, "--name: expected a name of at most 55 lower-case letters, digits and '-', got 'Llama3'"),
        ({"preset": "vlm"}, "--preset: expected one of"),
        ({"remote": "ftp://x"}, "--remote: expected a URL"),
        ({"listen": "8080"}, "--listen: expected host:port"),
        ({"web_listen": "8080"}, "--web-listen: expected host:port"),
        ({"remote_key": "/nonexistent"}, "--remote-key: can't read /nonexistent: No such file or directory"),
    ],
)
def test_a_flag_that_is_wrong_is_named(tmp_path: Path, flags: dict[str, str], message: str) -> None:
    done = init(tmp_path / "a", **flags)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"beamlit-controller: {message}")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"local": ("127.0.0.1",)}, "expected host:port, got"),
        ({"local": ("https://127.0.0.1:8000",)}, "expected a local server that speaks plain http"),
        (
            {"local": ("127.0.0.1:8080",)},
            "listen: the model server itself is at 127.0.0.1:8080; choose another address",
        ),
        (
            {"local": ("localhost:8080",)},
            "listen: the model server itself is at 127.0.0.1:8080; choose another address",
        ),
        ({"local": ("127.0.0.1:8081",)}, "web-listen: the model server itself is at 127.0.0.1:8081"),
        ({"listen": "0.0.0.0:8081"}, "--listen: the same address as --web-listen"),
        ({"remote": "ftp://example.com"}, "expected a URL that begins with http:// or https://"),
        ({"remote": "https://user:secret@example.com"}, "remote: a URL with a user or password is not accepted"),
        ({"remote": "http://"}, "expected"),
        ({"remote": 'https://example.com/"]\n#'}, "expected|characters"),
        ({"name": "Not a name"}, "expected"),
        ({"name": "../llama"}, "expected"),
        ({"listen": "8080"}, "expected host:port"),
    ],
)
def test_what_could_not_be_run_is_refused_in_words(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    setup = replace(scaffold.Setup(tmp_path, ("127.0.0.1:8000",), "https://api.example.com", "vllm"), **changes)

    with pytest.raises(ValueError, match=message) as raised:
        scaffold.files(setup)

    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"local": None}, "--local: expected the host:port of the model server, got nothing"),
        ({"preset": "vlm"}, "expected one of vllm, "),
        ({"remote_key": "/does/not/exist"}, "No such file"),
        ({"first_byte": "2"}, "first-byte: the preset vllm has metrics of its own"),
    ],
)
def test_nothing_is_written_of_what_is_refused(tmp_path: Path, changes: dict[str, str | None], message: str) -> None:
    done = init(tmp_path / "b", **changes)

    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "b").exists()


@pytest.mark.system
def test_at_a_terminal_it_asks_for_what_is_missing_and_again_for_what_it_can_not_read(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    words = [COMMAND, "init", str(tmp_path / "b")]
    with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as asked:
        os.close(theirs)
        with os.fdopen(ours, "r+b", buffering=0) as terminal:
            terminal.write(
                b"8000\n127.0.0.1:8000\nhttps://\n\nllamacpp\nhttps://api.example.com\nllama\ngpt-x\nfour\n4\n"
            )
            said = b""
            while b"API key" not in said:
                said += terminal.read(4096)
            terminal.write(b"sk-secret\n")
            code = asked.wait(60)

    assert code == 0
    assert b"expected host:port" in said
    assert b"expected one of vllm" in said
    assert b"a value is required" in said
    assert b"expected a positive integer, or nothing, got 'four'" in said
    assert written(tmp_path / "b")[1]["serviceRef"]["name"] == "llama"
    assert written(tmp_path / "b")[1]["offloadingConfig"]["remoteBackend"]["modelName"] == "gpt-x"
    assert written(tmp_path / "b")[1]["offloadingConfig"]["preset"] == "llamacpp"
    assert written(tmp_path / "b")[1]["offloadingConfig"]["overflow"]["maxInFlightPerReplica"] == 4
    assert (tmp_path / "b/secrets/remote/api-key").read_text() == "sk-secret"


@pytest.mark.parametrize(("typed_in", "values"), [("2.5", ["2.5"]), ("", [])])
def test_at_a_terminal_it_offers_what_the_gateway_measures_for_a_server_without_metrics(
    tmp_path: Path, typed_in: str, values: list[str]
) -> None:
    ours, theirs = pty.openpty()
    words = [COMMAND, "init", str(tmp_path / "b"), "--local", "127.0.0.1:8000", "--remote", "https://api.example.com"]
    with subprocess.Popen(
        [*words, "--preset", "none"], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as asked:
        os.close(theirs)
        with os.fdopen(ours, "r+b", buffering=0) as terminal:
            said = b""
            terminal.write(b"\n\n\n")  # neither a name of its own, here or there, nor how many requests at once
            while b"first byte" not in said:
                said += terminal.read(4096)
            terminal.write(f"{typed_in}\n".encode())
            while b"API key" not in said:
                said += terminal.read(4096)
            terminal.write(b"\n")
            code = asked.wait(60)

    assert code == 0
    config = written(tmp_path / "b")[1]["offloadingConfig"]
    assert isinstance(config, dict)
    assert [each["gateway"]["target"]["value"] for each in config.get("metrics", ())] == values


def test_the_unit_starts_this_command_and_stops_only_the_controller(tmp_path: Path) -> None:
    init(tmp_path / "a folder", "--systemd")

    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str
    unit.read(tmp_path / "a folder/beamlit-controller.service")
    command = shlex.split(unit["Service"]["ExecStart"])
    assert command[0] == str(COMMAND)
    assert f"{tmp_path}/a folder/settings.yaml" in command
    assert unit["Service"]["KillMode"] == "process"


def test_the_compose_file_runs_the_same_as_whoever_wrote_it(tmp_path: Path) -> None:
    init(tmp_path / "b", "--compose")

    (service,) = yaml.safe_load((tmp_path / "b/compose.yaml").read_text())["services"].values()
    assert service["command"][:3] == ["beamlit-controller", "run", "--manifests"]
    assert service["network_mode"] == "host"
    assert service["user"] == f"{os.getuid()}:{os.getgid()}"
    assert service["volumes"] == [f"{tmp_path}/b:{tmp_path}/b"]
    assert service["init"] is True


def test_the_compose_files_command_line_is_one_and_all_that_it_names_is_in_the_container(tmp_path: Path) -> None:
    init(tmp_path / "b", "--compose")
    (service,) = yaml.safe_load((tmp_path / "b/compose.yaml").read_text())["services"].values()
    (mounted,) = {volume.partition(":")[0] for volume in service["volumes"]}

    command, bound, _ = app.parse_args(service["command"][1:], exit_on_error=False)

    assert command.__name__ == "run"
    named = [Path(value) for value in bound.arguments.values() if isinstance(value, Path)]
    secrets = Path(written(tmp_path / "b")[0]["standalone"]["secretsDirectory"])
    assert {path.name for path in named} == {"manifests", "settings.yaml", "state"}
    assert all(path.is_relative_to(mounted) for path in (*named, secrets))
    assert all(path.exists() for path in named if path.name != "state")


def test_the_compose_files_image_has_this_version_on_a_python_that_it_supports(tmp_path: Path) -> None:
    init(tmp_path / "b", "--compose")

    (service,) = yaml.safe_load((tmp_path / "b/compose.yaml").read_text())["services"].values()
    base, install = service["build"]["dockerfile_inline"].splitlines()

    supported = metadata("beamlit-controller")["Requires-Python"].removeprefix(">=")
    python = re.fullmatch(r"FROM python:(3\.\d+)-slim", base)
    assert python is not None
    assert [int(part) for part in python[1].split(".")] >= [int(part) for part in supported.split(".")]
    assert install == f"RUN pip install --no-cache-dir beamlit-controller=={version('beamlit-controller')}"


@pytest.mark.system
async def test_what_it_wrote_runs_serves_locally_and_offloads(tmp_path: Path) -> None:
    front, web = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    async with upstream("remote") as remote, model_server(vllm__num_requests_waiting=0) as local:
        place = {"local": local.address, "remote": f"http://{remote.address}", "listen": front, "web_listen": web}
        done = await asyncio.to_thread(init, tmp_path / "b", **place)
        assert done.returncode == 0, done.stderr
        running = Controller(tmp_path / "b", front, web)
        await running.start()
        first = await client.ask(front, "/v1/chat/completions")
        local.metrics["vllm:num_requests_waiting"] = 50
        await running.reaches(100)
        tally = await load.ask(front, requests=50)
        running.terminate()
        code = await running.ended()

    assert first.header(load.SERVED_BY) == "local"
    assert tally.good == 50
    assert tally.by("remote") > 0
    assert code == 0
