"""Writes the files of one gateway, in as many steps as a change takes: old configuration is removed after its last request.

Envoy reads its bootstrap only at its start, so that file is written only then, and stays what the process runs with.
"""

from contextlib import suppress
from pathlib import Path

from beamlit_controller.core.gateway_config import Files
from beamlit_controller.core.spec import OffloadSpec
from beamlit_controller.standalone import files
from beamlit_controller.standalone.acceptance import AcceptanceCheck
from beamlit_controller.standalone.admin import Admin, AdminError
from beamlit_controller.standalone.faults import Fault, Faults, message_of
from beamlit_controller.standalone.gateway_template import BOOTSTRAP, GatewayTemplate

LEFT_OVER = ("rds-*.json", "sds-*.json")


class ConfigFiles:
    """Writes the files of one gateway. A file that can't be written is a fault of this gateway."""

    def __init__(
        self, directory: Path, template: GatewayTemplate, *, admin: Admin, accepted: AcceptanceCheck, faults: Faults
    ) -> None:
        self._directory = directory
        self._template = template
        self._admin = admin
        self._accepted = accepted
        self._faults = faults
        self._present: Files | None = None
        self._bootstrap_before: str | None = None
        self.settled = False

    def begin(self, spec: OffloadSpec) -> None:
        """Write all requested files at once, for a process that is about to start. Raises OSError."""
        self._present = self._template.files(spec, self._directory)
        self._directory.mkdir(parents=True, exist_ok=True)
        files.write(self._directory, self._present)

    def begin_successor(self, spec: OffloadSpec) -> None:
        """Write only the bootstrap; the others stay as the running process has them. Raises OSError."""
        self._bootstrap_before = self._bootstrap()
        files.write(self._directory, {BOOTSTRAP: self._template.files(spec, self._directory)[BOOTSTRAP]})

    def successor_failed(self) -> None:
        """Put the bootstrap of the running process back, if possible."""
        if self._bootstrap_before is not None:
            with suppress(OSError):
                files.write(self._directory, {BOOTSTRAP: self._bootstrap_before})

    def bootstrap_changed(self, spec: OffloadSpec) -> bool:
        """Return whether the running process was started with another bootstrap than the spec requires."""
        before = self._bootstrap()
        try:
            return before is not None and before != self._template.files(spec, self._directory)[BOOTSTRAP]
        except Exception:  # noqa: BLE001 - shown when the files are written
            return False

    def _bootstrap(self) -> str | None:
        try:
            return (self._directory / BOOTSTRAP).read_text()
        except (OSError, UnicodeDecodeError):
            return None

    def write(self, spec: OffloadSpec, *, page: str = "", anew: bool = False) -> bool:
        """Take the next step, by the gateway's stats page; return whether the files could be written."""
        try:
            before = files.read(self._directory) if self._present is None else self._present
            step = self._template.next_step(before, self._template.files(spec, self._directory), page)
            dynamic = {name: text for name, text in step.files.items() if name != BOOTSTRAP}
            files.write(self._directory, dynamic, anew=anew)
            files.discard(self._directory, LEFT_OVER, kept={*before, *step.files})
            self._present, self.settled = step.files, step.settled
            self._accepted.files_written(step.files)
        except Exception as error:  # noqa: BLE001 - shown, and tried again; Envoy serves on with what it has
            self._faults.add(Fault.FILES, f"{message_of(error)}; the gateway keeps its current configuration")
            return False
        self._faults.clear(Fault.FILES)
        return True

    async def step(self, spec: OffloadSpec) -> bool:
        """Read the gateway's stats page, and take the next step."""
        try:
            page = await self._admin.config_stats(self._template.config_stats)
        except AdminError:
            page = ""  # reported as another fault; without a page, nothing old is removed
        return self.write(spec, page=page)
