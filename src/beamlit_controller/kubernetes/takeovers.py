"""Takes the users' Services over and gives them back: one write each, over the version that was seen.

In order: the finalizer, which has the Service given back before the model is gone; the write on the Service, which also
stores what it was; its endpoints, until they are seen. On the way back the same from the end.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from beamlit_controller.controller.ports import Clock
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.core.spec import ModelKey, OffloadSpec, RoutingMode
from beamlit_controller.kubernetes import plan, selection, takeover
from beamlit_controller.kubernetes.api_server import ApiError, ApiServer, Json
from beamlit_controller.kubernetes.models import FINALIZER, Model, Models
from beamlit_controller.kubernetes.owned import GatewayPod
from beamlit_controller.kubernetes.paths import ENDPOINT_SLICES, MODEL_DEPLOYMENTS, SERVICES
from beamlit_controller.kubernetes.plan import Plan
from beamlit_controller.kubernetes.reach import Reach
from beamlit_controller.kubernetes.services import Service, Services
from beamlit_controller.kubernetes.takeover import Act, Facts, Step

log = structlog.stdlib.get_logger(__name__)

SEEN_WITHIN = 10.0
LOOKS_EVERY = 0.1
NOT_FOUND = 404
LEAVING = timedelta(seconds=60)
"""How much longer than it may drain a pod of a gateway may take to go."""
UNREADABLE = timedelta(seconds=60)
BLAMED = timedelta(seconds=120)
"""Triggers that can't be read any more within so long after a Service was taken, and stay so, are the taking's fault."""


@dataclass(frozen=True, slots=True)
class Around:
    """What is looked at: `readable` tells whether the metrics of a model could be read last."""

    models: Models
    services: Services
    reach: Reach
    readable: Callable[[ModelKey], bool | None]
    clock: Clock


@dataclass(frozen=True, slots=True)
class Case:
    """One model, its uid, its Service as it was seen, the place of its gateway, and the gateway's pods."""

    spec: OffloadSpec
    owner: str
    service: Service | None
    place: Plan | Missing
    pods: Collection[GatewayPod]

    @property
    def value(self) -> str:
        """Give the value that the gateway's pods carry."""
        return selection.value_of(self.owner)


@dataclass(slots=True)
class Course:
    """What one model's worker remembers between two looks. A new leader does without."""

    step: Step | None = None
    version: int = 0
    reached: set[str] = field(default_factory=set)
    down_since: datetime | None = None
    up_since: datetime | None = None
    taken_at: datetime | None = None
    unreadable_since: datetime | None = None
    leaving_since: datetime | None = None
    harmful: int | None = None
    """The generation of the spec with which the triggers could not be read once the Service was taken."""


class Takeovers:
    """Decides for one model at a time, and carries it out."""

    def __init__(self, server: ApiServer, around: Around) -> None:
        self._server = server
        self._around = around

    async def look(self, course: Course, case: Case) -> Step | None:
        """Decide for the model's Service. None if there is nothing to decide: there is none, or what was seen is old."""
        service = case.service
        if service is None or int(service.version or 0) < course.version:
            return None
        course.step = takeover.decide(await self._facts(course, case, service))
        return course.step

    async def carry_out(self, course: Course, case: Case, step: Step) -> None:
        """Write what was decided, and see it come about. Raises ApiError."""
        service, key = case.service, case.spec.key
        if service is None or step.act is Act.NOTHING:
            return
        if step.act is Act.TAKE:
            await self._hold(key, case.owner)
            noted = selection.Noted(service.selector, key.name, step.reverted)
            patch = selection.to_take(service.version, service.present, service.selector, noted, case.value)
            await self._write(course, service, patch)
            self._taken(course, key, service, anew=not takeover.is_held(service, case.value))
            await self._seen(service, case.pods, theirs=True)
        else:
            await self._give_back(service, step.reverted, course)
            course.taken_at = None
            if step.act is Act.GIVE_BACK:
                log.info("service given back", model=str(key), service=service.name, reason=step.why.reason.value)
                await self._seen(service, case.pods, theirs=False)

    async def let_go(self, key: ModelKey, owner: str) -> None:
        """Take the finalizer off, if it is there: nothing is taken any more."""
        stored = self._around.models.get(key)
        if stored is None or not stored.held:
            return
        # Whoever put it there: what is applied on the server's side would only take back what we applied.
        there = list(stored.content["metadata"]["finalizers"])
        where = "/metadata/finalizers"
        operations = (
            {"op": "test", "path": "/metadata/uid", "value": owner},
            {"op": "test", "path": where, "value": there},
            {"op": "replace", "path": where, "value": [each for each in there if each != FINALIZER]},
        )
        try:
            await self._server.patch(MODEL_DEPLOYMENTS.path(key.namespace, key.name), operations)
        except ApiError as error:
            if error.code != NOT_FOUND:
                raise

    async def away(self, service: Service | None, pods: Collection[GatewayPod]) -> None:
        """See that the Service leads to no pod of the gateway any more, before that is taken away. Raises ApiError."""
        if service is not None and pods and not await self._seen(service, pods, theirs=False):
            raise ApiError(0, "Timeout", f"the endpoints of Service {service.name} still are the gateway's")

    def has_left(self, course: Course, case: Case) -> bool:
        """Tell whether the gateway's last pod is gone, or has had all the time that it may take.

        Until then the model stays, or what its gateway needs to finish its requests would go with it.
        """
        now = self._around.clock.now()
        course.leaving_since = (course.leaving_since or now) if case.pods else None
        return course.leaving_since is None or now - course.leaving_since > case.spec.gateway.drain + LEAVING

    async def give_back_all(self, services: Collection[Service], why: str) -> None:
        """Give Services back that nobody has any right to have taken."""
        for service in services:
            if service.lost:
                log.warning("service can't be given back: what it selected is not known", service=_name(service))
                continue
            await self._give_back(service, ())
            log.info("service given back", service=_name(service), reason=why)

    async def _give_back(self, service: Service, reverted: Collection[datetime], course: Course | None = None) -> None:
        patch = selection.to_give_back(service.version, service.present, service.selector, reverted)
        await self._write(course, service, patch)

    async def _write(self, course: Course | None, service: Service, patch: Json) -> None:
        made = await self._server.merge(SERVICES.path(service.namespace, service.name), patch)
        if course is not None:
            course.version = int(made["metadata"]["resourceVersion"])

    def _taken(self, course: Course, key: ModelKey, service: Service, *, anew: bool) -> None:
        if not anew:
            return
        log.info("service taken over", model=str(key), service=service.name)
        course.taken_at = self._around.clock.now() if self._around.readable(key) else None
        course.unreadable_since = None

    async def _hold(self, key: ModelKey, owner: str) -> None:
        """Have the model stay until its Service was given back."""
        if not self._around.models.is_held(key):
            await self._apply(key, owner)

    async def _apply(self, key: ModelKey, owner: str) -> None:
        # With the uid nothing is created where the model has gone meanwhile.
        about = {"name": key.name, "namespace": key.namespace, "uid": owner, "finalizers": [FINALIZER]}
        content = {"apiVersion": MODEL_DEPLOYMENTS.api_version, "kind": MODEL_DEPLOYMENTS.kind, "metadata": about}
        await self._server.apply(MODEL_DEPLOYMENTS.path(key.namespace, key.name), content)

    async def _seen(self, service: Service, pods: Collection[GatewayPod], *, theirs: bool) -> bool:
        """Wait until the endpoints of the Service are the gateway's, or none of them is; for a while."""
        gateways = {pod.ip for pod in pods if pod.ip}
        collection = ENDPOINT_SLICES.collection(service.namespace)
        query = (("labelSelector", f"kubernetes.io/service-name={service.name}"),)
        deadline = asyncio.get_running_loop().time() + SEEN_WITHIN
        while True:
            found = set(_ready_addresses(await self._server.get(collection, query)))
            if (found and found <= gateways) if theirs else not found & gateways:
                return True
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(LOOKS_EVERY)

    async def _facts(self, course: Course, case: Case, service: Service) -> Facts:
        now, spec, pods = self._around.clock.now(), case.spec, case.pods
        rivals = dict(self._rivals(spec.key, service))
        barred = self._barred(course, case, service, rivals)
        waits = case.place if isinstance(case.place, Missing) and barred is None else None
        if waits is None and barred is None and not takeover.is_held(service, case.value):
            waits = await self._not_ready(course, case, service)
        _watch(course, service, pods, case.value, now)
        return Facts(
            service=service,
            key=spec.key.name,
            value=case.value,
            pods=pods,
            now=now,
            others={selection.value_of(model.uid) for model in rivals.values()},
            barred=barred,
            waits=waits,
            down=now - course.down_since if course.down_since else None,
            up=now - course.up_since if course.up_since else None,
        )

    async def _not_ready(self, course: Course, case: Case, service: Service) -> Missing | None:
        up = [pod for pod in case.pods if takeover.is_up(pod, service, case.value)]
        course.reached |= set(await self._around.reach.of(pod for pod in up if pod.uid not in course.reached))
        wanted = case.spec.gateway.replicas
        return takeover.readiness(service, case.pods, case.value, wanted=wanted, reached=course.reached)

    def _barred(self, course: Course, case: Case, service: Service, rivals: dict[ModelKey, Model]) -> Missing | None:
        """Say why the Service must not be taken over, or not any longer."""
        spec, place = case.spec, case.place
        if not spec.enabled:
            return Missing(Reason.DISABLED, f"Service {service.name} leads straight to the model's pods")
        if spec.routing is not RoutingMode.TAKEOVER:
            return Missing(Reason.ROUTING_BY_SERVICE, f"spec.routing.mode is {spec.routing}: the Service is left alone")
        if isinstance(place, Missing) and plan.is_refused(place):
            return place
        elder = self._elder(spec.key, rivals)
        if elder is not None:
            message = f"Service {service.name} is taken over by ModelDeployment {elder.name}, which is older"
            return Missing(Reason.SERVICE_HELD, message)
        return self._harm(course, spec, service)

    def _harm(self, course: Course, spec: OffloadSpec, service: Service) -> Missing | None:
        """Say so if the metrics could not be read any more soon after the Service was taken over."""
        now, readable = self._around.clock.now(), self._around.readable(spec.key)
        if course.taken_at is not None:
            since = None if readable else course.unreadable_since or now
            course.unreadable_since = since
            if since is not None and since - course.taken_at < BLAMED and now - since >= UNREADABLE:
                course.harmful = spec.generation
        if course.harmful != spec.generation:
            return None
        return Missing(
            Reason.TRIGGERS_UNREADABLE,
            f"since Service {service.name} had been taken over no metric could be read, so it was given back: "
            "read them elsewhere than through this Service; it is tried again when the spec changes",
        )

    def _rivals(self, key: ModelKey, service: Service) -> Iterator[tuple[ModelKey, Model]]:
        """Give the other models with the same Service."""
        for other, model in self._around.models.models.items():
            if other != key and (other.namespace, _service_of(model)) == (service.namespace, service.name):
                yield other, model

    def _elder(self, key: ModelKey, rivals: dict[ModelKey, Model]) -> ModelKey | None:
        wanting = [each for each, model in rivals.items() if _wants(model)]
        eldest = min((*wanting, key), key=lambda each: (self._created(each), each.name))
        return eldest if eldest != key else None

    def _created(self, key: ModelKey) -> str:
        stored = self._around.models.get(key)
        return str(stored.content["metadata"].get("creationTimestamp", "")) if stored else ""


def _watch(course: Course, service: Service, pods: Collection[GatewayPod], value: str, now: datetime) -> None:
    """Note since when no pod of the gateway is ready for a Service that has been taken, and since when they are again."""
    up = [pod for pod in pods if takeover.is_up(pod, service, value)]
    if not up and (takeover.is_held(service, value) or course.down_since is not None):
        course.down_since, course.up_since = course.down_since or now, None
    elif up and course.down_since is not None:
        course.down_since, course.up_since = None, now
    if takeover.is_held(service, value):
        course.up_since = None


def _wants(model: Model) -> bool:
    return model.spec is not None and model.spec.enabled and model.spec.routing is RoutingMode.TAKEOVER


def _service_of(model: Model) -> str:
    return model.spec.service.name if model.spec and model.spec.service else ""


def _name(service: Service) -> str:
    return f"{service.namespace}/{service.name}"


def _ready_addresses(slices: Json) -> Iterator[str]:
    for each in slices.get("items") or ():
        for endpoint in each.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is not False:
                yield from endpoint.get("addresses") or ()
