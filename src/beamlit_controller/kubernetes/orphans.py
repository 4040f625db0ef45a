"""Restores Services that are taken over by a model that no longer exists.

This happens if somebody removes the finalizer by hand. A Service that can't be restored doesn't block the others.
"""

import asyncio
from typing import Final

import structlog

from beamlit_controller.controller.latest import Latest
from beamlit_controller.kubernetes import service_switch
from beamlit_controller.kubernetes.api_server import ApiError, ApiServer
from beamlit_controller.kubernetes.services import Service
from beamlit_controller.kubernetes.store import Store

log = structlog.stdlib.get_logger(__name__)

FIRST_RETRY, LONGEST_RETRY = 1.0, 60.0
LOOK_AGAIN: Final = 300.0


class Orphans:
    """Restores orphaned Services; only the leader runs it."""

    def __init__(self, server: ApiServer, store: Store) -> None:
        self._server = server
        self._store = store

    async def run(self) -> None:
        """Restore orphans whenever a Service changes, until cancelled."""
        changes: Latest[int] = self._store.services.changes
        wait = FIRST_RETRY
        while True:
            seen = changes.value
            done = await self._restore_found()
            wait = FIRST_RETRY if done else min(wait * 2, LONGEST_RETRY)
            try:
                async with asyncio.timeout(LOOK_AGAIN if done else wait):
                    await changes.changed_from(seen)
            except TimeoutError:
                continue

    async def _restore_found(self) -> bool:
        """Restore all orphans; return False if that has to be retried."""
        try:
            return all([await self._restore_one(service) for service in self._store.orphans()])
        except Exception as error:
            log.exception("orphans not found", error=repr(error)[:200])
            return False

    async def _restore_one(self, service: Service) -> bool:
        """Restore one Service; return False if that has to be retried."""
        name = f"{service.namespace}/{service.name}"
        try:
            await service_switch.restore_all(self._server, [service], "nobody has it any more")
        except ApiError as error:
            log.warning("service not restored", service=name, code=error.code, error=error.message[:200])
            return False
        except Exception as error:
            log.exception("service not restored", service=name, error=repr(error)[:200])
            return False
        return True
