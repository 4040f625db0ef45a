"""The settings file, followed, in virtual time."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from beamlit_controller.api import settings as api_settings
from beamlit_controller.api.settings import Settings
from beamlit_controller.core.spec import Rejected
from beamlit_controller.standalone.settings_watch import SettingsWatch

pytestmark = pytest.mark.looptime

GOOD = "config:\n  standalone:\n    listen: 127.0.0.1:8000\n"
OTHER = "config:\n  standalone:\n    listen: 127.0.0.1:9000\n"


IN_USE = Rejected("config.standalone.webListen", "Address already in use")


@dataclass
class Machine:
    """What the machine has against any settings."""

    objections: Sequence[Rejected] = ()
    tried: list[Settings] = field(default_factory=list)

    async def trial(self, settings: Settings) -> Sequence[Rejected]:
        """Try these settings."""
        self.tried.append(settings)
        return self.objections


@dataclass
class Followed:
    """A file that is followed."""

    path: Path
    file: SettingsWatch
    asked: asyncio.Event
    task: asyncio.Task[None]

    async def write(self, text: str | bytes) -> None:
        """Put text in place, and let the file be looked at some times."""
        new = self.path.with_name("new")
        new.write_bytes(text if isinstance(text, bytes) else text.encode())
        new.rename(self.path)
        await asyncio.sleep(5)

    @property
    def messages(self) -> list[str]:
        return [f"{problem.field}: {problem.message}" for problem in self.file.problems]


def written(path: Path) -> Path:
    path.write_text(GOOD)
    return path


@asynccontextmanager
async def followed(path: Path, machine: Machine | None = None) -> AsyncIterator[Followed]:
    in_force, asked = api_settings.parse(GOOD), asyncio.Event()
    assert isinstance(in_force, Settings)
    file = SettingsWatch(written(path), in_force, (machine or Machine()).trial)
    task = asyncio.create_task(file.changed(asked))
    await asyncio.sleep(5)
    yield Followed(path, file, asked, task)
    task.cancel()
    await asyncio.wait([task])


async def test_other_settings_are_a_reason_to_start_anew(tmp_path: Path) -> None:
    async with followed(tmp_path / "settings.yaml") as it:
        await it.write(OTHER)

        assert it.task.done()


async def test_the_same_settings_written_otherwise_are_none(tmp_path: Path) -> None:
    async with followed(tmp_path / "settings.yaml") as it:
        await it.write(f"# a comment\n{GOOD}")

        assert not it.task.done()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("config:\n  standalone:\n    lisen: x\n", "lisen"),
        ("config: [\n", "YAML"),
        (b"\xff\xfe", "is not UTF-8 text"),
        ("[" * 100_000, ""),
    ],
)
async def test_what_is_wrong_is_told_until_it_is_mended_and_changes_nothing(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    async with followed(tmp_path / "settings.yaml") as it:
        await it.write(text)

        assert it.file.problems
        assert message in it.messages[0]
        assert not it.task.done()

        await it.write(GOOD)

        assert not it.file.problems
        assert not it.task.done()


async def test_a_file_that_went_is_told_and_taken_up_when_it_is_back(tmp_path: Path) -> None:
    async with followed(tmp_path / "settings.yaml") as it:
        it.path.unlink()
        await asyncio.sleep(5)
        assert it.messages == [": can't be read: No such file or directory"]

        await it.write(OTHER)

        assert it.task.done()


async def test_a_pipe_in_place_of_the_file_is_told_and_does_not_block(tmp_path: Path) -> None:
    async with followed(tmp_path / "settings.yaml") as it:
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "pipe").rename(it.path)
        await asyncio.sleep(5)
        assert it.messages == [": can't be read: it is not a regular file"]

        await it.write(OTHER)

        assert it.task.done()


async def test_who_asks_gets_a_new_start_unless_the_settings_are_wrong(tmp_path: Path) -> None:
    async with followed(tmp_path / "settings.yaml") as it:
        await it.write("config: 1\n")
        it.asked.set()
        await asyncio.sleep(5)
        assert not it.task.done()
        await it.write(GOOD)

        it.asked.set()
        await asyncio.sleep(5)

        assert it.task.done()


async def test_settings_that_can_not_work_here_are_told_and_change_nothing(tmp_path: Path) -> None:
    """The controller restarted with an address in use, and ended there."""
    machine = Machine((IN_USE,))
    async with followed(tmp_path / "settings.yaml", machine) as it:
        await it.write(OTHER)

        assert it.messages == ["config.standalone.webListen: Address already in use"]
        assert not it.task.done()
        await it.write(GOOD)

        assert not it.file.problems
        assert not it.task.done()


async def test_settings_that_could_not_work_are_tried_again_and_put_in_force_once_they_can(tmp_path: Path) -> None:
    machine = Machine((IN_USE,))
    async with followed(tmp_path / "settings.yaml", machine) as it:
        await it.write(OTHER)
        await asyncio.sleep(20)
        assert not it.task.done()
        assert 2 < len(machine.tried) < 10

        machine.objections = ()
        await asyncio.sleep(20)

        assert it.task.done()


async def test_who_asks_gets_no_new_start_where_the_present_settings_can_no_longer_work(tmp_path: Path) -> None:
    async with followed(tmp_path / "settings.yaml", Machine((IN_USE,))) as it:
        it.asked.set()
        await asyncio.sleep(5)

        assert it.messages == ["config.standalone.webListen: Address already in use"]
        assert not it.task.done()


async def test_a_new_start_that_could_not_work_is_tried_again(tmp_path: Path) -> None:
    """It was forgotten, and the settings were reported as valid again."""
    machine = Machine((IN_USE,))
    async with followed(tmp_path / "settings.yaml", machine) as it:
        it.asked.set()
        await asyncio.sleep(20)
        assert it.messages == ["config.standalone.webListen: Address already in use"]

        machine.objections = ()
        await asyncio.sleep(20)

        assert it.task.done()
