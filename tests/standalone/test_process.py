"""Processes that outlive us, with real ones."""

import asyncio
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from beamlit_controller.standalone import process
from beamlit_controller.standalone.process import Process
from waiting import eventually

# PR_SET_PDEATHSIG
BOUND = """
import ctypes, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
print('here', flush=True)
signal.pause()
"""
ENDS_AT_ONCE = """
import sys
from pathlib import Path
from beamlit_controller.standalone.process import Process
folder = Path(sys.argv[1])
Process.start([sys.executable, "-c", sys.argv[3], sys.argv[2]], directory=folder, log=folder / "log")
"""
# PR_SET_CHILD_SUBREAPER
REAPER = """
import asyncio, ctypes, sys
from pathlib import Path
from beamlit_controller.standalone.process import Process
ctypes.CDLL(None).prctl(36, 1)

async def main():
    folder = Path(sys.argv[1])
    for script in ("exit 3", "kill -9 $$"):
        async with Process.start(["/bin/sh", "-c", script], directory=folder, log=folder / "log") as running:
            print(await running.exited())

asyncio.run(main())
"""
SLEEPER = "import signal, sys; print('here', flush=True); signal.pause()"


def start(tmp_path: Path, mark: str) -> Process:
    return Process.start([sys.executable, "-c", SLEEPER, mark], directory=tmp_path, log=tmp_path / "log")


async def test_a_process_is_found_by_its_argument_and_only_by_the_whole_of_it(tmp_path: Path) -> None:
    mark = str(tmp_path / "bootstrap.json")
    started = start(tmp_path, mark)
    await eventually(lambda: "here" in (tmp_path / "log").read_text())

    found = process.find(mark)

    assert [each.pid for each in found] == [started.pid]
    assert process.find(mark.removesuffix("n")) == []
    started.send(signal.SIGKILL)
    await started.exited()
    for each in (started, *found):
        each.close()


async def test_the_end_of_a_child_and_of_an_adopted_process_is_seen(tmp_path: Path) -> None:
    mark = str(tmp_path / "bootstrap.json")
    child = start(tmp_path, mark)
    await eventually(
        lambda: "here" in (tmp_path / "log").read_text()
    )  # it has no arguments for a moment while it begins
    (adopted,) = process.find(mark)

    adopted.send(signal.SIGTERM)
    async with asyncio.timeout(60):
        await adopted.exited()
        await child.exited()

    assert process.find(mark) == []
    child.close()
    adopted.close()


async def test_a_signal_to_one_that_has_ended_hits_nobody(tmp_path: Path) -> None:
    child = start(tmp_path, "mark")
    child.send(signal.SIGKILL)
    await child.exited()

    child.send(signal.SIGTERM)

    child.close()


async def test_what_it_prints_is_in_its_log(tmp_path: Path) -> None:
    child = Process.start([sys.executable, "-c", "print('hello')"], directory=tmp_path, log=tmp_path / "log")

    await child.exited()

    assert (tmp_path / "log").read_text() == "hello\n"
    child.close()


async def test_after_its_context_it_runs_on_and_no_signal_reaches_anybody(tmp_path: Path) -> None:
    async with start(tmp_path, str(tmp_path / "mark")) as child:
        await eventually(lambda: "here" in (tmp_path / "log").read_text())

    child.send(signal.SIGKILL)
    child.close()

    assert child.closed
    (running,) = process.find(str(tmp_path / "mark"))
    async with running:
        running.send(signal.SIGKILL)
        await running.exited()


async def test_one_that_is_not_watched_any_more_can_not_be_waited_for(tmp_path: Path) -> None:
    child = start(tmp_path, "mark")
    child.send(signal.SIGKILL)
    await child.exited()
    child.close()

    with pytest.raises(ValueError, match="not watched"):
        await child.exited()


def test_how_it_ended_is_told_where_we_are_who_adopts_orphans(tmp_path: Path) -> None:
    """So it is for the first process of a container."""
    said = subprocess.run([sys.executable, "-c", REAPER, str(tmp_path)], capture_output=True, text=True, check=False)

    assert said.stdout.splitlines() == ["exited with status 3", "was killed by signal 9"], said.stderr


async def test_it_does_not_end_with_the_process_that_started_it(tmp_path: Path) -> None:
    """Even if it asks for that, as an Envoy does that can be hot restarted."""
    mark = str(tmp_path / "mark")
    await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", ENDS_AT_ONCE, str(tmp_path), mark, BOUND], check=True
    )

    await eventually(lambda: "here" in (tmp_path / "log").read_text())

    (running,) = process.find(mark)
    async with running:
        running.send(signal.SIGKILL)
        await running.exited()


async def test_a_program_that_was_replaced_is_not_what_runs(tmp_path: Path) -> None:
    program = tmp_path / "program"
    shutil.copy("/bin/sleep", program)
    async with Process.start([str(program), "100"], directory=tmp_path, log=tmp_path / "log") as running:
        await eventually(lambda: running.runs(program))

        shutil.copy("/bin/sleep", tmp_path / "new")
        (tmp_path / "new").rename(program)

        assert not running.runs(program)
        assert running.arguments == [str(program), "100"]
        running.send(signal.SIGKILL)
        await running.exited()
