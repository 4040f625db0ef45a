"""The processes of a cluster: each on a leash, so that it ends when the tests do, however those end; each with a log."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
LAST_LINES = 40
RUN_SECONDS = 120
SIGNATURE = "beamlit-tests-"


class CommandError(Exception):
    """A command failed; the text is what it said."""


class Processes:
    """Starts processes, and ends those it started. `before` is what every command begins with, such as nsenter."""

    def __init__(self, logs: Path, *, before: Sequence[str] = ()) -> None:
        self.logs = logs
        self.before = before
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *command: str, environment: Mapping[str, str] | None = None) -> None:
        """Start a process; what it says goes to `NAME.log`, after what an earlier one of the name said."""
        with (self.logs / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", "demo.process_guard", *self.before, *command],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, *command: str, within: float = RUN_SECONDS) -> str:
        """Run a command to its end and give what it printed; raises CommandError."""
        done = subprocess.run([*self.before, *command], capture_output=True, text=True, timeout=within, check=False)
        if done.returncode:
            raise CommandError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def pid(self, name: str) -> int:
        """Return the process id of what was started."""
        return psutil.Process(self._running[name].pid).children()[0].pid

    def kill(self, *names: str) -> None:
        """End processes as a crash does, all at once; without names, all that run."""
        chosen = [self._running.pop(name) for name in names or tuple(self._running)]
        for leash in chosen:
            _kill_what_it_holds(leash.pid)
        for leash in chosen:
            leash.stdin.close()
            leash.wait()

    def check(self) -> None:
        """AssertionError if a process has ended, with the last it said."""
        for name, leash in self._running.items():
            assert leash.poll() is None, f"{name} ended with code {leash.returncode}:\n{self.said(name)}"

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Add what all have said last to an assertion that fails in the block."""
        try:
            yield
        except AssertionError as error:
            for name in self._running:
                error.add_note(self.said(name))
            raise

    def said(self, name: str) -> str:
        """Return the last lines of a log."""
        path = self.logs / f"{name}.log"
        return f"{path}:\n" + "\n".join(path.read_text(errors="replace").splitlines()[-LAST_LINES:])


def signed(name: str) -> str:
    """Return a name that tells whose something is, so that it can be taken away when its maker was killed."""
    return f"{SIGNATURE}{name}-{os.getpid()}-"


def orphaned(path: Path) -> bool:
    """Return whether the process that signed something is gone."""
    signature = re.match(rf"{SIGNATURE}\w+-(\d+)-", path.name)
    return bool(signature) and not psutil.pid_exists(int(signature[1]))


@contextmanager
def held(logs: Path, *, before: Sequence[str] = ()) -> Iterator[Processes]:
    """Have processes until the block ends."""
    processes = Processes(logs, before=before)
    try:
        yield processes
    finally:
        processes.kill()


def _kill_what_it_holds(leash: int) -> None:
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(leash).children(recursive=True):
            child.kill()
