"""Determines which process serves a gateway: the running one, a new one, or a successor by Envoy's hot restart.

A running process is adopted. If another Envoy is installed than the one that runs, or its bootstrap configuration has
changed, a successor takes over its sockets; a process that no longer listens gets one as well.
"""

import asyncio
import signal
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from beamlit_controller.controller.latest import Latest
from beamlit_controller.core.spec import OffloadSpec
from beamlit_controller.standalone import envoy_log, envoy_processes
from beamlit_controller.standalone.config_files import ConfigFiles
from beamlit_controller.standalone.envoy_processes import EnvoyProcesses
from beamlit_controller.standalone.faults import Fault, Faults
from beamlit_controller.standalone.gateway_template import BOOTSTRAP, GatewayTemplate
from beamlit_controller.standalone.process import Process

TRIES = 4
"""How many successors are tried for a process that no longer answers, before it is terminated."""


TRY_AGAIN = 2.0
"""Seconds after which a successor that could not start is tried again."""
NOT_RESTARTABLE = "it was started without shared memory (/dev/shm); the next start applies the changes"


class Origin(StrEnum):
    """The origin of the process, as logged."""

    ADOPTED = "gateway adopted"
    STARTED = "gateway started"
    SUCCESSOR = "gateway hot restarted"


@dataclass(frozen=True, slots=True)
class ServingProcess:
    """The process that serves a gateway, and earlier ones that are draining."""

    process: Process
    origin: Origin
    leaving: tuple[Process, ...] = ()
    outdated: bool = False

    async def alone(self) -> None:
        """Wait until no process is draining: a successor would end it."""
        for each in self.leaving:
            await each.exited()

    def close(self) -> None:
        """Stop watching; the processes keep running."""
        for each in (self.process, *self.leaving):
            each.close()


class Launcher:
    """Finds or starts the process of one gateway. If a successor fails, the previous process keeps serving."""

    def __init__(self, directory: Path, template: GatewayTemplate, *, files: ConfigFiles, faults: Faults) -> None:
        self._directory = directory
        self._template = template
        self._files = files
        self._faults = faults
        self._failure = ""
        self._tries = 0

    @property
    def log(self) -> Path:
        """Return the log file of all processes of the gateway."""
        return self._directory / "envoy.log"

    def failed(self, why: str) -> None:
        """Record that a successor failed, so that this controller starts no other one beside a serving process."""
        self._failure = why
        self._files.successor_failed()

    def next(self, spec: OffloadSpec) -> ServingProcess:
        """Return the process to supervise now. Raises OSError."""
        found = envoy_processes.find(str(self._directory / BOOTSTRAP))
        if found is None:
            return self._first(spec)
        if envoy_processes.epoch(found.current) is not None and not envoy_processes.listens(
            self._directory / "admin.sock"
        ):
            return self._replacement(found, spec)
        outdated = self._is_outdated(found.current, spec)
        if outdated and not found.leaving:
            return self._successor(found, spec)
        return ServingProcess(found.current, Origin.ADOPTED, found.leaving, outdated)

    async def replaceable(self, serving: ServingProcess, specs: Latest[OffloadSpec]) -> None:
        """Wait until a successor of the serving process is due and may start."""
        outdated, seen = serving.outdated, specs.value
        while not outdated:
            refused = self._faults.has(Fault.UPGRADE) and not self._failure
            with suppress(TimeoutError):
                async with asyncio.timeout(TRY_AGAIN if refused else None):
                    await specs.changed_from(seen)
            seen = specs.value
            outdated = self._is_outdated(serving.process, seen)
        await serving.alone()

    def _first(self, spec: OffloadSpec) -> ServingProcess:
        self._failure = ""
        self._faults.clear(Fault.UPGRADE)
        self._files.begin(spec)
        (self._directory / "admin.sock").unlink(missing_ok=True)
        envoy_log.rotate(self.log)
        return ServingProcess(self._started(spec, 0), Origin.STARTED)

    def _is_outdated(self, running: Process, spec: OffloadSpec) -> bool:
        """Return whether a successor should take over; a fault tells why none can."""
        program = self._template.command(spec, self._directory, 0)[0]
        restartable = envoy_processes.epoch(running) is not None
        upgraded = restartable and not envoy_processes.is_same_file(running, program)
        if not upgraded and not self._files.bootstrap_changed(spec):
            self._faults.clear(Fault.UPGRADE)
            return False
        why = self._failure or ("" if restartable else NOT_RESTARTABLE) or self._template.refusal(spec)
        if why:
            self._faults.add(
                Fault.UPGRADE, f"a new Envoy could not take over, so the previous one keeps serving: {why}"
            )
        return not why

    def _replacement(self, found: EnvoyProcesses, spec: OffloadSpec) -> ServingProcess:
        """Start another successor if one has failed; after a few attempts, end the process that no longer listens."""
        self._tries += 1
        if self._tries <= TRIES:
            return self._successor(found, spec)
        self._tries = 0
        found.current.send(signal.SIGTERM)
        raise ProcessLookupError("no Envoy could take over from one that does not answer, so it is terminated")

    def _successor(self, found: EnvoyProcesses, spec: OffloadSpec) -> ServingProcess:
        self._faults.clear(Fault.UPGRADE)
        # Only the bootstrap: the other files are those that the previous process has in force, and change from there.
        self._files.begin_successor(spec)
        started = self._started(spec, (envoy_processes.epoch(found.current) or 0) + 1)
        return ServingProcess(started, Origin.SUCCESSOR, (found.current, *found.leaving))

    def _started(self, spec: OffloadSpec, epoch: int) -> Process:
        return Process.start(
            self._template.command(spec, self._directory, epoch), directory=self._directory, log=self.log
        )
