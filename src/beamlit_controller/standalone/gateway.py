"""One worker per model's Envoy: it writes the files, starts or adopts the process, restarts it when it ends, and drains it.

Every error is reported as a fault of this gateway and retried; no other gateway is affected.
"""

import asyncio
import contextlib
import shutil
import signal
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

import structlog

from beamlit_controller.controller.latest import Latest
from beamlit_controller.core.remote_health import Attempts
from beamlit_controller.core.remotes_health import Assessments
from beamlit_controller.core.spec import ModelKey, OffloadSpec
from beamlit_controller.standalone import envoy_log, envoy_processes, process
from beamlit_controller.standalone.acceptance import AcceptanceCheck
from beamlit_controller.standalone.admin import Admin, NotRunningError, answered
from beamlit_controller.standalone.backoff import Backoff
from beamlit_controller.standalone.config_files import ConfigFiles
from beamlit_controller.standalone.faults import Fault, Faults, message_of
from beamlit_controller.standalone.gateway_template import BOOTSTRAP, GatewayTemplate
from beamlit_controller.standalone.launcher import Launcher, Origin, ServingProcess
from beamlit_controller.standalone.probe import Probe

log = structlog.get_logger()

FIRST_WAIT, LONGEST_WAIT = 0.25, 30.0
FIRST_STEP, LONGEST_STEP = 0.1, 2.0
STEADY = 60.0
"""Uptime in seconds after which a gateway's next end is again followed by an immediate restart."""
DRAIN_PERIOD = 0.1
TERM_GRACE = 10.0
STOP_TRIES, LONGEST_STOP_WAIT = 10, 5.0


class Gateway:
    """The Envoy process of one model, in its own folder. It keeps serving when the controller ends."""

    def __init__(self, key: ModelKey, directory: Path, template: GatewayTemplate) -> None:
        self._key = key
        self._directory = directory
        self._template = template
        self._admin = Admin(directory / "admin.sock")
        self._faults = Faults(key)
        self._probe = Probe(key, self._admin, self._faults, template)
        self._accepted = AcceptanceCheck(self._admin, self._faults, template, self._log)
        self._files = ConfigFiles(directory, template, admin=self._admin, accepted=self._accepted, faults=self._faults)
        self._launcher = Launcher(directory, template, files=self._files, faults=self._faults)
        self._pid: int | None = None
        self._restarts = 0
        self._adopted = False

    @property
    def state(self) -> dict[str, Any]:
        """Return the state of the gateway without its remotes, for display."""
        return {
            "pid": self._pid,
            "ready": self.ready,
            "adopted": self._adopted,
            "restarts": self._restarts,
            "listeners": {name: address for name, address in self._probe.seen.listeners if address},
            "problem": self._faults.text,
        }

    @property
    def remotes(self) -> Assessments:
        """Return the state of each remote, as of the last probe."""
        return self._probe.remotes

    @property
    def ready(self) -> bool:
        """Return whether the gateway answered the last probe, and runs with its current files."""
        return self._probe.seen.ready and self._accepted.serves

    @property
    def faults(self) -> int:
        """Count all faults, including each failed retry."""
        return self._faults.count

    @property
    def attempts(self) -> Mapping[str, Attempts]:
        """Return the counters of requests to each remote, as of the last probe."""
        return {name: known.attempts for name, known in self._probe.remotes.items()}

    @property
    def down(self) -> frozenset[str]:
        """Return the local servers that refuse connections, or that the gateway has ejected."""
        return self._probe.down

    async def keep(self, specs: Latest[OffloadSpec]) -> None:
        """Keep the gateway running according to the spec, until cancelled; the process then keeps running."""
        backoff, clock = Backoff(FIRST_WAIT, LONGEST_WAIT, at_once=True), asyncio.get_running_loop()
        while True:
            seen, began = specs.value, clock.time()
            try:
                # In a task of its own: before Python 3.11.4 a failed TaskGroup breaks timeouts in its task.
                await asyncio.create_task(self._run_process(specs))
            except Exception as error:  # noqa: BLE001 - one gateway's unexpected error must not end the others
                self._faults.add(Fault.PROCESS, message_of(error))
            if clock.time() - began > STEADY:
                backoff.reset()
            await _pause(backoff.next(), specs, seen)

    async def stop(self, *, drain: float, stop_now: asyncio.Event) -> None:
        """Drain for at most `drain` seconds or until `stop_now` is set; then end the process and remove its folder.

        Failures are retried for a while; then OSError is raised.
        """
        backoff = Backoff(FIRST_WAIT, LONGEST_STOP_WAIT)
        for attempt in range(1, STOP_TRIES + 1):
            try:
                await self._ended(drain, stop_now)
                break
            except OSError as error:
                self._faults.add(Fault.STOP, message_of(error))
                if attempt == STOP_TRIES or stop_now.is_set():
                    raise
                await asyncio.sleep(backoff.next())
        shutil.rmtree(self._directory, ignore_errors=True)

    # The process, from its start or adoption to its end.

    async def _run_process(self, specs: Latest[OffloadSpec]) -> None:
        """Supervise the process until it ends, and return the reason."""
        since = envoy_log.size(self._log)
        with contextlib.closing(self._launcher.next(specs.value)) as serving:
            self._pid, self._adopted = serving.process.pid, serving.origin is Origin.ADOPTED
            log.info(serving.origin.value, model=str(self._key), pid=self._pid)
            try:
                how = await self._watched(serving, specs)
            finally:
                self._pid = None
                self._probe.process_ended()
                self._accepted.process_ended()
        if how is None:
            return
        self._restarts += 1
        why = f"Envoy {how or 'ended'}: {envoy_log.reason(self._log, since=since) or 'nothing in its log'}"
        if serving.origin is Origin.SUCCESSOR:
            self._launcher.failed(why)
        self._faults.add(Fault.PROCESS, f"{why}; all of it is in {self._log}")

    async def _watched(self, serving: ServingProcess, specs: Latest[OffloadSpec]) -> str | None:
        """Return how the process ended; None if a successor should start."""
        async with asyncio.TaskGroup() as group:
            work = (self._follow(specs), self._supervise(specs), self._accepted.run(specs))
            tasks = [group.create_task(each) for each in work]
            exited = group.create_task(serving.process.exited())
            replaceable = group.create_task(self._launcher.replaceable(serving, specs))
            await asyncio.wait((exited, replaceable), return_when=asyncio.FIRST_COMPLETED)
            how = exited.result() if exited.done() else None
            for task in (*tasks, exited, replaceable):
                task.cancel()
        return how

    # The files.

    async def _follow(self, specs: Latest[OffloadSpec]) -> None:
        """Write the files now and whenever the spec changes, step by step; failed writes are retried."""
        backoff = Backoff(FIRST_WAIT, LONGEST_WAIT)
        while True:
            seen = specs.value
            if self._files.write(seen):
                backoff.reset()
                await self._settled(specs, seen)
                await specs.changed_from(seen)
            else:
                await _pause(backoff.next(), specs, seen)

    async def _settled(self, specs: Latest[OffloadSpec], seen: OffloadSpec) -> None:
        """Take the remaining steps until there are none, or the spec changes."""
        backoff = Backoff(FIRST_STEP, LONGEST_STEP)
        while specs.value == seen and not self._files.settled:
            await _pause(backoff.next(), specs, seen)
            if specs.value == seen:
                await self._files.step(seen)

    async def _supervise(self, specs: Latest[OffloadSpec]) -> None:
        """Probe the gateway, and let it retry what failed, such as binding a port in use."""
        async for again in self._probe.run(specs):
            if again:
                self._files.write(specs.value, anew=True)

    # Stopping.

    async def _ended(self, drain: float, stop_now: asyncio.Event) -> None:
        """End all processes of this gateway; normally it is one. Raises OSError."""
        for running in process.find(self._mark):
            async with running:
                await _within(drain, stop_now, self._drained())
                base_id = envoy_processes.base_id(running)
                running.send(signal.SIGTERM)
                if not await _within(TERM_GRACE, stop_now, running.exited()):
                    running.send(signal.SIGKILL)
                    await asyncio.wait_for(running.exited(), TERM_GRACE)
                envoy_processes.forget(base_id)

    async def _drained(self) -> None:
        with contextlib.suppress(NotRunningError):  # it does not run, so there is nothing to drain
            await answered(self._admin.drain, period=DRAIN_PERIOD)
            while await answered(self._admin.active_requests, period=DRAIN_PERIOD) > 0:  # noqa: ASYNC110 - another process's state has no event
                await asyncio.sleep(DRAIN_PERIOD)

    @property
    def _mark(self) -> str:
        return str(self._directory / BOOTSTRAP)

    @property
    def _log(self) -> Path:
        return self._directory / "envoy.log"


async def _pause(seconds: float, specs: Latest[OffloadSpec], seen: OffloadSpec) -> None:
    """Wait for these seconds, or until the spec changes, which may solve the problem."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await specs.changed_from(seen)


async def _within(seconds: float, stop_now: asyncio.Event, work: Coroutine[Any, Any, object]) -> bool:
    """Run `work` until it is done, takes too long or `stop_now` is set; return whether it was completed."""
    doing, interrupted = asyncio.ensure_future(work), asyncio.ensure_future(stop_now.wait())
    try:
        await asyncio.wait((doing, interrupted), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return doing.done() and not doing.cancelled()
    finally:
        for task in (doing, interrupted):
            task.cancel()
        await asyncio.gather(doing, interrupted, return_exceptions=True)
