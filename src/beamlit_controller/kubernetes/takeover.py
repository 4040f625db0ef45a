"""Decides whether a Service is taken over, left alone or restored. Pure.

Every decision starts from what the Service itself says (selector and annotations), so a controller that starts after a
crash continues where the last one stopped, and no step is done twice.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.kubernetes import reverts
from beamlit_controller.kubernetes.managed_objects import GatewayPod
from beamlit_controller.kubernetes.reverts import NO_REVERTS, LastWrite, Reverts
from beamlit_controller.kubernetes.services import Service

UNREADY_GRACE = timedelta(seconds=10)
"""How long all gateway pods may be unready before the Service is restored."""
NO_PODS_GRACE = timedelta(seconds=2)
"""The same if there is no pod that could become ready again."""
RECOVERY = timedelta(seconds=30)
"""How long the gateway must be ready before a Service restored because it failed is taken over again."""


class Action(Enum):
    """What to write to the Service."""

    NOTHING = auto()
    TAKE_OVER = auto()
    RESTORE = auto()
    NOTE = auto()
    """Only the annotations change, because the selector has already been restored by somebody else."""


@dataclass(frozen=True, slots=True)
class Observation:
    """The input of a decision.

    `gateway_value` is this gateway's label value, `other_values` those of other models with the same Service. `blocked` is the reason
    if the Service must not be taken over, `pending` the reason if it can't be yet. `unready_for` is for how long no gateway pod
    has been ready, None if one is; `ready_for` is for how long they have been ready again, None if they never failed.
    `last_write` is what this process last wrote to the Service for this spec, None if nothing.
    """

    service: Service
    key: str
    gateway_value: str
    pods: Collection[GatewayPod]
    now: datetime
    other_values: Collection[str] = ()
    blocked: Missing | None = None
    pending: Missing | None = None
    unready_for: timedelta | None = None
    ready_for: timedelta | None = None
    last_write: LastWrite | None = None


@dataclass(frozen=True, slots=True)
class TakeoverDecision:
    """What to write, why, and when to look again. `reverts` are the recent reverts by others.

    `taken` tells whether the Service is supposed to route through the gateway afterwards.
    """

    action: Action
    taken: bool
    why: Missing
    requeue_after: timedelta | None = None
    reverts: Reverts = NO_REVERTS

    @property
    def reverted(self) -> tuple[datetime, ...]:
        """The times of recent reverts, to be noted on the Service."""
        return self.reverts.times


def decide(observation: Observation) -> TakeoverDecision:
    """Decide what to write to the Service."""
    return (
        _while_taken_over(observation)
        if is_taken_over(observation.service, observation.gateway_value)
        else _while_not_taken_over(observation)
    )


def is_taken_over(service: Service, value: str) -> bool:
    """Return whether the Service selects this gateway's pods and no others."""
    return bool(service.current_selector) and all(each == value for _, each in service.current_selector)


def selected(pod: GatewayPod, service: Service, value: str) -> bool:
    """Return whether the Service would select the pod after a takeover."""
    carried = dict(pod.gateway_labels)
    return all(carried.get(key) == value for key, _ in service.selector)


def serves_ports(pod: GatewayPod, service: Service) -> bool:
    """Return whether the pod has every target port of the Service."""
    names, numbers = dict(pod.ports), {number for _, number in pod.ports}
    return all(port.target in (numbers if isinstance(port.target, int) else names) for port in service.ports)


def is_serving(pod: GatewayPod, service: Service, value: str) -> bool:
    """Return whether the pod would serve the Service after a takeover."""
    return pod.ready and not pod.deleting and selected(pod, service, value)


def _while_taken_over(observation: Observation) -> TakeoverDecision:
    """Decide for a Service that selects the gateway."""
    service, pods = observation.service, observation.pods
    found = _reverts(observation)
    if service.selector_unknown:
        unknown = (
            f"Service {service.name} selects the gateway, and its original selector is unknown: set its spec.selector"
        )
        return TakeoverDecision(Action.NOTHING, taken=True, why=Missing(Reason.SERVICE_UNSUITABLE, unknown))
    noted = (
        service.takeover_annotations.original == service.selector
        and service.takeover_annotations.taken_by == observation.key
    )
    blocked = observation.blocked or (None if noted else reverts.contested(service, found))
    if blocked is not None:
        return TakeoverDecision(Action.RESTORE, taken=False, why=blocked, reverts=found)
    if any(is_serving(pod, service, observation.gateway_value) and not serves_ports(pod, service) for pod in pods):
        why = Missing(
            Reason.GATEWAY_STARTING, "restored: a pod of the gateway does not serve all ports of the Service yet"
        )
        return TakeoverDecision(Action.RESTORE, taken=False, why=why, reverts=found)
    failed = _failed(observation)
    if failed is not None and observation.unready_for is not None:
        grace = UNREADY_GRACE if pods else NO_PODS_GRACE
        if observation.unready_for >= grace:
            return TakeoverDecision(Action.RESTORE, taken=False, why=failed, reverts=found)
        return TakeoverDecision(Action.NOTHING, taken=True, why=failed, requeue_after=grace - observation.unready_for)
    why = Missing(
        Reason.SERVICE_TAKEN,
        f"Service {service.name} routes through the gateway; existing connections are not affected",
    )
    return TakeoverDecision(Action.NOTHING if noted else Action.TAKE_OVER, taken=True, why=why, reverts=found)


def _while_not_taken_over(observation: Observation) -> TakeoverDecision:
    """Decide for a Service that does not select the gateway."""
    service = observation.service
    if any(value in observation.other_values for _, value in service.current_selector):
        return TakeoverDecision(Action.NOTHING, taken=False, why=observation.blocked or _held_by_another(service))
    found = _reverts(observation)
    waits = (
        observation.blocked
        or reverts.contested(service, found)
        or _failed(observation)
        or observation.pending
        or _recovering(observation)
    )
    if waits is None:
        why = Missing(Reason.SERVICE_TAKEN, f"Service {service.name} routes through the gateway")
        return TakeoverDecision(Action.TAKE_OVER, taken=True, why=why, reverts=found)
    again = _again(observation, waits, found)
    if service.is_taken_over:
        act = Action.NOTHING if service.selector_unknown else Action.RESTORE
    else:
        act = Action.NOTE if _is_outdated(service, found) else Action.NOTHING
    return TakeoverDecision(act, taken=False, why=waits, requeue_after=again, reverts=found)


def _is_outdated(service: Service, found: Reverts) -> bool:
    """Return whether the annotations of a Service that is not taken over have to change.

    Reverts are not noted for a writer that removes annotations: it would remove them again, perhaps at once.
    """
    noted = service.takeover_annotations
    return bool(noted.taken_by) or (noted.reverted != found.times and not found.annotations_lost)


def _held_by_another(service: Service) -> Missing:
    return Missing(Reason.SERVICE_HELD, f"Service {service.name} is still taken over by another ModelDeployment")


def _reverts(observation: Observation) -> Reverts:
    return reverts.observe(
        observation.service,
        observation.last_write,
        key=observation.key,
        value=observation.gateway_value,
        now=observation.now,
    )


def _failed(observation: Observation) -> Missing | None:
    if observation.unready_for is None:
        return None
    return Missing(
        Reason.GATEWAY_LOST, f"no gateway pod has been ready for {observation.unready_for.total_seconds():.0f} s"
    )


def _recovering(observation: Observation) -> Missing | None:
    if observation.ready_for is None or observation.ready_for >= RECOVERY:
        return None
    ready, wanted = observation.ready_for.total_seconds(), RECOVERY.total_seconds()
    message = f"the gateway failed and has been ready again for {ready:.0f} s; takes over after {wanted:.0f} s"
    return Missing(Reason.GATEWAY_LOST, message)


def _again(observation: Observation, waits: Missing, found: Reverts) -> timedelta | None:
    if waits.reason is Reason.SERVICE_CONTESTED:
        return max(reverts.until(found) - observation.now, timedelta(seconds=1))
    if observation.blocked is None and observation.pending is None and observation.ready_for is not None:
        return RECOVERY - observation.ready_for
    return timedelta(seconds=1) if observation.blocked is None else None


def readiness(
    service: Service, pods: Collection[GatewayPod], value: str, *, wanted: int, reached: Collection[str]
) -> Missing | None:
    """Return what is missing until all gateway pods are ready, selectable, and have reached the model."""
    staying = [pod for pod in pods if not pod.deleting]
    fit = [pod for pod in staying if is_serving(pod, service, value) and serves_ports(pod, service)]
    if len(fit) < max(wanted, 1) or any(not pod.ready for pod in staying):
        message = f"{len(fit)} of {wanted} gateway pods are ready for Service {service.name}"
        return Missing(Reason.GATEWAY_STARTING, f"{message}{_unselected(service, staying, value)}")
    far = sorted(pod.name for pod in fit if pod.uid not in reached)
    if far:
        return Missing(
            Reason.PODS_NOT_REACHED,
            f"{', '.join(far)} has not reached a ready pod of the model yet: none is ready, or a NetworkPolicy or a mesh "
            "blocks traffic to it, or from the controller to the gateway",
        )
    return None


def _unselected(service: Service, pods: Collection[GatewayPod], value: str) -> str:
    """Describe a ready pod that the Service would not select: an outdated one, or one whose labels somebody else sets."""
    for pod in pods:
        carried = dict(pod.gateway_labels)
        lacking = next((key for key, _ in service.selector if carried.get(key) != value), None)
        if pod.ready and lacking is not None:
            return (
                f": {pod.name} does not have the label {lacking}={value}; if this lasts, something else sets it: remove it "
                "from the Service's spec.selector, or set routing.mode: Service"
            )
    return ""
