"""The input of a reconcile pass: everything known about one model at one moment. Values only."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import LocalHealth, Missing
from beamlit_controller.core.spec import ModelKey, OffloadSpec, RoutingMode
from beamlit_controller.kubernetes import gateway_objects, service_patches
from beamlit_controller.kubernetes.gateway_trouble import Trouble
from beamlit_controller.kubernetes.managed_objects import GatewayPod, ManagedObject
from beamlit_controller.kubernetes.models import KnownModel, Stored
from beamlit_controller.kubernetes.paths import DEPLOYMENTS
from beamlit_controller.kubernetes.plan import Plan
from beamlit_controller.kubernetes.services import Service

NO_PLAN: Final = Missing(Reason.SERVICE_NOT_FOUND, "no Service was looked for")
NO_PODS: Final = LocalHealth(0, 0)


@dataclass(frozen=True, slots=True)
class ConflictingModel:
    """Another model with the same Service; `wants_takeover` tells whether it is to take the Service over."""

    key: ModelKey
    uid: str
    created: str
    wants_takeover: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One model as the watches show it.

    `service` is the one that clients use. `taken_over` are all Services whose annotation names this model. `objects` and
    `pods` are the gateway's. `older_owner` is the older model that takes over the same Service, if there is one.
    """

    stored: Stored
    model: KnownModel
    service: Service | None = None
    plan: Plan | Missing = NO_PLAN
    taken_over: tuple[Service, ...] = ()
    objects: tuple[ManagedObject, ...] = ()
    pods: tuple[GatewayPod, ...] = ()
    conflicting: tuple[ConflictingModel, ...] = ()
    older_owner: ModelKey | None = None
    local: LocalHealth = NO_PODS
    autoscaler: str | None = None

    @property
    def key(self) -> ModelKey:
        """The model's namespace and name."""
        return self.stored.key

    @property
    def gateway_value(self) -> str:
        """The label value that the gateway's pods carry under the keys of the Service's selector."""
        return service_patches.gateway_value(self.stored.uid)

    @property
    def inputs(self) -> object:
        """The inputs of gateway and Service: while they are equal, no new pass is needed."""
        model, held = self.model, self.stored.has_finalizer
        return (
            model.spec,
            model.deleting,
            model.last_good,
            held,
            self.service,
            self.taken_over,
            self.objects,
            self.pods,
            self.conflicting,
            self.plan,
        )


@dataclass(frozen=True, slots=True)
class ServiceState:
    """Whether the clients' Service was seen to route through the gateway, and why."""

    taken: bool
    why: Missing


@dataclass(frozen=True, slots=True)
class GatewayState:
    """The state of a gateway: desired and ready pods, the current problem, and the clients' Service.

    `takeover` tells whether that Service is the user's own. `absent` is the reason if there should be no gateway. `trouble`
    is why pods of the gateway are not ready; the reason why the Service is not taken over names it, too.
    """

    desired_replicas: int = 0
    ready_replicas: int = 0
    problem: Missing | None = None
    service: ServiceState | None = None
    takeover: bool = False
    absent: Missing | None = None
    trouble: Trouble | None = None


def absence(spec: OffloadSpec, snapshot: Snapshot) -> Missing | None:
    """Return the reason if the model should have no gateway."""
    if not spec.enabled:
        return Missing(Reason.DISABLED, "spec.enabled is false: everything is served locally")
    if snapshot.older_owner is not None and spec.service is not None:
        message = (
            f"Service {spec.service.name} is taken over by ModelDeployment {snapshot.older_owner.name}, which is older"
        )
        return Missing(Reason.SERVICE_HELD, message)
    return None


def in_force(snapshot: Snapshot) -> OffloadSpec | None:
    """Return the spec to decide for; None if an older model takes over the same Service."""
    return snapshot.model.spec if snapshot.older_owner is None else None


def gateway_state(snapshot: Snapshot, *, problem: Missing | None, service: ServiceState | None) -> GatewayState:
    """Return the state of the gateway, from the snapshot and the result of a pass."""
    spec = snapshot.model.spec
    if spec is None:
        return GatewayState(problem=problem)
    absent = absence(spec, snapshot)
    name = gateway_objects.gateway_name(snapshot.key)
    deployment = next((each for each in snapshot.objects if each.resource is DEPLOYMENTS and each.name == name), None)
    ready, replicas = deployment.ready if deployment else 0, 0 if absent else spec.gateway.replicas
    trouble = None if absent else _trouble(snapshot.pods, deployment, is_short=ready < replicas)
    return GatewayState(
        desired_replicas=replicas,
        ready_replicas=ready,
        problem=problem,
        service=_explained(service, trouble) if service and trouble else service,
        takeover=spec.routing is RoutingMode.TAKEOVER,
        absent=absent,
        trouble=trouble,
    )


def _trouble(pods: Iterable[GatewayPod], deployment: ManagedObject | None, *, is_short: bool) -> Trouble | None:
    """Return the first trouble of a gateway. Pods that failed matter only while there are too few others."""
    of_pods = (pod.trouble for pod in sorted(pods, key=lambda pod: pod.name) if pod.trouble and not pod.deleting)
    found = next((each for each in of_pods if is_short or not each.failed), None)
    return found or (deployment.trouble if deployment else None)


def _explained(service: ServiceState, trouble: Trouble) -> ServiceState:
    """Return the state of a Service with the trouble of the gateway that it waits for."""
    why = service.why
    if service.taken or why.reason not in {Reason.GATEWAY_STARTING, Reason.GATEWAY_LOST}:
        return service
    return ServiceState(taken=False, why=Missing(why.reason, f"{why.message}: {trouble.message}"))
