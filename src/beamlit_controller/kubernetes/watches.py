"""All watches of the controller, run together: in every namespace, or in those that it was given."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from beamlit_controller.kubernetes.api_server import ApiServer, Json, Query
from beamlit_controller.kubernetes.paths import Resource
from beamlit_controller.kubernetes.reflector import Collection, Reflector

T = TypeVar("T")
Place = tuple[str, str]


class Watches:
    """Reflectors, one per resource and namespace."""

    def __init__(self, server: ApiServer, namespaces: Sequence[str] = ()) -> None:
        self._server = server
        self._namespaces: Sequence[str | None] = tuple(namespaces) or (None,)
        self._reflectors: list[Reflector[Any]] = []

    def add(
        self,
        resource: Resource,
        *,
        keep: Callable[[Json], T],
        changed: Callable[[Place, T | None], None],
        query: Query = (),
    ) -> None:
        """Watch a resource. `changed` is told of every object, and None when it went."""
        for namespace in self._namespaces:
            collection = Collection(resource.collection(namespace), query)
            self._reflectors.append(Reflector(self._server, collection, keep=keep, changed=changed))

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for reflector in self._reflectors:
                group.create_task(reflector.run())

    async def wait_synced(self) -> None:
        """Wait until everything has been listed once."""
        for reflector in self._reflectors:
            await reflector.wait_synced()

    def synced(self) -> bool:
        """Tell whether everything has been listed once."""
        return all(reflector.synced for reflector in self._reflectors)

    def age(self) -> float:
        """Give the seconds since the quietest watch last gave a sign of life."""
        return max((reflector.age() for reflector in self._reflectors), default=0)

    def skipped(self) -> dict[tuple[str, str], int]:
        """TEMPORARY."""
        return {}
