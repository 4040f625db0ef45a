"""The sink that writes `status`, and the Events that tell its changes. Only the leader runs it.

The decision is in force once it is recorded: every replica serves the gateways what it reads from the status. A change is
written at once, figures at most every half minute, and what is equal not at all. Each status goes over the version of the
object that was seen, so that of two leaders the late one is refused.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import structlog

from beamlit_controller.api.status import instant
from beamlit_controller.controller.latest import Latest
from beamlit_controller.controller.ports import Clock
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.remote_health import RemoteReady
from beamlit_controller.core.signals import LocalHealth
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.core.verdict import Assessed
from beamlit_controller.kubernetes import conditions
from beamlit_controller.kubernetes.api_server import ApiError, ApiServer, Json
from beamlit_controller.kubernetes.conditions import BAD_WHEN_FALSE, Known
from beamlit_controller.kubernetes.gateways import GatewayState
from beamlit_controller.kubernetes.models import Model, Models, Stored
from beamlit_controller.kubernetes.paths import EVENTS, MODEL_DEPLOYMENTS

log = structlog.stdlib.get_logger(__name__)

REFRESH = timedelta(seconds=30)
AT_ONCE = 16
NOT_FOUND, CONFLICT = 404, 409
CONTROLLER = "deployment.beamlit.com/controller"
LONGEST_NOTE = 1000


@dataclass(frozen=True, slots=True)
class Views:
    """What a status is made of beside the round: the gateway, the local pods, an autoscaler on the same workload, the remote."""

    gateway: Callable[[ModelKey], GatewayState]
    local: Callable[[Model], LocalHealth]
    autoscaler: Callable[[Model], str | None]
    remote: Callable[[ModelKey], RemoteReady | None]
    most: Callable[[ModelKey], int]


@dataclass(frozen=True, slots=True)
class _Written:
    """What was written, and what the API server made of it (it fills in defaults)."""

    version: int
    status: Json
    became: Json
    at: datetime


class Statuses:
    """Writes the status of every model that has news."""

    def __init__(self, server: ApiServer, models: Models, views: Views, clock: Clock, *, identity: str) -> None:
        self._server = server
        self._models = models
        self._views = views
        self._clock = clock
        self._identity = identity
        self._cycles: dict[ModelKey, Cycle] = {}
        self._written: dict[ModelKey, _Written] = {}
        self._due: set[ModelKey] = set()
        self._news: Latest[int] = Latest(0)

    def record(self, cycle: Cycle) -> None:
        """Keep the round, to be written."""
        self._cycles[cycle.spec.key] = cycle
        self.changed(cycle.spec.key)

    def failed(self, key: ModelKey, error: Exception) -> None:
        """Keep what is written: the share stays."""

    def forget(self, key: ModelKey) -> None:
        """Drop the model; its status went with it."""
        self._cycles.pop(key, None)
        self._written.pop(key, None)

    def readable(self, key: ModelKey) -> bool | None:
        """Tell whether any metric of the model could be read last; None if none has been asked for."""
        cycle = self._cycles.get(key)
        metrics = cycle.verdict.metrics if cycle else ()
        return any(isinstance(each, Assessed) for each in metrics) if metrics else None

    def changed(self, key: ModelKey) -> None:
        """Have the model's status looked at."""
        self._due.add(key)
        self._news.set(self._news.value + 1)

    async def run(self) -> None:
        """Write until cancelled. What was decided in an earlier time of leading is forgotten: another may have decided since."""
        self._cycles.clear()
        self._written.clear()
        places = asyncio.Semaphore(AT_ONCE)
        while True:
            seen = self._news.value
            due, self._due = self._due, set()
            async with asyncio.TaskGroup() as group:
                for key in due:
                    group.create_task(self._look(key, places))
            await self._news.other_than(seen)

    async def _look(self, key: ModelKey, places: asyncio.Semaphore) -> None:
        model, stored = self._models.models.get(key), self._models.get(key)
        if model is None or stored is None:
            return
        cycle = self._cycles.get(key)
        views = self._views
        known = Known(
            model,
            views.gateway(key),
            views.local(model),
            views.autoscaler(model),
            cycle,
            views.remote(key),
            views.most(key),
        )
        before = self._before(key, stored)
        wanted = conditions.status_of(known, before, instant(self._clock.now()))
        if self._waits(key, before, wanted):
            return
        async with places:
            with suppress(ApiError):
                await self._write(stored, before, wanted)

    def _before(self, key: ModelKey, stored: Stored) -> Mapping[str, Any]:
        """Give the status that is there: what was written, unless somebody else has written since."""
        written = self._written.get(key)
        ours = written is not None and (int(stored.version) < written.version or stored.status == written.became)
        return written.status if written and ours else stored.status

    def _waits(self, key: ModelKey, before: Mapping[str, Any], wanted: Json) -> bool:
        """Tell whether there is nothing to write, or nothing that could not wait."""
        if before == wanted:
            return True
        written = self._written.get(key)
        recent = written is not None and self._clock.now() - written.at < REFRESH
        return recent and conditions.essence(before) == conditions.essence(wanted)

    async def _write(self, stored: Stored, before: Mapping[str, Any], wanted: Json) -> None:
        key = stored.key
        about = {"name": key.name, "namespace": key.namespace, "resourceVersion": self._version(stored)}
        content = {"apiVersion": MODEL_DEPLOYMENTS.api_version, "kind": MODEL_DEPLOYMENTS.kind, "metadata": about}
        try:
            path = MODEL_DEPLOYMENTS.path(key.namespace, key.name, "status")
            made = await self._server.apply(path, {**content, "status": wanted})
        except ApiError as error:
            if error.code not in {NOT_FOUND, CONFLICT}:
                log.warning("status not written", model=str(key), code=error.code, error=error.message)
            raise
        self._written[key] = _Written(
            int(made["metadata"]["resourceVersion"]), wanted, made.get("status") or {}, self._clock.now()
        )
        for event in _events(before, wanted):
            await self._tell(stored, event)

    def _version(self, stored: Stored) -> str:
        written = self._written.get(stored.key)
        return str(written.version) if written and int(stored.version) < written.version else stored.version

    async def _tell(self, stored: Stored, event: "_Event") -> None:
        """Create an Event. It is for people: one that is lost is not tried again."""
        key = stored.key
        regarding = {
            "apiVersion": MODEL_DEPLOYMENTS.api_version,
            "kind": MODEL_DEPLOYMENTS.kind,
            "namespace": key.namespace,
            "name": key.name,
            "uid": stored.uid,
            "resourceVersion": stored.version,
        }
        content = {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": f"{key.name}.{uuid4().hex[:16]}", "namespace": key.namespace},
            "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": CONTROLLER,
            "reportingInstance": self._identity,
            "action": event.action,
            "reason": event.reason,
            "regarding": regarding,
            "note": event.note[:LONGEST_NOTE],
            "type": "Warning" if event.warning else "Normal",
        }
        try:
            await self._server.create(EVENTS.collection(key.namespace), content)
        except ApiError as error:
            log.warning("event not created", model=str(key), reason=event.reason, error=error.message)


@dataclass(frozen=True, slots=True)
class _Event:
    action: str
    reason: str
    note: str
    warning: bool = False


def _events(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[_Event]:
    """Give what is worth telling: another percentage, and each condition that turned. The first status tells nothing."""
    was, offloading = before.get("offloading") or {}, now.get("offloading") or {}
    percentage = offloading.get("percentage")
    if percentage is not None and percentage != was.get("percentage", 0):
        note = f"{percentage}% of the requests go to the remote, {was.get('percentage', 0)}% did before: {offloading['message']}"
        yield _Event("Offload" if percentage else "Release", offloading["reason"], note)
    states = {each["type"]: each["status"] for each in before.get("conditions") or ()}
    for condition in now.get("conditions") or ():
        kind, state = condition["type"], condition["status"]
        if kind == "Offloading" or kind not in states or states[kind] == state:
            continue
        bad = (kind in BAD_WHEN_FALSE) == (state == "False")
        yield _Event(kind, condition["reason"], f"{kind} is {state}: {condition['message']}", warning=bad)
