"""Polls a running Envoy: whether it serves, where it listens, and the state of its remotes.

It also reads the request counters for decisions, and which local servers are down.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from beamlit_controller.controller.latest import Latest
from beamlit_controller.core import remotes_health, traffic
from beamlit_controller.core.remote_health import RemoteAssessment
from beamlit_controller.core.remotes_health import Assessments
from beamlit_controller.core.spec import ModelKey, OffloadSpec
from beamlit_controller.standalone.admin import Admin, AdminError
from beamlit_controller.standalone.endpoint_health import EndpointHealth
from beamlit_controller.standalone.faults import Fault, Faults, message_of
from beamlit_controller.standalone.gateway_template import BOOTSTRAP, GatewayTemplate

log = structlog.get_logger()

PERIOD = 0.5
QUIET_PERIOD = 2.0
"""Seconds between probes of a gateway without requests since the last one."""
BOOT_PERIOD = 0.1
LOOK_EVERY = 10.0
"""Seconds between full probes of a healthy gateway; in between only its counters are polled."""
BOOT = 10.0
"""Seconds that Envoy may take to answer; after that it is a fault."""
FRONT = "front"
LOCAL = "local"


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The last probe of a gateway: whether it serves, and the addresses of its listeners by name."""

    ready: bool = False
    listeners: tuple[tuple[str, str], ...] = ()


class Probe:
    """Probes one gateway's Envoy. An invalid response is a fault of this gateway; the next probe tries again."""

    def __init__(self, key: ModelKey, admin: Admin, faults: Faults, template: GatewayTemplate) -> None:
        self._key = key
        self._admin = admin
        self._faults = faults
        self._template = template
        self._missing: frozenset[Path] = frozenset()
        self.seen = ProbeResult()
        self.remotes: Assessments = {}
        self.down: frozenset[str] = frozenset()
        self._health = EndpointHealth()
        self._counted = traffic.NOTHING
        self._quiet = False
        self._endpoints_due = 0.0

    def process_ended(self) -> None:
        """Record that the process has ended, or is no longer watched."""
        self.seen, self.down, self._health = ProbeResult(), frozenset(), EndpointHealth()
        self._faults.clear(Fault.ADMIN, Fault.LISTENER, Fault.REMOTE)

    async def run(self, specs: Latest[OffloadSpec]) -> AsyncIterator[bool]:
        """Probe until cancelled; yield True each time that Envoy should get all its files again."""
        clock = asyncio.get_running_loop()
        began, due = clock.time(), 0.0
        while True:
            booting = clock.time() - began < BOOT
            if clock.time() >= due or not self._well():
                self._show(await self._looked(booting=booting))
                due = clock.time() + LOOK_EVERY
            await asyncio.sleep(self._pause(booting=booting))
            if self.seen.ready and not await self._judged(specs.value):
                due = 0.0
            yield self._faults.has(Fault.LISTENER) or self._secrets_came(specs.value)

    def _pause(self, *, booting: bool) -> float:
        if not self.seen.ready and booting and not self._faults.has(Fault.LISTENER):
            return BOOT_PERIOD
        return QUIET_PERIOD if self._quiet else PERIOD

    def _well(self) -> bool:
        return self.seen.ready and not self._faults.has(Fault.ADMIN) and not self._faults.has(Fault.LISTENER)

    def _show(self, seen: ProbeResult) -> None:
        before, self.seen = self.seen, seen
        if before.ready and not seen.ready:
            log.info("gateway not ready", model=str(self._key))
        if seen.ready and not before.ready:
            log.info("gateway ready", model=str(self._key), serves=dict(seen.listeners).get(FRONT))

    async def _looked(self, *, booting: bool) -> ProbeResult:
        try:
            seen, refusal = await self._look()
        except Exception as error:  # noqa: BLE001 - whatever it answers, it is asked again
            if not booting or not isinstance(error, AdminError):
                self._faults.add(Fault.ADMIN, self._silence(error))
            return ProbeResult()
        self._faults.clear(Fault.ADMIN)
        if seen.ready or not booting:
            self._faults.clear(Fault.PROCESS)
        if refusal:
            self._faults.add(Fault.LISTENER, refusal)
        else:
            self._faults.clear(Fault.LISTENER)
        return seen

    async def _look(self) -> tuple[ProbeResult, str]:
        listeners = tuple(sorted((await self._admin.listeners()).items()))
        if FRONT in dict(listeners):
            return ProbeResult(await self._admin.ready(), listeners), ""
        return ProbeResult(listeners=listeners), await self._admin.refusal(FRONT)

    def _silence(self, error: Exception) -> str:
        directory = self._admin.directory
        if (directory / BOOTSTRAP).exists():
            return message_of(error)
        return f"{directory} was removed: Envoy keeps its current configuration, and gets changes only after a restart"

    async def _judged(self, spec: OffloadSpec) -> bool:
        """Judge the remotes by the gateway's counters; if they can't be read, the last state is kept."""
        if spec.remote is None:
            self.remotes, self.down, self._health = {}, frozenset(), EndpointHealth()
            return True
        try:
            page = await self._admin.stats(self._template.stats)
            judged = remotes_health.judge(
                spec.remotes, self.remotes, self._template.attempts(page), secret_name=self._template.secret_name
            )
            counted = self._template.traffic(page)
            self._quiet, self._counted = counted == self._counted, counted
            self._template.seen(self._key, counted)
            self._template.used(self._key, page, counted)
            await self._look_at_endpoints()
        except AdminError:
            self._template.seen(self._key, None)
            return False
        except Exception as error:  # noqa: BLE001 - whatever it answers, it is asked again
            self._faults.add(Fault.REMOTE, message_of(error))
            return False
        self._faults.clear(Fault.REMOTE)
        before, self.remotes = self.remotes, judged
        self._log_changes(before)
        return True

    async def _look_at_endpoints(self) -> None:
        """Look which servers are down; rarely while there are no requests, because then nothing tells."""
        now = asyncio.get_running_loop().time()
        if self._quiet and not self.down and now < self._endpoints_due:
            return
        self.down = await self._health.look(await self._admin.endpoints(LOCAL))
        self._endpoints_due = now + LOOK_EVERY

    def _log_changes(self, before: Assessments) -> None:
        for name, judged in self.remotes.items():
            known = before.get(name, RemoteAssessment()).condition
            if known.reason is not judged.condition.reason:
                log.info(
                    "remote changed",
                    model=str(self._key),
                    **({"remote": name} if name else {}),
                    ready=judged.condition.status,
                    reason=judged.condition.reason,
                    message=judged.condition.message,
                )

    def _secrets_came(self, spec: OffloadSpec) -> bool:
        """Return whether a missing folder has appeared."""
        folders = self._template.secrets(spec)
        gone = (each for each in folders if not os.path.isdir(each))  # noqa: PTH112 - Path.is_dir raises where it may not look
        before, self._missing = self._missing, frozenset(gone)
        return bool(before.intersection(folders) - self._missing)
