"""The processes of the demo: ended with their block, with the demo however it dies, and with what they leave behind."""

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from demo.children import ROOT, ChildEndedError
from demo.ports import Ports

from demo import children, place, ports
from waiting import eventually

pytestmark = pytest.mark.system

LEAVES_A_CHILD = "sleep 1000 & echo $!; wait"
ABANDONS_A_CHILD = "setsid sleep 1000 & echo $!; exit 3"


def printed(log: Path) -> int | None:
    text = log.read_text().strip()
    return int(text) if text else None


@pytest.mark.parametrize("script", [LEAVES_A_CHILD, "setsid sleep 1000 & echo $!; wait"])
async def test_the_end_of_the_block_ends_a_process_and_its_children(script: str, tmp_path: Path) -> None:
    async with asyncio.timeout(60), children.running("shell", ["sh", "-c", script], logs=tmp_path) as child:
        await eventually(lambda: printed(child.log))
        grandchild = psutil.Process(printed(child.log))

    assert not grandchild.is_running()


async def test_a_process_that_ends_too_early_is_told_with_what_it_said_and_takes_its_orphans_along(
    tmp_path: Path,
) -> None:
    async with asyncio.timeout(60), children.running("shell", ["sh", "-c", ABANDONS_A_CHILD], logs=tmp_path) as child:
        with pytest.raises(ChildEndedError, match=r"shell ended with code 3; the end of .*shell\.log") as ended:
            await child.stays()

    orphan = str(ended.value).splitlines()[-1]
    assert not psutil.pid_exists(int(orphan))


async def test_a_process_killed_by_a_signal_is_told_as_a_shell_does(tmp_path: Path) -> None:
    async with asyncio.timeout(60), children.running("shell", ["sh", "-c", "kill -9 $$"], logs=tmp_path) as child:
        with pytest.raises(ChildEndedError, match="code 137"):
            await child.stays()


HOLDER = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-m", "demo.process_guard", *sys.argv[1:]], stdin=subprocess.PIPE)
time.sleep(1000)
"""


async def test_a_demo_that_is_killed_leaves_nothing_running() -> None:
    command = [sys.executable, "-c", HOLDER, "sh", "-c", LEAVES_A_CHILD]
    demo = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    grandchild = psutil.Process(int(await demo.stdout.readline()))

    demo.kill()
    await demo.wait()

    await eventually(lambda: not grandchild.is_running(), what="the grandchild has ended")


def test_the_examples_are_adjusted_to_other_ports_and_to_the_folder_of_the_run(tmp_path: Path) -> None:
    made = place.prepare(tmp_path, Ports(28080))

    settings = made.settings.read_text()
    assert {"127.0.0.1:28080", "127.0.0.1:28081", "127.0.0.1:28101", "127.0.0.1:28102"} <= set(_addresses(settings))
    assert all(f"host: localhost:{port}" in (made.manifests / "demo.yaml").read_text() for port in (28443, 28444))
    assert f"secretsDirectory: {tmp_path}/secrets" in settings
    assert (tmp_path / "secrets" / "remote-ca" / "ca.crt").read_bytes() == made.tls.ca.read_bytes()


def test_the_examples_pass_the_controllers_own_check(tmp_path: Path) -> None:
    made = place.prepare(tmp_path, Ports(28080))
    command = [sys.executable, "-c", "from beamlit_controller.cli.main import main; main()", "check", "--standalone"]

    checked = subprocess.run(
        [*command, made.manifests / "demo.yaml", made.settings], capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stdout


def test_an_earlier_runs_state_is_removed(tmp_path: Path) -> None:
    place.prepare(tmp_path, Ports())
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "old").touch()
    (tmp_path / "offloading.png").touch()

    place.prepare(tmp_path, Ports())

    assert not (tmp_path / "state").exists()
    assert (tmp_path / "offloading.png").exists()


def test_a_port_that_is_taken_is_told_with_who_needs_it() -> None:
    chosen = _free()

    with socket.create_server(("127.0.0.1", chosen.local[1])):
        assert ports.taken(chosen) == (("local server 2", chosen.local[1]),)
    assert ports.taken(chosen) == ()


def test_the_command_refuses_taken_ports_and_names_others() -> None:
    chosen = _free()

    with socket.create_server(("127.0.0.1", chosen.gateway)):
        ran = _demo("--base-port", str(chosen.base))

    assert ran.returncode == 1
    assert f"port {chosen.base} (gateway)" in ran.stderr
    assert "Choose others with --base-port" in ran.stderr


def test_the_command_refuses_a_picture_that_it_cannot_draw() -> None:
    ran = _demo("--output", "run.docx")

    assert ran.returncode == 1
    assert "expected a file that ends in .png or .svg, got run.docx" in ran.stderr


def test_the_command_tells_its_options() -> None:
    said = _demo("--help").stdout

    assert all(option in said for option in ("--duration", "--output", "--base-port", "--plain"))


def _demo(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "demo", *options], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )


def _free() -> Ports:
    return next(each for base in range(30000, 60000, 1000) if not ports.taken(each := Ports(base)))


def _addresses(text: str) -> list[str]:
    return [word.strip('[]",') for word in text.split()]
