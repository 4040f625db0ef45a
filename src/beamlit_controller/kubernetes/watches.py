"""All watches of the controller, in all namespaces or in the configured ones."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from beamlit_controller.kubernetes.api_server import ApiServer, Json, Query
from beamlit_controller.kubernetes.list_chunks import Collection
from beamlit_controller.kubernetes.paths import MODEL_DEPLOYMENTS, Resource
from beamlit_controller.kubernetes.reflector import Reflector
from beamlit_controller.kubernetes.skipped_objects import Skips

T = TypeVar("T")
NamespacedName = tuple[str, str]


_KEEP_LAST = frozenset({MODEL_DEPLOYMENTS})
"""A ModelDeployment that can't be parsed any more is not treated as deleted, because its gateway serves clients."""


class Watches:
    """Reflectors, one per resource and namespace."""

    def __init__(self, server: ApiServer, namespaces: Sequence[str] = ()) -> None:
        self._server = server
        self._namespaces: Sequence[str | None] = tuple(namespaces) or (None,)
        self._reflectors: list[Reflector[Any]] = []
        self._skips = Skips()

    def add(
        self,
        resource: Resource,
        *,
        keep: Callable[[Json], T],
        changed: Callable[[NamespacedName, T | None], None],
        query: Query = (),
        metadata_only: bool = False,
    ) -> None:
        """Watch a resource. `changed` is called with each object, and with None when it is deleted.

        With `metadata_only` only the metadata is requested: for kinds whose objects may be large.
        """
        keep_last = resource in _KEEP_LAST
        for namespace in self._namespaces:
            path = resource.collection(namespace)
            collection = Collection(path, query, metadata_only=metadata_only, keep_last=keep_last)
            self._reflectors.append(Reflector(self._server, collection, keep=keep, changed=changed, skips=self._skips))

    def skipped(self) -> Mapping[tuple[str, str], int]:
        """Return the counts of skipped objects, by kind (plural name) and reason."""
        return self._skips.counts

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
        """Return whether everything has been listed once."""
        return all(reflector.synced for reflector in self._reflectors)

    def age(self) -> float:
        """Return the seconds since the last response or event of the quietest watch."""
        return max((reflector.age() for reflector in self._reflectors), default=0)
