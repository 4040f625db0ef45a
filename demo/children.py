"""The processes of the demo: each on a leash, with a log file, and ended with the block that started it."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from demo import process_guard

ROOT = Path(__file__).resolve().parent.parent
LEASH_PATIENCE_SECONDS = process_guard.PATIENCE_SECONDS + process_guard.LAST_PATIENCE_SECONDS + 2.0
LAST_LINES = 15


class ChildEndedError(Exception):
    """A process that should have served until the end did not."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process that was started: `log` has what it prints."""

    name: str
    log: Path
    process: asyncio.subprocess.Process

    async def stays(self) -> None:
        """Wait; if the process ends, raise `ChildEndedError` with the last lines of its log."""
        code = await self.process.wait()
        said = "\n".join(self.log.read_text(errors="replace").splitlines()[-LAST_LINES:])
        raise ChildEndedError(f"{self.name} ended with code {code}; the end of {self.log}:\n{said}")


@asynccontextmanager
async def running(name: str, command: Sequence[str], *, logs: Path) -> AsyncIterator[Child]:
    """Start a process, and end it (SIGTERM, then SIGKILL) when the block is left. Its log is `NAME.log`."""
    log = logs / f"{name}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "demo.process_guard", *command),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C in the terminal is for us: we end the others in order
        )
    try:
        yield Child(name, log, process)
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(LEASH_PATIENCE_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
