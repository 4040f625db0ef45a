"""Processes that outlive us, with real ones."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from beamlit_controller.standalone import process
from beamlit_controller.standalone.process import Process
from waiting import eventually

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
    await eventually(lambda: process.find(mark))
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
        assert await running.exited() == "was killed by signal 9"


async def test_one_that_is_not_watched_any_more_can_not_be_waited_for(tmp_path: Path) -> None:
    child = start(tmp_path, "mark")
    child.send(signal.SIGKILL)
    await child.exited()
    child.close()

    with pytest.raises(ValueError, match="not watched"):
        await child.exited()


async def test_how_it_ended_is_told(tmp_path: Path) -> None:
    async with Process.start([sys.executable, "-c", "exit(3)"], directory=tmp_path, log=tmp_path / "log") as child:
        assert await child.exited() == "exited with status 3"
