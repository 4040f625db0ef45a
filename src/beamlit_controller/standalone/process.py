"""Processes that outlive us: started in a session of their own, found again by their command line, watched by pidfd."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

PROC = Path("/proc")


class Process:
    """A running process, ours by birth or by adoption. The pidfd makes sure that no signal hits a later owner of the pid."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)

    @classmethod
    def start(cls, command: Sequence[str], *, directory: Path, log: Path) -> Self:
        """Start a process that survives us, with `log` for what it prints."""
        with log.open("ab") as output:
            child = subprocess.Popen(  # noqa: S603 - our own command line, no shell
                command,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        child.returncode = 0  # reaped by `exited`, through the pidfd, as an adopted one would be
        return cls(child.pid)

    async def exited(self) -> None:
        """Wait until the process has ended."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(self._descriptor, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._descriptor)
        self._reap()

    def send(self, number: signal.Signals) -> None:
        """Send a signal; one that has ended already gets none."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, number)

    def close(self) -> None:
        """Give up watching; the process runs on."""
        os.close(self._descriptor)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, self._descriptor, os.WEXITED | os.WNOHANG)


def find(argument: str) -> list[Process]:
    """Give the running processes of this user that have this argument, whole, on their command line."""
    found = []
    for entry in PROC.iterdir():
        if entry.name.isdigit() and _has(entry, argument):
            with contextlib.suppress(ProcessLookupError):
                process = Process(int(entry.name))
                # The pid may have changed hands before the pidfd was open: look again now that it can't.
                if _has(entry, argument):
                    found.append(process)
                else:
                    process.close()
    return found


def _has(entry: Path, argument: str) -> bool:
    try:
        if entry.stat().st_uid != os.getuid():
            return False
        return argument.encode() in (entry / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
