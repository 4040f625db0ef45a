"""Watches the settings file: valid changes restart the controller, invalid ones are reported and ignored."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import structlog

from beamlit_controller.api import settings as api_settings
from beamlit_controller.api.problems import Problem
from beamlit_controller.api.settings import Settings

log = structlog.get_logger()

LOOK = 0.5
"""Seconds between two checks of the file."""


class SettingsWatch:
    """Polls the settings file and reports when it differs from the settings in force. Without a path it never changes."""

    def __init__(self, path: Path | None, in_force: Settings) -> None:
        self._path = path
        self._in_force = in_force
        self._problems: tuple[Problem, ...] = ()

    @property
    def problems(self) -> Sequence[Problem]:
        """Return the mistakes in the current file; the last valid settings stay in force."""
        return self._problems

    async def changed(self, reload: asyncio.Event) -> None:
        """Wait for changed, valid settings, or for an explicit request (SIGHUP) while the file is valid."""
        seen = done = _stamp(self._path)
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await reload.wait()
            before, seen = seen, _stamp(self._path)
            settled = seen == before and seen != done
            if not (reload.is_set() or settled):
                continue
            done = seen
            if self._requires_restart(reload=reload.is_set()):
                return
            reload.clear()

    def _requires_restart(self, *, reload: bool) -> bool:
        if self._path is None:
            return reload
        found = _read(self._path)
        if isinstance(found, Settings):
            self._say(())
            return reload or found != self._in_force
        self._say(found)
        return False

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
        found = api_settings.parse(path.read_text(encoding="utf-8"))
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
