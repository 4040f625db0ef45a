"""Watches the settings file: changes restart the controller; those that are invalid or can't work are reported and ignored."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import structlog

from beamlit_controller.api import regular_file
from beamlit_controller.api import settings as api_settings
from beamlit_controller.api.problems import Problem
from beamlit_controller.api.settings import Settings
from beamlit_controller.core.spec import Rejected

log = structlog.get_logger()

LOOK = 0.5
"""Seconds between two checks of the file."""
TRY_AGAIN = 5.0
"""Seconds after which valid settings that could not work are tried again: a port may be free by then."""

Trial = Callable[[Settings], Awaitable[Sequence[Rejected]]]
"""Returns why valid settings can't work on this machine."""


async def _works(_: Settings) -> Sequence[Rejected]:
    return ()


class SettingsWatch:
    """Polls the settings file and reports when it differs from the settings in force. Without a path it never changes.

    Settings for which `trial` returns problems are not put in force.
    """

    def __init__(self, path: Path | None, in_force: Settings, trial: Trial = _works) -> None:
        self._path = path
        self._in_force = in_force
        self._trial = trial
        self._problems: tuple[Problem, ...] = ()
        self._due: float | None = None
        self._asked = False

    @property
    def problems(self) -> Sequence[Problem]:
        """Return the mistakes in the current file; the last good settings stay in force."""
        return self._problems

    async def changed(self, reload: asyncio.Event) -> None:
        """Wait for changed settings that work, or for an explicit request (SIGHUP) while the file has such settings."""
        seen = done = _stamp(self._path)
        clock = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await reload.wait()
            before, seen = seen, _stamp(self._path)
            settled = seen == before and seen != done
            due = self._due is not None and clock.time() >= self._due
            if not (reload.is_set() or settled or due):
                continue
            done = seen
            asked = reload.is_set() or (due and self._asked)
            reload.clear()
            if await self._requires_restart(reload=asked):
                return

    async def _requires_restart(self, *, reload: bool) -> bool:
        if self._path is None:
            return reload
        found = _read(self._path)
        if isinstance(found, Settings):
            requested = reload or found != self._in_force
            failed = await self._trial(found) if requested else ()
            problems = tuple(Problem(str(self._path), each.field, each.message) for each in failed)
        else:
            requested, failed, problems = False, (), found
        self._due = asyncio.get_running_loop().time() + TRY_AGAIN if failed else None
        self._asked = reload and bool(failed)
        self._say(problems)
        return requested and not problems

    def _say(self, problems: tuple[Problem, ...]) -> None:
        """Log new mistakes, and when the last one is fixed."""
        for problem in problems:
            if problem not in self._problems:
                log.warning("settings rejected", where=problem.where, field=problem.field, message=problem.message)
        if self._problems and not problems:
            log.info("settings valid again", where=str(self._path))
        self._problems = problems


@contextlib.contextmanager
def hangups(stop: asyncio.Event) -> Iterator[asyncio.Event]:
    """Provide an event that SIGHUP sets. If it was sent because our terminal was closed, it sets `stop` instead.

    If SIGHUP is ignored, as with nohup, it stays ignored.
    """
    reload, loop, had_terminal = asyncio.Event(), asyncio.get_running_loop(), _has_terminal()
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        yield reload
        return

    def received() -> None:
        (stop if had_terminal and not _has_terminal() else reload).set()

    loop.add_signal_handler(signal.SIGHUP, received)
    try:
        yield reload
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


def _read(path: Path) -> Settings | tuple[Problem, ...]:
    try:
        found = api_settings.parse(regular_file.text(path))
    except OSError as error:
        return (Problem(str(path), "", f"can't be read: {error.strerror or error}"),)
    except UnicodeDecodeError as error:
        return (Problem(str(path), "", f"is not UTF-8 text: {error.reason} at byte {error.start}"),)
    except Exception as error:  # noqa: BLE001 - whatever is in the file, the settings in force stay
        return (Problem(str(path), "", f"can't be read: {error!r}"),)
    return (
        found if isinstance(found, Settings) else tuple(Problem(str(path), each.field, each.message) for each in found)
    )


def _stamp(path: Path | None) -> object:
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError as error:
        return error.errno
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _has_terminal() -> bool:
    """Return whether this process has a controlling terminal, which it loses when the terminal is closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True
