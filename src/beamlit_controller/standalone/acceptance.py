"""Checks whether Envoy has accepted its files. If it rejects one, the previous configuration stays in force."""

import asyncio
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from beamlit_controller.controller.latest import Latest
from beamlit_controller.core.spec import OffloadSpec
from beamlit_controller.standalone import envoy_log
from beamlit_controller.standalone.admin import Admin, AdminError
from beamlit_controller.standalone.faults import Fault, Faults
from beamlit_controller.standalone.gateway_template import GatewayTemplate

PERIOD = 0.2
LONG_PERIOD = 5.0
GRACE = 5.0
"""Seconds after which a file that is not in force counts as rejected."""
_ROUTES = re.compile(r"rds-(\w+)\.json")
_STATS = {"cds.json": "cluster_manager.cds.version_text", "lds.json": "listener_manager.lds.version_text"}

Versions = tuple[tuple[str, str, str], ...]


def versions(files: Mapping[str, str]) -> Versions:
    """Return (file, stat, version) for each file whose version in force Envoy reports."""
    found = []
    for name, text in files.items():
        stat = _stat(name)
        version = json.loads(text).get("version_info") if stat else None
        if stat and version:
            found.append((name, stat, str(version)))
    return tuple(found)


def _stat(name: str) -> str | None:
    routes = _ROUTES.fullmatch(name)
    return f"http.{routes[1]}.rds.{routes[1]}.version_text" if routes else _STATS.get(name)


class AcceptanceCheck:
    """Compares the files written for one gateway with what it has in force. A rejected file is a fault, with Envoy's message."""

    def __init__(self, admin: Admin, faults: Faults, template: GatewayTemplate, log: Path) -> None:
        self._admin = admin
        self._faults = faults
        self._template = template
        self._log = log
        self._since = 0
        self._begun = False
        self._written: Latest[Versions] = Latest(())

    @property
    def serves(self) -> bool:
        """Return whether this process accepted its files at start, and has rejected none since."""
        return self._begun and not self._faults.has(Fault.REFUSED)

    def files_written(self, files: Mapping[str, str]) -> None:
        """Record the written files."""
        given = versions(files)
        if given != self._written.value:
            self._since = envoy_log.size(self._log)
            self._written.set(given)

    def process_ended(self) -> None:
        """Record that the process has ended; the next one reads all files."""
        self._begun = False
        self._faults.clear(Fault.REFUSED)

    async def run(self, specs: Latest[OffloadSpec]) -> None:
        """Check each change until Envoy has accepted it, until cancelled."""
        while True:
            given = self._written.value
            await self._until_applied(given, specs)
            await self._written.changed_from(given)

    async def _until_applied(self, given: Versions, specs: Latest[OffloadSpec]) -> None:
        clock = asyncio.get_running_loop()
        until = clock.time() + GRACE
        while given == self._written.value:
            missing = await self._missing(given)
            if missing == ():
                self._is_applied()
                return
            late = clock.time() > until
            if missing and _without_folder(self._template.secrets(specs.value)):
                self._is_applied()
            elif missing and late:
                self._faults.add(Fault.REFUSED, self._said(missing))
            await asyncio.sleep(LONG_PERIOD if late else PERIOD)

    def _is_applied(self) -> None:
        self._begun = True
        self._faults.clear(Fault.REFUSED)

    async def _missing(self, given: Versions) -> tuple[str, ...] | None:
        """Return the files that are not in force; None if Envoy does not answer, which is a fault of its own."""
        if not given:
            return ()
        try:
            known = await self._admin.texts("version_text$")
        except AdminError:
            return None
        return tuple(name for name, stat, version in given if known.get(stat) != version)

    def _said(self, missing: Sequence[str]) -> str:
        words = envoy_log.refusal(self._log, since=self._since) or envoy_log.refusal(self._log, since=0)
        return f"Envoy has not accepted {', '.join(missing)}{words and f': {words}'}; the previous configuration stays in force"


def _without_folder(folders: Sequence[Path]) -> bool:
    """Return whether a folder of Secrets is missing: until it exists, Envoy rejects the remote's configuration, as intended."""
    return not all(os.path.isdir(each) for each in folders)  # noqa: PTH112 - Path.is_dir raises where it may not look
