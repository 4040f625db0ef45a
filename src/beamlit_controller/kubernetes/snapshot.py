"""All that is known of one model at one moment, and what a pass over it found. Values only."""

from dataclasses import dataclass
from typing import Final

from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import LocalHealth, Missing
from beamlit_controller.core.spec import ModelKey, OffloadSpec, RoutingMode
from beamlit_controller.kubernetes import gateway_objects, service_patches
from beamlit_controller.kubernetes.managed_objects import GatewayPod, ManagedObject
from beamlit_controller.kubernetes.models import KnownModel, Stored
from beamlit_controller.kubernetes.paths import DEPLOYMENTS
from beamlit_controller.kubernetes.plan import Plan
from beamlit_controller.kubernetes.services import Service

NO_PLAN: Final = Missing(Reason.SERVICE_NOT_FOUND, "no Service was looked for")
NO_PODS: Final = LocalHealth(0, 0)


@dataclass(frozen=True, slots=True)
class ConflictingModel:
    """Another model on the same Service; `wants` tells that it is to take the Service over."""

    key: ModelKey
    uid: str
    created: str
    wants: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One model as the watches show it.

    `service` is the one that clients use, `taken` are all that say that the model has taken them over, `objects` and `pods`
    are the gateway's. `owner_by_age` is the model that has the Service instead, where two want it.
    """

    stored: Stored
    model: KnownModel
    service: Service | None = None
    plan: Plan | Missing = NO_PLAN
    taken: tuple[Service, ...] = ()
    objects: tuple[ManagedObject, ...] = ()
    pods: tuple[GatewayPod, ...] = ()
    conflicting: tuple[ConflictingModel, ...] = ()
    owner_by_age: ModelKey | None = None
    local: LocalHealth = NO_PODS
    autoscaler: str | None = None

    @property
    def key(self) -> ModelKey:
        """Name the model."""
        return self.stored.key

    @property
    def value(self) -> str:
        """Give the value that the gateway's pods carry under the keys of the Service's selector."""
        return service_patches.value_of(self.stored.uid)

    @property
    def inputs(self) -> object:
        """Give what the gateway and the Service are made of: what is equal to the last time needs no new look."""
        model, held = self.model, self.stored.held
        return (
            model.spec,
            model.deleting,
            model.good,
            held,
            self.service,
            self.taken,
            self.objects,
            self.pods,
            self.conflicting,
            self.plan,
        )


@dataclass(frozen=True, slots=True)
class ServiceState:
    """Whether the Service that clients use is seen to lead through the gateway, and why it is so."""

    taken: bool
    why: Missing


@dataclass(frozen=True, slots=True)
class GatewayState:
    """How a model's gateway is: pods wanted and ready, what stands in its way, and where the clients' Service leads.

    `takeover` tells that this Service is the user's own. `absent` says why there is to be no gateway, if that is so.
    """

    wanted: int = 0
    ready: int = 0
    problem: Missing | None = None
    service: ServiceState | None = None
    takeover: bool = False
    absent: Missing | None = None


def absence(spec: OffloadSpec, seen: Snapshot) -> Missing | None:
    """Say why the model is to have no gateway; None if it is to have one."""
    if not spec.enabled:
        return Missing(Reason.DISABLED, "spec.enabled is false: everything is served locally")
    if seen.owner_by_age is not None and spec.service is not None:
        message = (
            f"Service {spec.service.name} is taken over by ModelDeployment {seen.owner_by_age.name}, which is older"
        )
        return Missing(Reason.SERVICE_HELD, message)
    return None


def in_force(seen: Snapshot) -> OffloadSpec | None:
    """Give the spec that is decided for: none where another model has the Service."""
    return seen.model.spec if seen.owner_by_age is None else None


def gateway_state(seen: Snapshot, *, problem: Missing | None, service: ServiceState | None) -> GatewayState:
    """Give how the gateway is, from what the watches show and what a pass found."""
    spec = seen.model.spec
    if spec is None:
        return GatewayState(problem=problem)
    absent = absence(spec, seen)
    name = gateway_objects.gateway_name(seen.key)
    deployment = next((each for each in seen.objects if each.resource is DEPLOYMENTS and each.name == name), None)
    return GatewayState(
        wanted=0 if absent else spec.gateway.replicas,
        ready=deployment.ready if deployment else 0,
        problem=problem,
        service=service,
        takeover=spec.routing is RoutingMode.TAKEOVER,
        absent=absent,
    )
