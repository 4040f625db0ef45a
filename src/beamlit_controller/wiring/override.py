"""Sets or clears an override in a cluster: patches the override annotations of a ModelDeployment."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from beamlit_controller.api import durations, metadata
from beamlit_controller.api.metadata import LONGEST_WORD, OVERRIDE, OVERRIDE_AUTHOR, OVERRIDE_REASON, OVERRIDE_UNTIL
from beamlit_controller.core.spec import ModelKey, Override
from beamlit_controller.kubernetes import api_server, paths
from beamlit_controller.kubernetes.api_server import ApiError, ApiServer


@dataclass(frozen=True, slots=True)
class ManualOverride:
    """The override to write."""

    percentage: int
    until: datetime | None
    author: str
    reason: str

    @property
    def as_spec(self) -> Override:
        """Return the `core.spec` value."""
        return Override(self.percentage, self.until, self.author, self.reason)

    def __str__(self) -> str:
        until = f" until {self.until:%Y-%m-%d %H:%M:%S} UTC" if self.until else " until it is cleared"
        return f"{self.percentage} %{until}"


def manual_override(
    percentage: str, lasting: str, *, author: str = "", reason: str = "", now: datetime | None = None
) -> ManualOverride:
    """Parse the command line values. Raises ValueError."""
    until = (now or datetime.now(UTC)) + durations.read(lasting, "--for") if lasting else None
    return ManualOverride(
        metadata.override(percentage.strip().removesuffix("%").strip()),
        until,
        author[:LONGEST_WORD],
        reason[:LONGEST_WORD],
    )


async def override(
    model: str, wanted: ManualOverride | None, *, kubeconfig: Path | None = None, context: str = ""
) -> ModelKey:
    """Write the override, or clear it if there is none. Raises ApiError.

    `model` is NAMESPACE/NAME or NAME; without a namespace, that of the kubeconfig context is used.
    """
    annotations: dict[str, str | None] = {
        OVERRIDE: str(wanted.percentage) if wanted else None,
        OVERRIDE_UNTIL: f"{wanted.until:%Y-%m-%dT%H:%M:%SZ}" if wanted and wanted.until else None,
        OVERRIDE_AUTHOR: (wanted.author or None) if wanted else None,
        OVERRIDE_REASON: (wanted.reason or None) if wanted else None,
    }
    async with ApiServer(api_server.configuration(kubeconfig, context=context)) as server:
        namespace, _, name = model.rpartition("/")
        namespace = namespace or server.namespace
        path = paths.MODEL_DEPLOYMENTS.path(namespace, name)
        try:
            await server.merge(path, {"metadata": {"annotations": annotations}})
        except ApiError as error:
            if error.code != _NOT_FOUND:
                raise
            message = f"--namespace: there is no ModelDeployment {name} in namespace {namespace}"
            raise ApiError(error.code, error.reason, message) from error
    return ModelKey(namespace, name)


_NOT_FOUND = 404
