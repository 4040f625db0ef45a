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
from beamlit_controller.core.spec import LabelSelector, ModelKey, OffloadSpec, RoutingMode
from beamlit_controller.kubernetes import gateway_objects, owned, plan
from beamlit_controller.kubernetes.api_server import ApiError, ApiServer, Json
from beamlit_controller.kubernetes.gateway_objects import CONFIG_ANNOTATION, Envoy, Image, Wanted
from beamlit_controller.kubernetes.models import Models
from beamlit_controller.kubernetes.owned import GatewayPod, Owned, Seen
from beamlit_controller.kubernetes.paths import DEPLOYMENTS, PODS, SERVICES
from beamlit_controller.kubernetes.plan import NamedPorts, Plan
from beamlit_controller.kubernetes.services import Service, Services
from beamlit_controller.kubernetes.takeover import Act, Step
from beamlit_controller.kubernetes.takeovers import Case, Course, Takeovers

log = structlog.stdlib.get_logger(__name__)

NOT_FOUND, CONFLICT = 404, 409
ATTEMPTS = 5
FIRST_RETRY, LONGEST_RETRY = 1.0, 30.0
LOOK_AGAIN = 300.0
"""Seconds after which a model's gateway is looked at even if nothing was heard."""
WATCHED_EVERY = 10.0
"""The same while it is watched what taking its Service over has done."""
SHORTEST = 0.2


@dataclass(frozen=True, slots=True)
class GatewayState:
    """How a model's gateway is: pods wanted and ready, what stands in its way, and what is decided of its Service."""

    wanted: int = 0
    ready: int = 0
    enabled: bool = True
    problem: Missing | None = None
    service: Step | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the workers look things up in, and what the other edges bring."""

    models: Models
    owned: Owned
    services: Services
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
    course: Course = field(default_factory=Course)
    problem: Missing | None = None


class NameTakenError(Exception):
    """An object of the name is there already, and it isn't ours."""


class Gateways:
    """Keeps the gateways of all models, while we lead."""

    def __init__(self, server: ApiServer, around: Surroundings, takeovers: Takeovers) -> None:
        self._server = server
        self._around = around
        self._takeovers = takeovers
        self._workers: dict[ModelKey, _Worker] = {}

    async def run(self) -> None:
        """Keep one worker per model until cancelled."""
        models = self._around.models
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._give_back_strays(), name="strays")
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
            service=worker.course.step if worker and model.spec.routing is RoutingMode.TAKEOVER else None,
        )

    def is_gone(self, key: ModelKey) -> bool:
        """Tell whether nothing of the gateway is left but the Service that leads straight to the model's pods."""
        around, name = self._around, gateway_objects.gateway_name(key)
        there = {(seen.resource, seen.name) for seen in around.owned.of(key)}
        taken = around.services.taken_by(key) or around.models.is_held(key)
        return there <= {(SERVICES, name)} and not around.owned.pods(key) and not taken

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
                async with asyncio.timeout(wait if again else _until_next(worker.course)):
                    await woken.other_than(seen)
            except TimeoutError:
                continue

    async def _give_back_strays(self) -> None:
        """Give back what models that are gone had taken, whenever there is such a Service; until cancelled."""
        around = self._around
        while True:
            seen = around.services.changes.value
            try:
                await self._takeovers.give_back_all(self._strays(), "nobody has it any more")
            except ApiError as error:
                log.warning("service not given back", code=error.code, error=error.message)
                await asyncio.sleep(FIRST_RETRY)
                continue
            await around.services.changes.other_than(seen)

    def _strays(self) -> list[Service]:
        """Give the Services that are taken over, and that no model has, nor any worker looks after."""
        around = self._around
        models = {(key.namespace, key.name) for key in around.models.models}
        theirs = {
            (key.namespace, model.spec.service.name)
            for key, model in around.models.models.items()
            if model.spec is not None and model.spec.service is not None
        }
        return [
            each
            for each in around.services.taken()
            if each.taken
            and (each.namespace, each.noted.taken_by) not in models
            and (each.namespace, each.name) not in theirs
        ]

    async def _look(self, key: ModelKey) -> Missing | None:
        """Make the gateway what it should be; tell what stands in the way."""
        model = self._around.models.models.get(key)
        if model is None or (model.spec is None and not model.deleting):
            return None
        try:
            if model.spec is None:
                await self._takeovers.give_back_all(self._around.services.taken_by(key), "its model is deleted")
                await self._takeovers.let_go(key, model.uid)
                return None
            return await self._reconcile(model.spec, model.uid)
        except NameTakenError as error:
            return Missing(Reason.NAME_TAKEN, str(error))
        except ApiError as error:
            if error.code == CONFLICT:
                return None  # somebody was quicker: what he wrote will wake us
            log.warning("gateway not applied", model=str(key), code=error.code, error=error.message)
            return Missing(Reason.API_REFUSED, f"the API server refused: {error.message}")

    async def _reconcile(self, spec: OffloadSpec, owner: str) -> Missing | None:
        around, key = self._around, spec.key
        service = around.service(key.namespace, spec.service.name) if spec.service else None
        named = around.named_ports(key.namespace, service.pods) if service and service.selector else ()
        place = plan.plan(spec, service, named, owner=owner)
        case = Case(spec, owner, service, place, tuple(around.owned.pods(key).values()))
        step = await self._decided(case)
        if step is not None and step.act in {Act.GIVE_BACK, Act.NOTE}:
            await self._carry_out(case, step)
        if not spec.enabled:
            return await self._removed(case, step)
        if isinstance(place, Missing):
            # What is there goes on as it is: a Service that was deleted by mistake comes back.
            return place
        await self._ensure_all(spec, owner, place)
        if step is not None and step.act is Act.TAKE:
            await self._carry_out(case, step)
        elif step is not None and not step.taken:
            await self._takeovers.let_go(key, owner)
        return None

    async def _decided(self, case: Case) -> Step | None:
        """Decide what becomes of the model's Service, and give back what else it has taken."""
        key, service = case.spec.key, case.service
        others = [each for each in self._around.services.taken_by(key) if service is None or each.name != service.name]
        await self._takeovers.give_back_all(others, "its model has another Service")
        worker = self._workers.get(key)
        if worker is None:
            return None
        before = worker.course.step
        step = await self._takeovers.look(worker.course, case)
        if step is not None and (before is None or (before.taken, before.why) != (step.taken, step.why)):
            self._around.changed(key)
        return step

    async def _carry_out(self, case: Case, step: Step) -> None:
        worker = self._workers.get(case.spec.key)
        if worker is not None:
            await self._takeovers.carry_out(worker.course, case, step)

    async def _removed(self, case: Case, step: Step | None) -> Missing | None:
        """Take the gateway away, once no client is led to it any more."""
        spec, owner = case.spec, case.owner
        if step is not None and step.taken:
            return step.why
        if case.service is not None and step is None:
            return None  # what was seen of the Service is older than what was written on it: the news will wake us
        if spec.routing is RoutingMode.TAKEOVER:
            await self._takeovers.away(case.service, case.pods)
        await self._stand_aside(spec, owner, case.place)
        worker = self._workers.get(spec.key)
        if worker is not None and self._takeovers.has_left(worker.course, case):
            await self._takeovers.let_go(spec.key, owner)
        return None

    async def _ensure_all(self, spec: OffloadSpec, owner: str, place: Plan) -> None:
        """Have all of the gateway there."""
        around = self._around
        envoy = around.render(spec, place)
        local = gateway_objects.local_service(spec, owner, selector=place.selector, port=place.local_port)
        gateway = gateway_objects.gateway(
            spec, owner, ports=place.ports, envoy=envoy, image=around.image, labels=dict(place.labels)
        )
        for each in (local, *gateway):
            await self._ensure(each, owner)
        if self._stands(spec):
            await self._ensure(gateway_objects.gateway_service(spec, owner, ports=place.ports), owner)
        await self._touch(spec.key, gateway_objects.config_digest(envoy.files))

    def _stands(self, spec: OffloadSpec) -> bool:
        """Tell whether there is a Service of the gateway's own, and clients may be sent there.

        They may if a pod is ready, or they were sent there before. Where the user's Service is taken over there is none,
        but one that was used before stays.
        """
        key = spec.key
        there = self._around.owned.get(SERVICES, key.namespace, gateway_objects.gateway_name(key))
        if there is None:
            return spec.routing is RoutingMode.SERVICE
        return any(pod.ready and not pod.deleting for pod in self._around.owned.pods(key).values())

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


def _until_next(course: Course) -> float:
    """Give the seconds until a model's gateway is looked at again, whatever is heard."""
    again = course.step.again if course.step else None
    if again is None and course.taken_at is not None:
        return WATCHED_EVERY
    return min(max(again.total_seconds(), SHORTEST), LOOK_AGAIN) if again is not None else LOOK_AGAIN


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
