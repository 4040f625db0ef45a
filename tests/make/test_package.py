"""Wheel and sdist, as a user installs them: in an environment that has nothing else, everything by hash."""

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from fakes.ports import free_port
from waiting import patiently

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).parent / "uv"

pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Built:
    """What was built, and where it is installed."""

    wheel: Path
    sdist: Path
    environment: Path

    def run(self, command: str, *arguments: object) -> str:
        """Run an installed command, and give what it printed."""
        return printed(self.environment / "bin" / command, *arguments)


def printed(*line: object) -> str:
    done = subprocess.run([str(word) for word in line], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("package")
    backend = "import sys, uv_build; uv_build.build_wheel(sys.argv[1]); uv_build.build_sdist(sys.argv[1])"
    subprocess.run([sys.executable, "-c", backend, str(folder)], cwd=ROOT, check=True, timeout=120)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    environment = folder / "environment"
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    pinned = folder / "pinned.txt"
    locked = (ROOT / "requirements/run.txt").read_text()
    pinned.write_text(f"{locked}\nbeamlit-controller @ {wheel.as_uri()} --hash=sha256:{digest}\n")
    printed(UV, "venv", "--python", sys.executable, environment)
    python = environment / "bin/python"
    printed(UV, "pip", "install", "--python", python, "--no-deps", "--require-hashes", "--requirements", pinned)
    return Built(wheel, sdist, environment)


@contextmanager
def running(line: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as file, subprocess.Popen(line, stdout=file, stderr=file) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)


def page(address: str) -> str:
    try:
        return httpx2.get(f"http://{address}/", headers={"accept": "text/html"}, trust_env=False).text
    except httpx2.HTTPError:
        return ""


def test_what_is_installed_initialises_checks_and_runs(built: Built, tmp_path: Path) -> None:
    web, front = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    local = ("--local", "127.0.0.1:9", "--preset", "vllm", "--remote", "https://api.example.com")

    built.run("beamlit-controller", "init", tmp_path, *local, "--listen", front, "--web-listen", web)
    checked = built.run(
        "beamlit-controller", "check", "--standalone", tmp_path / "manifests", tmp_path / "settings.yaml"
    )

    assert [line.rpartition(": ")[2] for line in checked.splitlines()] == ["valid", "valid"]
    command = [str(built.environment / "bin/beamlit-controller"), "run", f"--manifests={tmp_path / 'manifests'}"]
    command += [f"--settings={tmp_path / 'settings.yaml'}", f"--state-dir={tmp_path / 'state'}"]
    with running(command, tmp_path / "log"):
        patiently(lambda: "page/page.js" in page(web), what="the page is served")
        script = httpx2.get(f"http://{web}/page/page.js", trust_env=False)
        patiently(lambda: httpx2.get(f"http://{web}/readyz", trust_env=False).is_success, what="Envoy is up")
    assert script.status_code == 200


def test_the_page_s_commands_write_what_the_page_s_check_accepts(built: Built, tmp_path: Path) -> None:
    page = (ROOT / "docs/on-one-machine.md").read_text()
    commands = [
        line for line in page.splitlines() if line.startswith(("beamlit-controller init", "beamlit-controller check"))
    ]

    ended = [
        subprocess.run(
            ["sh", "-c", f"PATH={built.environment}/bin:$PATH; {command}"],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        for command in commands
    ]

    assert [each.returncode for each in ended] == [0, 0], ended


def test_all_commands_are_there(built: Built) -> None:
    version = built.run("beamlit-controller", "--version").strip()

    assert f"beamlit_controller-{version}-" in built.wheel.name
    assert "override" in built.run("kubectl-offload", "--help")


def test_the_sdist_has_what_the_wheel_is_built_of_and_nothing_of_the_tests(built: Built) -> None:
    with tarfile.open(built.sdist) as sdist, zipfile.ZipFile(built.wheel) as wheel:
        sources = {name.partition("/src/")[2] for name in sdist.getnames() if "/src/" in name}
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name and not name.endswith("/")}
        tests = [name for name in sdist.getnames() if "/tests/" in name]

    assert packed <= sources
    assert "beamlit_controller/telemetry/static/index.html" in packed
    assert tests == []
