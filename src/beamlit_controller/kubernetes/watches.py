"""All watches of the controller, in all namespaces or in the configured ones.

A configured namespace that was deleted takes the controller's Role with it, so its watches are refused from then on. Such
a namespace is left out until they are permitted again; the others go on. What was known of it before stays known, because
a right that is missing for a while must not look like deleted models.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import structlog

from beamlit_controller.controller.latest import Latest
from beamlit_controller.kubernetes.api_server import ApiServer, Json, Query
from beamlit_controller.kubernetes.list_chunks import Collection
from beamlit_controller.kubernetes.paths import MODEL_DEPLOYMENTS, Resource
from beamlit_controller.kubernetes.reflector import Reflector
from beamlit_controller.kubernetes.skipped_objects import Skips

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")
NamespacedName = tuple[str, str]


_KEEP_LAST = frozenset({MODEL_DEPLOYMENTS})
"""A ModelDeployment that can't be parsed any more is not treated as deleted, because its gateway serves clients."""


class Watches:
    """Reflectors, one per resource and namespace."""

    def __init__(self, server: ApiServer, namespaces: Sequence[str] = ()) -> None:
        self._server = server
        self._scopes = [_Scope(each) for each in namespaces] or [_Scope("")]
        self._skips = Skips()
        self._synced: Latest[bool] = Latest(value=False)

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
        for scope in self._scopes:
            path = resource.collection(scope.namespace or None)
            collection = Collection(path, query, metadata_only=metadata_only, keep_last=keep_last)
            reflector = Reflector(
                self._server,
                collection,
                keep=keep,
                changed=partial(scope.pass_on, changed),
                skips=self._skips,
                progress=self._progress,
            )
            scope.reflectors.append(reflector)

    def skipped(self) -> Mapping[tuple[str, str], int]:
        """Return the counts of skipped objects, by kind (plural name) and reason."""
        return self._skips.counts

    def refused(self) -> Mapping[str, Sequence[str]]:
        """Return by namespace why watches are refused, one message for each; the namespace is "" if all are watched."""
        return {scope.namespace: scope.refused() for scope in self._scopes}

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for reflector in self._reflectors():
                group.create_task(reflector.run())

    async def wait_synced(self) -> None:
        """Wait until everything has been listed once, except in namespaces whose watches are refused.

        If that is so in all of them, the controller lacks its rights, and there is nothing to begin with.
        """
        await self._synced.changed_from(seen=False)

    def synced(self) -> bool:
        """Return whether `wait_synced` is over."""
        return self._synced.value

    def age(self) -> float:
        """Return the seconds since the last response or event of the quietest watch. A refusal is a response."""
        return max((reflector.age() for reflector in self._reflectors()), default=0)

    def _reflectors(self) -> Sequence[Reflector[Any]]:
        return [reflector for scope in self._scopes for reflector in scope.reflectors]

    def _progress(self) -> None:
        for scope in self._scopes:
            scope.begin()
        complete = [scope.complete() for scope in self._scopes]
        settled = all(done or scope.refused() for done, scope in zip(complete, self._scopes, strict=True))
        if any(complete) and settled:
            self._synced.set(True)


class _Scope:
    """The reflectors of one namespace, or of all namespaces.

    The objects of a namespace are passed on once all of its resources are listed. It may become readable while the
    controller runs, and a model without its Service, or a Service without its model, would be acted on.
    """

    def __init__(self, namespace: str) -> None:
        """`namespace` is "" for all namespaces: nothing runs before these are listed, so they need not be held back."""
        self.namespace = namespace
        self.reflectors: list[Reflector[Any]] = []
        self._passes_on = not namespace

    def complete(self) -> bool:
        """Return whether all resources have been listed once and are passed on."""
        return self._passes_on and self._listed()

    def refused(self) -> Sequence[str]:
        """Return why watches are refused, one message for each."""
        return [reflector.refused for reflector in self.reflectors if reflector.refused]

    def pass_on(
        self, changed: Callable[[NamespacedName, T | None], None], namespaced_name: NamespacedName, item: T | None
    ) -> None:
        """Pass on a change, unless all objects will be passed on later."""
        if self._passes_on:
            changed(namespaced_name, item)

    def begin(self) -> None:
        """Pass on all objects, and from now on every change, once all resources have been listed."""
        if self._passes_on or self.refused() or not self._listed():
            return
        self._passes_on = True
        for reflector in self.reflectors:
            reflector.replay()
        log.info("namespace listed", namespace=self.namespace)

    def _listed(self) -> bool:
        return all(reflector.synced for reflector in self.reflectors)
