"""Makes the gateway's objects what they should be, and writes nothing where they are.

Every object carries the digest of what it was applied as. So whoever comes anew reads an object once, and leaves it alone
if it was applied as the very same and still says all of it; from then on a change is told by the watch.
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
    """An object of the name is there already, and it isn't ours."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What an object was last known to be as desired: the digests of what was desired and of what is there, and its version."""

    desired: str
    version: int
    digest: str


@dataclass(slots=True)
class Applier:
    """The objects of one model. It remembers what it applied; an empty one only costs a read per object."""

    server: ApiServer
    owner: str
    applied: dict[str, Applied] = field(default_factory=dict)

    async def ensure(self, desired: DesiredObject, seen: ManagedObject | None) -> None:
        """Have the object there as desired; `seen` is what the watch shows. Raises ApiError and NameTakenError."""
        before = self.applied.get(desired.path)
        if before and seen and before.desired == desired.digest and _is_as_left(seen, before):
            return
        live = await self._ensured(desired, ATTEMPTS)
        self.applied[desired.path] = Applied(
            desired.digest, managed_objects.version(live), managed_objects.digest(live)
        )

    async def delete(self, seen: ManagedObject) -> None:
        """Remove an object, if it is still the one that was seen. Raises ApiError."""
        self.applied.pop(seen.resource.path(seen.key.namespace, seen.name), None)
        try:
            await self.server.delete(seen.resource.path(seen.key.namespace, seen.name), uid=seen.uid)
        except ApiError as error:
            if error.code not in {NOT_FOUND, CONFLICT}:
                raise

    async def _ensured(self, desired: DesiredObject, attempts: int) -> Json:
        """Apply over the version that is there, unless it is as desired; never over an object that isn't ours."""
        live = await self._live(desired)
        if live is not None and managed_objects.owner(live) != self.owner:
            raise NameTakenError(
                f"{desired.resource.kind} {desired.namespace}/{desired.name} is there already and belongs to somebody else: "
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
    """Tell whether an object says all that is desired; what the API server or others added beside it does not matter."""
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
    """Tell whether the API server leaves the value out of what it stores."""
    return value is None or (isinstance(value, str | list | dict) and not value)


def _is_as_left(seen: ManagedObject, before: Applied) -> bool:
    return managed_objects.unchanged(seen, version=before.version, digest=before.digest)


def _over(content: Json, live: Json | None) -> Json:
    if live is None:
        return content
    return {**content, "metadata": {**content["metadata"], "resourceVersion": live["metadata"]["resourceVersion"]}}
