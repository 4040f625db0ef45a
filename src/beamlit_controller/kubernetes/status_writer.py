"""Writes a model's status, and Events about its changes.

A decision is in force once it is recorded in the status, because every replica serves the gateways from there. Changes
are written immediately, changed numbers at most every 30 s, and an equal status never. Each write is conditional on the
observed version, so a former leader's write is rejected. Each model's worker calls it, so a slow or rejected write
delays no other model.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog

from beamlit_controller.api import status as api_status
from beamlit_controller.api.status import instant
from beamlit_controller.controller.ports import Clock
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.core.traffic import Minute
from beamlit_controller.kubernetes import conditions, events
from beamlit_controller.kubernetes.api_server import ApiError, ApiServer, Json
from beamlit_controller.kubernetes.conditions import ModelState
from beamlit_controller.kubernetes.events import StatusEvent
from beamlit_controller.kubernetes.models import Stored
from beamlit_controller.kubernetes.paths import EVENTS, MODEL_DEPLOYMENTS
from beamlit_controller.kubernetes.remotes import Remotes
from beamlit_controller.kubernetes.round_sink import Rounds
from beamlit_controller.kubernetes.snapshot import GatewayState, Snapshot

log = structlog.stdlib.get_logger(__name__)

REFRESH: Final = 30.0
"""Seconds between two writes of mere numbers."""
FORBIDDEN, NOT_FOUND, CONFLICT = 403, 404, 409


@dataclass(frozen=True, slots=True)
class WrittenStatus:
    """The last written status, the API server's response to it (with defaults), and when it was written or found equal.

    `significant` is the part whose changes are written immediately, before it was cut to what the CRD allows. Times are
    monotonic.
    """

    version: int
    significant: object
    status: Json
    returned: Json
    compared_at: float


class StatusWriter:
    """Writes statuses over the version that the worker saw or wrote last."""

    def __init__(
        self,
        server: ApiServer,
        clock: Clock,
        *,
        rounds: Rounds,
        remotes: Remotes,
        minute: Callable[[ModelKey], Minute | None],
        identity: str,
    ) -> None:
        self._server = server
        self._clock = clock
        self._rounds = rounds
        self._remotes = remotes
        self._minute = minute
        self._identity = identity

    async def report(
        self, snapshot: Snapshot, gateway: GatewayState, last: WrittenStatus | None
    ) -> WrittenStatus | None:
        """Write the status unless it is equal or may wait; return the last written one. Raises ApiError."""
        stored, before = snapshot.stored, _before(snapshot.stored, last)
        complete = conditions.status_of(self._known(snapshot, gateway), before, instant(self._clock.now()))
        significant = conditions.significant_fields(complete)
        if last is not None and before is last.status and _may_wait(significant, last):
            return last
        desired = api_status.bounded(complete)
        if conditions.equal(before, desired):
            return replace(last, compared_at=asyncio.get_running_loop().time()) if last else None
        made = await self._applied(stored, desired, significant, last)
        for event in events.between(before, desired):
            await self._create_event(stored, event)
        return made

    def _known(self, snapshot: Snapshot, gateway: GatewayState) -> ModelState:
        return ModelState(
            model=snapshot.model,
            gateway=gateway,
            local=snapshot.local,
            autoscaler=snapshot.autoscaler,
            cycle=self._rounds.last(snapshot.key),
            remote=self._remotes.ready(snapshot.key),
            percentage_limit=self._remotes.percentage_limit(snapshot.key),
            minute=self._minute(snapshot.key),
        )

    async def _applied(
        self, stored: Stored, desired: Json, significant: object, last: WrittenStatus | None
    ) -> WrittenStatus:
        key = stored.key
        version = str(last.version) if last and int(stored.version) < last.version else stored.version
        try:
            made = await self._apply_over(stored, version, desired)
        except ApiError as error:
            if error.code != CONFLICT:
                raise
            # The object changed before our watch noticed. Each write checks whether we still lead.
            live = await self._server.get(MODEL_DEPLOYMENTS.path(key.namespace, key.name))
            if live["metadata"]["uid"] != stored.uid:
                raise
            made = await self._apply_over(stored, live["metadata"]["resourceVersion"], desired)
        now = asyncio.get_running_loop().time()
        return WrittenStatus(
            int(made["metadata"]["resourceVersion"]), significant, desired, made.get("status") or {}, now
        )

    async def _apply_over(self, stored: Stored, version: str, desired: Json) -> Json:
        key = stored.key
        about = {"name": key.name, "namespace": key.namespace, "resourceVersion": version}
        content = {"apiVersion": MODEL_DEPLOYMENTS.api_version, "kind": MODEL_DEPLOYMENTS.kind, "metadata": about}
        path = MODEL_DEPLOYMENTS.path(key.namespace, key.name, "status")
        return await self._server.apply(path, {**content, "status": desired})

    async def _create_event(self, stored: Stored, event: StatusEvent) -> None:
        """Create an Event. Events are informational: a failure is logged, not retried."""
        content = events.content(event, stored, identity=self._identity, now=self._clock.now())
        try:
            await self._server.create(EVENTS.collection(stored.key.namespace), content)
        except ApiError as error:
            # Nothing can be created in a namespace that is being deleted.
            say = log.debug if error.code in {FORBIDDEN, NOT_FOUND} and "terminat" in error.message else log.warning
            say("event not created", model=str(stored.key), reason=event.reason, error=error.message[:200])


def _before(stored: Stored, last: WrittenStatus | None) -> Mapping[str, Any]:
    """Return the current status: the one we wrote, unless somebody else has written since."""
    ours = last is not None and (int(stored.version) < last.version or stored.status == last.returned)
    return last.status if last and ours else stored.status


def _may_wait(significant: object, last: WrittenStatus) -> bool:
    """Return whether only numbers differ, and it was compared recently."""
    return asyncio.get_running_loop().time() - last.compared_at < REFRESH and significant == last.significant
