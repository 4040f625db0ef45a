"""One reconcile pass of one model: takeover decision, gateway objects, Service, endpoints.

The order loses no request: the gateway exists before the Service selects it, and the Service is restored, with none of
its endpoints a gateway pod, before the gateway is removed. What can't be done yet is left to a later pass.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Protocol

import structlog

from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.core.spec import OffloadSpec, RoutingMode
from beamlit_controller.kubernetes import (
    desired,
    gateway_objects,
    namespaces,
    service_switch,
    takeover_memory,
)
from beamlit_controller.kubernetes import snapshot as snapshots
from beamlit_controller.kubernetes.api_server import ApiError, ApiServer
from beamlit_controller.kubernetes.applier import Applier, NameTakenError
from beamlit_controller.kubernetes.desired import GatewayObjects
from beamlit_controller.kubernetes.gateway_objects import CONFIG_ANNOTATION
from beamlit_controller.kubernetes.observation import Observer
from beamlit_controller.kubernetes.paths import PODS, SERVICES
from beamlit_controller.kubernetes.plan import Plan
from beamlit_controller.kubernetes.rendering import ConfigTooLargeError, Rendered
from beamlit_controller.kubernetes.snapshot import ServiceState, Snapshot
from beamlit_controller.kubernetes.takeover import Action, TakeoverDecision
from beamlit_controller.kubernetes.takeover_memory import TakeoverMemory

log = structlog.stdlib.get_logger(__name__)

NOT_FOUND, CONFLICT = 404, 409
LOOK_AGAIN: Final = 300.0
"""Seconds after which a model's gateway is checked even if no event arrived."""
WATCHED_EVERY: Final = 10.0
"""Seconds between checks while the effect of a takeover is being observed."""
SHORTEST: Final = 0.2
CHECKS, CHECKED_EVERY = 4, 0.1
LONGEST_CHECK: Final = 5.0
END_MARGIN: Final = timedelta(seconds=60)
"""How long after its drain time a gateway pod may take to disappear."""


class ObjectRenderer(Protocol):
    """Renders a gateway's objects."""

    async def objects(self, snapshot: Snapshot, before: Rendered, spec: OffloadSpec, plan: Plan) -> GatewayObjects:
        """Render the desired objects. Raises ApiError and ConfigTooLargeError."""
        ...


@dataclass(slots=True)
class WorkerState:
    """What a worker remembers: the current `problem`, and where the clients' `service` was seen to route.

    `confirmed` is the uid of the Service whose endpoints were last seen to be the gateway's, and `checks` counts the
    checks since then. `had_pods` is the last result of `namespaces.had_pods`.
    """

    applier: Applier
    takeover: TakeoverMemory = field(default_factory=TakeoverMemory)
    problem: Missing | None = None
    service: ServiceState | None = None
    confirmed: str = ""
    checks: int = 0
    rendered: Rendered = field(default_factory=Rendered)
    had_pods: bool = False


class GatewayPass:
    """Reconciles one model's gateway and Service, as far as currently possible."""

    def __init__(self, server: ApiServer, rendering: ObjectRenderer, observer: Observer) -> None:
        self._server = server
        self._rendering = rendering
        self._observer = observer

    async def run(self, snapshot: Snapshot, state: WorkerState) -> float:
        """Do what can be done now; return the seconds until the next pass. Raises ApiError and NameTakenError."""
        state.problem = None
        state.had_pods = await namespaces.had_pods(self._server, snapshot, before=state.had_pods)
        spec = snapshot.model.spec
        if spec is None:
            return await self._without_spec(snapshot, state)
        others = [
            each for each in snapshot.taken_over if snapshot.service is None or each.name != snapshot.service.name
        ]
        await service_switch.restore_all(self._server, others, "its model has another Service")
        decision = await self._decide(snapshot, state, spec)
        if decision is not None and decision.action in {Action.RESTORE, Action.NOTE}:
            await self._restore(snapshot, state, decision)
        if snapshots.absence(spec, snapshot) is not None:
            return await self._remove(snapshot, state, spec, decision)
        if isinstance(snapshot.plan, Missing):
            # Existing objects stay as they are: a Service that was deleted by mistake will come back.
            state.problem = snapshot.plan
            return await self._confirm(snapshot, state, spec, decision)
        failure = await self._apply(snapshot, state, spec, snapshot.plan)
        if decision is not None and decision.action is Action.TAKE_OVER:
            await self._take_over(snapshot, state, decision)
        elif decision is not None and not decision.taken:
            await service_switch.remove_finalizer(self._server, snapshot.stored)
        again = min(await self._confirm(snapshot, state, spec, decision), state.rendered.progress.again or LOOK_AGAIN)
        if failure is not None:
            raise failure
        return again

    async def _without_spec(self, snapshot: Snapshot, state: WorkerState) -> float:
        """Clean up a deleted model that never had a valid spec; leave one that is not deleted alone."""
        if snapshot.model.deleting:
            await service_switch.restore_all(self._server, snapshot.taken_over, "its model is deleted")
            for each in desired.removable(snapshot):
                await state.applier.delete(each)
            await service_switch.remove_finalizer(self._server, snapshot.stored)
        return LOOK_AGAIN

    # The Service that clients use.

    async def _decide(self, snapshot: Snapshot, state: WorkerState, spec: OffloadSpec) -> TakeoverDecision | None:
        """Decide about the Service. None if there is none, or if the watch cache is older than our own write."""
        service = snapshot.service
        if service is None:
            missing = Missing(Reason.SERVICE_NOT_FOUND, "there is no Service to lead through the gateway")
            state.service = ServiceState(taken=False, why=missing)
            return None
        if int(service.version or 0) < state.takeover.written_version:
            return None
        state.takeover = await self._observer.observe(snapshot, state.takeover, spec, service)
        decision = state.takeover.decision
        left_alone = decision is not None and not decision.taken and decision.action in {Action.NOTHING, Action.NOTE}
        if decision is not None and left_alone and spec.routing is RoutingMode.TAKEOVER:
            state.service = ServiceState(taken=False, why=decision.why)
        return decision

    async def _restore(self, snapshot: Snapshot, state: WorkerState, decision: TakeoverDecision) -> None:
        if snapshot.service is None:
            return
        state.takeover = takeover_memory.writing(state.takeover)
        try:
            version = await service_switch.restore(self._server, snapshot.service, reverted=decision.reverted)
        except ApiError as error:
            if decision.action is Action.RESTORE and error.code != CONFLICT:
                state.service = ServiceState(taken=True, why=_refused("it can't be restored", error))
            raise
        state.takeover = self._observer.restored(snapshot, state.takeover, snapshot.service, version=version)
        state.service, state.confirmed = ServiceState(taken=False, why=decision.why), ""
        if decision.action is Action.RESTORE:
            log.info(
                "service restored",
                model=str(snapshot.key),
                service=snapshot.service.name,
                reason=decision.why.reason.value,
            )

    async def _take_over(self, snapshot: Snapshot, state: WorkerState, decision: TakeoverDecision) -> None:
        if snapshot.service is None:
            return
        try:
            version = await service_switch.take_over(
                self._server, snapshot.stored, snapshot.service, reverted=decision.reverted
            )
        except ApiError as error:
            if error.code != CONFLICT:
                held = state.confirmed == snapshot.service.uid
                state.service = ServiceState(taken=held, why=_refused("it can't be taken over", error))
            raise
        state.takeover = self._observer.taken_over(snapshot, state.takeover, snapshot.service, version=version)
        log.info("service taken over", model=str(snapshot.key), service=snapshot.service.name)

    async def _confirm(
        self, snapshot: Snapshot, state: WorkerState, spec: OffloadSpec, decision: TakeoverDecision | None
    ) -> float:
        """Check the Service's endpoints, and report that it routes through the gateway only once it does."""
        where = _client_service(snapshot, spec, decision)
        if where is None:
            return _until_next(state)
        name, uid = where
        if state.confirmed != uid and await self._endpoints_are_gateway(snapshot, name):
            state.confirmed, state.checks = uid, 0
        if state.confirmed == uid:
            why = decision.why if decision and spec.routing is RoutingMode.TAKEOVER else _AS_ASKED
            state.service = ServiceState(taken=True, why=why)
            return _until_next(state)
        state.checks += 1
        message = f"Service {name} is written; its endpoints are not the gateway's yet"
        state.service = ServiceState(taken=False, why=Missing(Reason.SERVICE_SWITCHING, message))
        return min(SHORTEST * 2.0 ** min(state.checks, 10), LONGEST_CHECK)

    async def _endpoints_are_gateway(self, snapshot: Snapshot, name: str) -> bool:
        if not any(pod.ready for pod in snapshot.pods):
            return False
        for check in range(CHECKS):
            await asyncio.sleep(CHECKED_EVERY if check else 0)
            if await service_switch.endpoints_are_gateway(self._server, snapshot.key.namespace, name, snapshot.pods):
                return True
        return False

    # The gateway.

    async def _apply(self, snapshot: Snapshot, state: WorkerState, spec: OffloadSpec, plan: Plan) -> Exception | None:
        """Apply all objects of the gateway. Return the error of any but NAME-local: the existing gateway can still serve."""
        seen = desired.find(snapshot, SERVICES, gateway_objects.local_name(spec.key))
        local = gateway_objects.local_service(spec, snapshot.stored.uid, selector=plan.selector, port=plan.local_port)
        await state.applier.ensure(local, seen)
        if seen is None:
            # The plan depends on the IP families that it gets; its event triggers another pass.
            return None
        try:
            await self._apply_rendered(snapshot, state, spec, plan)
        except ConfigTooLargeError as error:
            state.problem = Missing(Reason.SPEC_INVALID, str(error))
        except (ApiError, NameTakenError) as error:
            return error
        return None

    async def _apply_rendered(self, snapshot: Snapshot, state: WorkerState, spec: OffloadSpec, plan: Plan) -> None:
        gateway = await self._rendering.objects(snapshot, state.rendered, spec, plan)
        wanted = [*gateway.objects, *([gateway.client_service] if desired.has_client_service(spec, snapshot) else [])]
        for each in wanted:
            await state.applier.ensure(each, desired.find(snapshot, each.resource, each.name))
        await self._annotate_pods(snapshot, gateway.config)
        state.problem = state.rendered.progress.problem

    async def _annotate_pods(self, snapshot: Snapshot, config: str) -> None:
        """Annotate pods that have an older configuration, so that the kubelet updates their files immediately."""
        for pod in snapshot.pods:
            if pod.deleting or pod.config == config:
                continue
            about = {"annotations": {CONFIG_ANNOTATION: config}, "resourceVersion": pod.version}
            try:
                await self._server.merge(PODS.path(snapshot.key.namespace, pod.name), {"metadata": about})
            except ApiError as error:
                # It has changed or been deleted meanwhile; its next event triggers another pass.
                if error.code not in {NOT_FOUND, CONFLICT}:
                    raise

    async def _remove(
        self, snapshot: Snapshot, state: WorkerState, spec: OffloadSpec, decision: TakeoverDecision | None
    ) -> float:
        """Remove the gateway once no client is routed to it any more."""
        if decision is not None and decision.taken:
            state.problem = decision.why
            return _until_next(state)
        if snapshot.service is not None and decision is None:
            return LOOK_AGAIN  # the watch cache is older than our write; the next event triggers another pass
        if not await self._is_bypassed(snapshot, spec):
            return SHORTEST
        direct = desired.bypass(spec, snapshot)
        if direct is not None:
            await state.applier.ensure(direct, desired.find(snapshot, direct.resource, direct.name))
        state.rendered = Rendered()
        for each in desired.removable(snapshot):
            await state.applier.delete(each)
        now = asyncio.get_running_loop().time()
        state.takeover = takeover_memory.draining(state.takeover, snapshot.pods, now=now)
        began = state.takeover.draining_since
        longest = (spec.gateway.drain + END_MARGIN).total_seconds()
        if began is None or now - began > longest:
            await service_switch.remove_finalizer(self._server, snapshot.stored)
            return LOOK_AGAIN
        return max(SHORTEST, longest - (now - began))

    async def _is_bypassed(self, snapshot: Snapshot, spec: OffloadSpec) -> bool:
        service = snapshot.service
        if spec.routing is not RoutingMode.TAKEOVER or service is None or not snapshot.pods:
            return True
        return await service_switch.endpoints_exclude_gateway(
            self._server, snapshot.key.namespace, service.name, snapshot.pods
        )


_AS_ASKED = Missing(Reason.ROUTING_BY_SERVICE, "the gateway's own Service leads to it")


def _client_service(snapshot: Snapshot, spec: OffloadSpec, decision: TakeoverDecision | None) -> tuple[str, str] | None:
    """Return name and uid of the Service through which clients should reach the gateway; None if there is none."""
    if spec.routing is RoutingMode.TAKEOVER:
        leads = decision is not None and decision.taken
        return (snapshot.service.name, snapshot.service.uid) if snapshot.service is not None and leads else None
    own = desired.find(snapshot, SERVICES, gateway_objects.gateway_name(spec.key))
    return (own.name, own.uid) if own is not None else None


def _refused(what: str, error: ApiError) -> Missing:
    return Missing(Reason.API_REFUSED, f"{what}: the API server refused: {error.message}")


def _until_next(state: WorkerState) -> float:
    decision = state.takeover.decision
    again = decision.requeue_after if decision else None
    if again is None:
        return WATCHED_EVERY if state.takeover.taken_at is not None else LOOK_AGAIN
    return min(max(again.total_seconds(), SHORTEST), LOOK_AGAIN)
