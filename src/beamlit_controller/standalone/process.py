"""Processes that outlive the controller: orphaned from the start, found again by their command line, watched by pidfd.

A gateway therefore keeps serving when the controller ends or crashes, and the next controller adopts it.
"""

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

PROC = Path("/proc")

ORPHAN = 'exec 3<&0; out=$1; shift; { read -r _ <&3; exec "$@" 3<&-; } </dev/null >>"$out" 2>&1 & echo $!'
"""Starts the program as an orphan: the shell exits immediately, and the program starts when we close the pipe.

So the process is init's child from its first moment. An Envoy that can be hot restarted ends together with the process that
is its parent when it begins.
"""


class Process:
    """A running process, started or adopted.

    The pidfd ensures that no signal reaches a later owner of the pid. Leaving the context manager stops watching; the
    process keeps running. Signals sent after that are ignored.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor: int | None = os.pidfd_open(pid)

    @classmethod
    def start(cls, command: Sequence[str], *, directory: Path, log: Path) -> Self:
        """Start a process that survives this one; its output goes to `log`. Raises OSError."""
        ours, begin = os.pipe()
        try:
            pid = _orphan(command, directory=directory, log=log, begin=ours)
            _raise_descriptors(pid)
            return cls(pid)
        finally:
            os.close(ours)
            os.close(begin)

    @property
    def arguments(self) -> Sequence[str]:
        """Return the command line; empty when the process has ended."""
        try:
            return [os.fsdecode(each) for each in (PROC / str(self.pid) / "cmdline").read_bytes().split(b"\0")[:-1]]
        except (FileNotFoundError, ProcessLookupError):
            return []

    def runs(self, program: Path | str) -> bool:
        """Return whether the process runs this very file, which may have been replaced since. Raises OSError."""
        return (PROC / str(self.pid) / "exe").samefile(program)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Return whether watching has stopped."""
        return self._descriptor is None

    async def exited(self) -> str:
        """Wait until the process has ended, and describe how; "" if it was not our child."""
        if self._descriptor is None:
            raise ValueError(f"process {self.pid} is not watched any more")
        descriptor, loop, ended = self._descriptor, asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(descriptor, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(descriptor)
        return _reaped(descriptor)

    def send(self, number: signal.Signals) -> None:
        """Send a signal; ignored if the process has ended or is no longer watched."""
        if self._descriptor is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)

    def close(self) -> None:
        """Stop watching; the process keeps running."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _orphan(command: Sequence[str], *, directory: Path, log: Path, begin: int) -> int:
    """Let a shell start the process, which waits until the other end of the pipe is closed; return its pid."""
    log.open("ab").close()  # so that an error is raised here, instead of printed by the shell
    line = ("/bin/sh", "-c", ORPHAN, "sh", str(log.absolute()), *command)
    shell = subprocess.run(  # noqa: S603 - our own command line
        line, cwd=directory, stdin=begin, stdout=subprocess.PIPE, start_new_session=True, check=True
    )
    return int(shell.stdout)


def find(argument: str) -> list[Process]:
    """Return this user's running processes that have this exact argument on their command line. Raises OSError."""
    found: list[Process] = []
    try:
        for entry in PROC.iterdir():
            if entry.name.isdigit() and _has(entry, argument):
                with contextlib.suppress(ProcessLookupError):
                    process = Process(int(entry.name))
                    # The pid may have been reused before the pidfd was opened; check again now that it can't be.
                    if _has(entry, argument):
                        found.append(process)
                    else:
                        process.close()
    except OSError:
        for process in found:
            process.close()
        raise
    return found


def _has(entry: Path, argument: str) -> bool:
    try:
        if entry.stat().st_uid != os.getuid():
            return False
        return os.fsencode(argument) in (entry / "cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


def _reaped(descriptor: int) -> str:
    with contextlib.suppress(ChildProcessError):
        result = os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOHANG)
        if result is not None and result.si_code == os.CLD_EXITED:
            return f"exited with status {result.si_status}"
        if result is not None:
            return f"was killed by signal {result.si_status}"
    return ""


def most_descriptors() -> int:
    """Return the maximum number of open files of the processes we start."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return hard


def _raise_descriptors(pid: int) -> None:
    """Raise the limit of open files to the maximum: shells and services set 1,024, and a connection takes two."""
    hard = most_descriptors()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
