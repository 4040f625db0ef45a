"""Applies the gateway's objects, and writes only those that differ.

Each object is annotated with the digest of the content it was applied with. A new leader reads each object once, and
leaves it alone if the digest matches and the object still contains the desired content. After that, watches report
changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from beamlit_controller.kubernetes import managed_objects
from beamlit_controller.kubernetes.api_server import ApiError, ApiServer, Json
from beamlit_controller.kubernetes.gateway_objects import DesiredObject
from beamlit_controller.kubernetes.managed_objects import ManagedObject

NOT_FOUND, CONFLICT = 404, 409
ATTEMPTS = 5


class NameTakenError(Exception):
    """An object with this name exists and has another owner."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The last known applied state of an object: the desired digest, the live digest, and the resourceVersion."""

    desired: str
    version: int
    digest: str


@dataclass(slots=True)
class Applier:
    """Applies the objects of one model and remembers what it applied. A new applier first reads each object once."""

    server: ApiServer
    owner: str
    applied: dict[str, Applied] = field(default_factory=dict)

    async def ensure(self, desired: DesiredObject, seen: ManagedObject | None) -> None:
        """Apply the object unless it is up to date; `seen` is its state in the watch cache. Raises ApiError and NameTakenError."""
        before = self.applied.get(desired.path)
        if before and seen and before.desired == desired.digest and _is_as_left(seen, before):
            return
        live = await self._ensured(desired, ATTEMPTS)
        self.applied[desired.path] = Applied(
            desired.digest, managed_objects.version(live), managed_objects.digest(live)
        )

    async def delete(self, seen: ManagedObject) -> None:
        """Delete the object if it is still the one that was seen. Raises ApiError."""
        self.applied.pop(seen.resource.path(seen.key.namespace, seen.name), None)
        try:
            await self.server.delete(seen.resource.path(seen.key.namespace, seen.name), uid=seen.uid)
        except ApiError as error:
            if error.code not in {NOT_FOUND, CONFLICT}:
                raise

    async def _ensured(self, desired: DesiredObject, attempts: int) -> Json:
        """Apply the object over its live version unless that matches. An object with another owner is never written."""
        live = await self._live(desired)
        if live is not None and managed_objects.owner(live) != self.owner:
            raise NameTakenError(
                f"{desired.resource.kind} {desired.namespace}/{desired.name} already exists and has another owner: "
                "rename it or the ModelDeployment"
            )
        if live is not None and contains(live, desired.content):
            return live
        try:
            return await self.server.apply(desired.path, _over(desired.content, live), force=live is not None)
        except ApiError as error:
            if error.code != CONFLICT or attempts <= 1:
                raise
            return await self._ensured(desired, attempts - 1)

    async def _live(self, desired: DesiredObject) -> Json | None:
        try:
            return await self.server.get(desired.path)
        except ApiError as error:
            if error.code != NOT_FOUND:
                raise
            return None


def contains(live: object, desired: object) -> bool:
    """Return whether an object contains the desired content; fields added by the API server or others are ignored."""
    if isinstance(desired, Mapping):
        return isinstance(live, Mapping) and all(
            contains(live[key], value) if key in live else _is_empty(value) for key, value in desired.items()
        )
    if isinstance(desired, list):
        return (
            isinstance(live, list)
            and len(live) == len(desired)
            and all(contains(one, other) for one, other in zip(live, desired, strict=True))
        )
    return live == desired


def _is_empty(value: object) -> bool:
    """Return whether the API server drops the value when it stores the object."""
    return value is None or (isinstance(value, str | list | dict) and not value)


def _is_as_left(seen: ManagedObject, before: Applied) -> bool:
    return managed_objects.unchanged(seen, version=before.version, digest=before.digest)


def _over(content: Json, live: Json | None) -> Json:
    if live is None:
        return content
    return {**content, "metadata": {**content["metadata"], "resourceVersion": live["metadata"]["resourceVersion"]}}
