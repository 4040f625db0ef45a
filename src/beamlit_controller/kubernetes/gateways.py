"""Every model's gateway as it should be: one sequential worker per model, woken by whatever concerns it.

What is applied is compared with what the API server made of it, so that in a quiet cluster nothing is written, and what
somebody else changed is put right. Each write goes over the version that was looked at, or is refused.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import structlog

from beamlit_controller.controller.latest import Latest
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.core.spec import LabelSelector, ModelKey, OffloadSpec
from beamlit_controller.kubernetes import gateway_objects, owned, plan
from beamlit_controller.kubernetes.api_server import ApiError, ApiServer, Json
from beamlit_controller.kubernetes.gateway_objects import CONFIG_ANNOTATION, Envoy, Image, Wanted
from beamlit_controller.kubernetes.models import Models
from beamlit_controller.kubernetes.owned import GatewayPod, Owned, Seen
from beamlit_controller.kubernetes.paths import DEPLOYMENTS, PODS, SERVICES
from beamlit_controller.kubernetes.plan import NamedPorts, Plan
from beamlit_controller.kubernetes.services import Service

log = structlog.stdlib.get_logger(__name__)

NOT_FOUND, CONFLICT = 404, 409
ATTEMPTS = 5
FIRST_RETRY, LONGEST_RETRY = 1.0, 30.0
LOOK_AGAIN = 300.0
"""Seconds after which a model's gateway is looked at even if nothing was heard."""


@dataclass(frozen=True, slots=True)
class GatewayState:
    """How a model's gateway is: pods wanted and ready, and what stands in its way."""

    wanted: int = 0
    ready: int = 0
    enabled: bool = True
    problem: Missing | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the workers look things up in, and what the other edges bring."""

    models: Models
    owned: Owned
    service: Callable[[str, str], Service | None]
    named_ports: Callable[[str, LabelSelector], NamedPorts]
    render: Callable[[OffloadSpec, Plan], Envoy]
    image: Image
    changed: Callable[[ModelKey], None]


@dataclass(frozen=True, slots=True)
class _Applied:
    """What was applied last to one object, and what came of it."""

    wanted: str
    version: int
    digest: str


@dataclass(slots=True)
class _Worker:
    """One model's worker: `woken` grows with every reason to look."""

    task: asyncio.Task[None]
    woken: Latest[int]
    applied: dict[str, _Applied] = field(default_factory=dict)
    problem: Missing | None = None


class NameTakenError(Exception):
    """An object of the name is there already, and it isn't ours."""


class Gateways:
    """Keeps the gateways of all models, while we lead."""

    def __init__(self, server: ApiServer, around: Surroundings) -> None:
        self._server = server
        self._around = around
        self._workers: dict[ModelKey, _Worker] = {}

    async def run(self) -> None:
        """Keep one worker per model until cancelled."""
        models = self._around.models
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    seen = models.spec_changes.value
                    for key in [key for key in self._workers if key not in models.models]:
                        self._workers.pop(key).task.cancel()
                    for key in models.models:
                        if key in self._workers:
                            self.wake(key)
                        else:
                            self._begin(group, key)
                    await models.spec_changes.other_than(seen)
        finally:
            self._workers.clear()

    def wake(self, key: ModelKey) -> None:
        """Have the model's gateway looked at."""
        worker = self._workers.get(key)
        if worker is not None:
            worker.woken.set(worker.woken.value + 1)

    def state(self, key: ModelKey) -> GatewayState:
        """Tell how a model's gateway is."""
        model = self._around.models.models.get(key)
        if model is None or model.spec is None:
            return GatewayState()
        deployment = self._deployment(key)
        worker = self._workers.get(key)
        return GatewayState(
            wanted=model.spec.gateway.replicas if model.spec.enabled else 0,
            ready=deployment.ready if deployment else 0,
            enabled=model.spec.enabled,
            problem=worker.problem if worker else None,
        )

    def is_gone(self, key: ModelKey) -> bool:
        """Tell whether nothing of the gateway is left but the Service that leads straight to the model's pods."""
        name = gateway_objects.gateway_name(key)
        there = {(seen.resource, seen.name) for seen in self._around.owned.of(key)}
        return there <= {(SERVICES, name)} and not self._around.owned.pods(key)

    def _deployment(self, key: ModelKey) -> Seen | None:
        return self._around.owned.get(DEPLOYMENTS, key.namespace, gateway_objects.gateway_name(key))

    def _begin(self, group: asyncio.TaskGroup, key: ModelKey) -> None:
        woken = Latest(0)
        task = group.create_task(self._keep(key, woken), name=f"gateway {key}")
        self._workers[key] = _Worker(task, woken)

    async def _keep(self, key: ModelKey, woken: Latest[int]) -> None:
        """Look whenever woken, and after a while; what the API server refuses is tried again, ever more rarely."""
        wait = FIRST_RETRY
        while True:
            seen = woken.value
            problem = await self._look(key)
            worker = self._workers.get(key)
            if worker is None:
                return
            if worker.problem != problem:
                worker.problem = problem
                self._around.changed(key)
            again = problem is not None and problem.reason is Reason.API_REFUSED
            wait = min(wait * 2, LONGEST_RETRY) if again else FIRST_RETRY
            try:
                async with asyncio.timeout(wait if again else LOOK_AGAIN):
                    await woken.other_than(seen)
            except TimeoutError:
                continue

    async def _look(self, key: ModelKey) -> Missing | None:
        """Make the gateway what it should be; tell what stands in the way."""
        model = self._around.models.models.get(key)
        if model is None or model.spec is None:
            return None
        try:
            return await self._reconcile(model.spec, model.uid)
        except NameTakenError as error:
            return Missing(Reason.NAME_TAKEN, str(error))
        except ApiError as error:
            log.warning("gateway not applied", model=str(key), code=error.code, error=error.message)
            return Missing(Reason.API_REFUSED, f"the API server refused: {error.message}")

    async def _reconcile(self, spec: OffloadSpec, owner: str) -> Missing | None:
        around = self._around
        service = around.service(spec.key.namespace, spec.service.name) if spec.service else None
        pods = around.named_ports(spec.key.namespace, service.pods) if service and service.selector else ()
        place = plan.plan(spec, service, pods)
        if not spec.enabled:
            await self._stand_aside(spec, owner, place)
            return None
        if isinstance(place, Missing):
            # What is there goes on as it is: a Service that was deleted by mistake comes back.
            return place
        envoy = around.render(spec, place)
        local = gateway_objects.local_service(spec, owner, selector=place.selector, port=place.local_port)
        gateway = gateway_objects.gateway(spec, owner, ports=place.ports, envoy=envoy, image=around.image)
        for each in (local, *gateway):
            await self._ensure(each, owner)
        if self._stands(spec.key):
            await self._ensure(gateway_objects.gateway_service(spec, owner, ports=place.ports), owner)
        await self._touch(spec.key, gateway_objects.config_digest(envoy.files))
        return None

    def _stands(self, key: ModelKey) -> bool:
        """Tell whether clients may be sent to the gateway: a pod of it is ready, or they were sent there before."""
        name = gateway_objects.gateway_name(key)
        there = self._around.owned.get(SERVICES, key.namespace, name)
        return there is None or any(pod.ready and not pod.deleting for pod in self._around.owned.pods(key).values())

    async def _stand_aside(self, spec: OffloadSpec, owner: str, place: Plan | Missing) -> None:
        """Lead clients of the gateway's Service straight to the pods, if there are any, then remove the gateway."""
        name = gateway_objects.gateway_name(spec.key)
        there = self._around.owned.get(SERVICES, spec.key.namespace, name) is not None
        if there and isinstance(place, Plan):
            direct = gateway_objects.direct_service(
                spec, owner, selector=place.selector, port=place.local_port, ports=place.ports
            )
            await self._ensure(direct, owner)
        # While a gateway's pod finishes its requests it needs all the rest: without local pods to be found, they would leave.
        ending = bool(self._around.owned.pods(spec.key))
        for seen in self._around.owned.of(spec.key):
            stays = (seen.resource, seen.name) == (SERVICES, name)
            if seen.owner == owner and not stays and (seen.resource is DEPLOYMENTS or not ending):
                await self._delete(seen)

    async def _delete(self, seen: Seen) -> None:
        try:
            await self._server.delete(seen.resource.path(seen.key.namespace, seen.name), uid=seen.uid)
        except ApiError as error:
            if error.code not in {NOT_FOUND, CONFLICT}:
                raise

    async def _ensure(self, wanted: Wanted, owner: str) -> None:
        """Apply an object unless it is there as it came out of the last time."""
        worker = self._workers.get(self._key(wanted))
        before = worker.applied.get(wanted.path) if worker else None
        seen = self._around.owned.get(wanted.resource, wanted.namespace, wanted.name)
        if before and seen and before.wanted == wanted.digest and _as_applied(seen, before):
            return
        made = await self._apply(wanted, owner)
        if worker:
            worker.applied[wanted.path] = _Applied(wanted.digest, owned.version(made), owned.digest(made))

    @staticmethod
    def _key(wanted: Wanted) -> ModelKey:
        labels = wanted.content["metadata"]["labels"]
        return ModelKey(wanted.namespace, labels[gateway_objects.GATEWAY_LABEL])

    async def _apply(self, wanted: Wanted, owner: str, attempts: int = ATTEMPTS) -> Json:
        """Apply over the version that is there; never over an object that isn't ours."""
        there = await self._there(wanted)
        if there is not None and owned.owner(there) != owner:
            raise NameTakenError(
                f"{wanted.resource.kind} {wanted.namespace}/{wanted.name} is there already and belongs to somebody else: "
                "rename it or the ModelDeployment"
            )
        try:
            return await self._server.apply(wanted.path, _over(wanted.content, there), force=there is not None)
        except ApiError as error:
            if error.code != CONFLICT or attempts <= 1:
                raise
            return await self._apply(wanted, owner, attempts - 1)

    async def _there(self, wanted: Wanted) -> Json | None:
        try:
            return await self._server.get(wanted.path)
        except ApiError as error:
            if error.code != NOT_FOUND:
                raise
            return None

    async def _touch(self, key: ModelKey, digest: str) -> None:
        """Annotate pods that have an older configuration: their kubelet then looks at once, not after a minute."""
        for pod in _untouched(self._around.owned.pods(key).values(), digest):
            about = {"annotations": {CONFIG_ANNOTATION: digest}, "resourceVersion": pod.version}
            try:
                await self._server.merge(PODS.path(key.namespace, pod.name), {"metadata": about})
            except ApiError as error:
                # It has changed or gone meanwhile: its next event wakes us.
                if error.code not in {NOT_FOUND, CONFLICT}:
                    raise


def _as_applied(seen: Seen, before: _Applied) -> bool:
    """Tell whether nobody changed the object since; what was seen before it was applied says nothing."""
    return seen.version < before.version or seen.digest == before.digest


def _over(content: Json, there: Json | None) -> Json:
    if there is None:
        return content
    about = {**content["metadata"], "resourceVersion": there["metadata"]["resourceVersion"]}
    return {**content, "metadata": about}


def _untouched(pods: Iterable[GatewayPod], digest: str) -> list[GatewayPod]:
    return [pod for pod in pods if not pod.deleting and pod.config != digest]
