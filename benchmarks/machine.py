"""Processes of our own, free ports, CPU time, and tables."""

import asyncio
import platform
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE

import psutil

Process = asyncio.subprocess.Process


@asynccontextmanager
async def running(
    *words: str | Path, log: Path, pipes: bool = False, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> AsyncIterator[Process]:
    """Run a command until the block ends; what it says on stderr goes to the log."""
    stdin, stdout = (PIPE, PIPE) if pipes else (None, DEVNULL)
    with log.open("ab") as said:
        process = await asyncio.create_subprocess_exec(
            *map(str, words), stdin=stdin, stdout=stdout, stderr=said, cwd=cwd, env=env
        )
    try:
        yield process
    except Exception as error:
        error.add_note(f"{words[0]} said: {log.read_text()[-2000:]}")  # noqa: ASYNC240 - a small file, once
        raise
    finally:
        await _end(process)


async def _end(process: Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(15):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def line(process: Process, *, within: float = 60) -> str:
    """Read the next line that the process prints; EOFError if it ended instead."""
    assert process.stdout is not None
    async with asyncio.timeout(within):
        text = await process.stdout.readline()
    if not text:
        raise EOFError("the process ended without an answer")
    return text.decode().strip()


async def tell(process: Process, text: str) -> None:
    """Write a line to the process."""
    assert process.stdin is not None
    process.stdin.write(f"{text}\n".encode())
    await process.stdin.drain()


async def until(holds: Callable[[], Awaitable[bool]], *, within: float = 20, what: str) -> None:
    """Wait until something holds; TimeoutError says what did not."""
    deadline = time.monotonic() + within
    while not await holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within:g} s: {what}")
        await asyncio.sleep(0.02)


async def listening(port: int) -> None:
    """Wait until somebody listens at the port."""

    async def connects() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    await until(connects, what=f"something listens at {port}")


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu(pid: int) -> float:
    """Return the CPU seconds, user and system, that a process has used (from /proc/PID/stat, to 10 ms)."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def rss(pid: int) -> float:
    """Return a process's resident memory in MiB."""
    return psutil.Process(pid).memory_info().rss / 2**20


def described() -> str:
    """Say what this machine is and how busy it is."""
    model = next(
        (
            found.partition(":")[2].strip()
            for found in Path("/proc/cpuinfo").read_text().splitlines()
            if found.startswith("model name")
        ),
        platform.machine(),
    )
    load = psutil.getloadavg()[0]
    return f"{psutil.cpu_count()} cores ({model}), Python {platform.python_version()}, load average {load:.1f} at the start"


def quantile(values: Iterable[float], share: float) -> float:
    """Return the value that this share of the values does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table as Markdown, aligned."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(cells[i]) for cells in lines) for i in range(len(head))]
    lines.insert(1, ["-" * widths[0], *(f"{'-' * (width - 1)}:" for width in widths[1:])])
    print(f"\n{title}\n")
    for first, *others in lines:
        print(f"| {first:<{widths[0]}} | {' | '.join(f'{c:>{w}}' for c, w in zip(others, widths[1:], strict=True))} |")
    print(flush=True)
