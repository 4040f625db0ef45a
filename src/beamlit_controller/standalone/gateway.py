"""One Envoy of one model: its files written, the process started or adopted, restarted when it ends, drained when it goes."""

import asyncio
import contextlib
import shutil
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog

from beamlit_controller.controller.latest import Latest
from beamlit_controller.core import remote_health
from beamlit_controller.core.remote_health import Attempts, Judged
from beamlit_controller.core.spec import ModelKey, OffloadSpec
from beamlit_controller.standalone import process
from beamlit_controller.standalone.admin import Admin, AdminError
from beamlit_controller.standalone.process import Process

log = structlog.get_logger()

FIRST_WAIT, LONGEST_WAIT = 0.25, 30.0
STEADY = 60.0
"""Seconds of life after which a gateway's next end is answered by an immediate restart again."""
PROBE_PERIOD = 2.0
BOOT_PROBE_PERIOD = 0.1
TERM_PATIENCE = 10.0
BOOTSTRAP = "bootstrap.json"
FRONT = "front"


@dataclass(frozen=True, slots=True)
class Shape:
    """What a gateway is made of: its files by name, its command line (with the path of `bootstrap.json` as one argument).

    `figures` names what is read of the gateway about its remote, and `attempts` understands it. `secrets` are
    the folders without which Envoy refuses what leads to the remote: it can't watch what is not there.
    """

    files: Callable[[OffloadSpec, Path], Mapping[str, str]]
    command: Callable[[Path], Sequence[str]]
    secrets: Callable[[OffloadSpec], Sequence[Path]]
    figures: str
    attempts: Callable[[str], Attempts]


@dataclass(frozen=True, slots=True)
class Seen:
    """What was last seen of a gateway: whether it serves, the addresses of its listeners by name, and what keeps it from serving."""

    ready: bool = False
    listeners: tuple[tuple[str, str], ...] = ()
    problem: str = ""


class Gateway:
    """The Envoy process of one model, in a folder of its own. It serves on when we end."""

    def __init__(self, key: ModelKey, directory: Path, shape: Shape) -> None:
        self._key = key
        self._directory = directory
        self._shape = shape
        self._admin = Admin(directory / "admin.sock")
        self._process: Process | None = None
        self._restarts = 0
        self._adopted = False
        self._seen = Seen()
        self._remote = Judged()
        self._missing: frozenset[Path] = frozenset()

    @property
    def state(self) -> dict[str, Any]:
        """Tell what is known of the gateway, for people."""
        return {
            "pid": self._process.pid if self._process else None,
            "ready": self._seen.ready,
            "adopted": self._adopted,
            "restarts": self._restarts,
            "listeners": {name: address for name, address in self._seen.listeners if address},
            "problem": self._seen.problem,
            "remote": asdict(self._remote.condition),
        }

    @property
    def ready(self) -> bool:
        """Tell whether the gateway answered when it was last asked."""
        return self._seen.ready

    @property
    def attempts(self) -> Attempts:
        """Give what the gateway counted of its requests to the remote when it was last asked."""
        return self._remote.attempts

    async def keep(self, specs: Latest[OffloadSpec]) -> None:
        """Keep the gateway running as the spec says, until cancelled; the process is left running then."""
        self._write(specs.value)
        self._adopt_or_start()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(specs))
            group.create_task(self._restart(specs))
            group.create_task(self._probe(specs))

    async def stop(self, *, drain: float, hurry: asyncio.Event) -> None:
        """Let requests in flight end, for at most `drain` seconds or until told to hurry; then end the process and its folder."""
        running = self._process or self._found()
        if running is not None:
            await _within(drain, hurry, self._drained())
            running.send(signal.SIGTERM)
            if not await _within(TERM_PATIENCE, hurry, running.exited()):
                running.send(signal.SIGKILL)
                await running.exited()
            running.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    # The files.

    async def _follow(self, specs: Latest[OffloadSpec]) -> None:
        seen = specs.value
        while True:
            seen = await specs.other_than(seen)
            self._write(seen)

    def _write(self, spec: OffloadSpec, *, anew: bool = False) -> None:
        """Write what changed, or all anew, each file in one rename, which is also what Envoy watches for."""
        self._directory.mkdir(parents=True, exist_ok=True)
        for name, text in self._shape.files(spec, self._directory).items():
            path = self._directory / name
            if anew or not path.exists() or path.read_text() != text:
                temporary = self._directory / f".{name}.new"
                temporary.write_text(text)
                temporary.replace(path)

    # The process.

    def _adopt_or_start(self) -> None:
        self._process = self._found()
        self._adopted = self._process is not None
        if self._process is None:
            self._process = self._start()
        log.info("gateway adopted" if self._adopted else "gateway started", model=str(self._key), pid=self._process.pid)

    def _found(self) -> Process | None:
        first, *others = [*process.find(str(self._directory / BOOTSTRAP)), None]
        for other in others:
            if other is not None:
                other.send(signal.SIGTERM)
                other.close()
        return first

    def _start(self) -> Process:
        (self._directory / "admin.sock").unlink(missing_ok=True)
        command = self._shape.command(self._directory)
        return Process.start(command, directory=self._directory, log=self._directory / "envoy.log")

    async def _restart(self, specs: Latest[OffloadSpec]) -> None:
        """Start the process again whenever it ends: at once the first time, then ever later while it ends soon."""
        wait, clock = 0.0, asyncio.get_running_loop()
        while self._process is not None:
            began = clock.time()
            await self._process.exited()
            self._process.close()
            self._seen = Seen()
            self._restarts += 1
            wait = 0.0 if clock.time() - began > STEADY else wait
            log.warning(
                "gateway ended, starting it again",
                model=str(self._key),
                after_seconds=wait,
                its_log=str(self._directory / "envoy.log"),
            )
            self._process, wait = await self._started_again(specs, wait)
            self._adopted = False

    async def _started_again(self, specs: Latest[OffloadSpec], wait: float) -> tuple[Process, float]:
        """Start the process, try after try, and give the time to wait should it end soon. Its folder may have been cleared away."""
        while True:
            await asyncio.sleep(wait)
            wait = min(max(2 * wait, FIRST_WAIT), LONGEST_WAIT)
            try:
                self._write(specs.value)
                return self._start(), wait
            except OSError as error:
                log.error("gateway can't be started", model=str(self._key), error=str(error), again_in_seconds=wait)  # noqa: TRY400 - the message says all

    async def _probe(self, specs: Latest[OffloadSpec]) -> None:
        """Look at the gateway again and again, and have it try anew what it could not do, such as to listen at a taken port."""
        while True:
            before, self._seen = self._seen, await self._look()
            if before.ready != self._seen.ready:
                log.info("gateway ready" if self._seen.ready else "gateway not ready", model=str(self._key))
            if self._seen.problem and self._seen.problem != before.problem:
                log.error("gateway can't listen", model=str(self._key), problem=self._seen.problem)
            await asyncio.sleep(PROBE_PERIOD if self._seen.ready or self._seen.problem else BOOT_PROBE_PERIOD)
            await self._judge(specs.value)
            if self._seen.problem or self._secrets_came(specs.value):
                self._write(specs.value, anew=True)

    async def _look(self) -> Seen:
        try:
            listeners = tuple(sorted((await self._admin.listeners()).items()))
            if FRONT in dict(listeners):
                return Seen(await self._admin.ready(), listeners)
            return Seen(listeners=listeners, problem=await self._admin.refusal(FRONT))
        except AdminError:
            return Seen()

    async def _judge(self, spec: OffloadSpec) -> None:
        """Find out how the remote is from what the gateway counted."""
        if spec.remote is None:
            self._remote = Judged()
            return
        with contextlib.suppress(AdminError):  # one that does not answer leaves what was known
            page = await self._admin.figures(self._shape.figures)
            before, self._remote = (
                self._remote,
                remote_health.judge(spec.remote, self._remote, self._shape.attempts(page)),
            )
            if before.condition.reason is not self._remote.condition.reason:
                log.info(
                    "remote changed",
                    model=str(self._key),
                    ready=self._remote.condition.status,
                    reason=self._remote.condition.reason,
                    message=self._remote.condition.message,
                )

    def _secrets_came(self, spec: OffloadSpec) -> bool:
        """Tell whether a folder is there now that was not."""
        folders = self._shape.secrets(spec)
        before, self._missing = self._missing, frozenset(folder for folder in folders if not folder.is_dir())
        return bool(before.intersection(folders) - self._missing)

    async def _drained(self) -> None:
        with contextlib.suppress(AdminError):  # one that does not answer has nothing to drain
            await self._admin.drain()
            while await self._admin.active_requests() > 0:  # noqa: ASYNC110 - another process's state has no event
                await asyncio.sleep(BOOT_PROBE_PERIOD)


async def _within(seconds: float, hurry: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do the work unless it takes too long or somebody hurries; tell whether it was done."""
    doing, hurried = asyncio.ensure_future(work), asyncio.ensure_future(hurry.wait())
    try:
        await asyncio.wait((doing, hurried), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return doing.done() and not doing.cancelled()
    finally:
        for task in (doing, hurried):
            task.cancel()
        await asyncio.gather(doing, hurried, return_exceptions=True)
