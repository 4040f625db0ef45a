"""Decides whether a Service is taken over, left alone or restored. Pure.

Every decision starts from what the Service itself says (selector and annotations), so a controller that starts after a
crash continues where the last one stopped, and no step is done twice.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.kubernetes import service_patches
from beamlit_controller.kubernetes.managed_objects import GatewayPod
from beamlit_controller.kubernetes.services import Service

UNREADY_GRACE = timedelta(seconds=10)
"""How long all gateway pods may be unready before the Service is restored."""
NO_PODS_GRACE = timedelta(seconds=2)
"""The same if there is no pod that could become ready again."""
RECOVERY = timedelta(seconds=30)
"""How long the gateway must be ready before a Service restored because it failed is taken over again."""
MAX_REVERTS = 3
REVERT_WINDOW = timedelta(hours=1)
"""After `MAX_REVERTS` reverts within this time, the Service is left as others write it."""
SKEW = timedelta(minutes=5)
"""A recorded revert that is further in the future than this was not written by a controller, and is ignored."""


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


@dataclass(frozen=True, slots=True)
class TakeoverDecision:
    """What to write, why, and when to look again. `reverted` are the times of recent reverts.

    `taken` tells whether the Service is supposed to route through the gateway afterwards.
    """

    action: Action
    taken: bool
    why: Missing
    requeue_after: timedelta | None = None
    reverted: tuple[datetime, ...] = ()


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
    if service.selector_unknown:
        unknown = (
            f"Service {service.name} selects the gateway, and its original selector is unknown: set its spec.selector"
        )
        return TakeoverDecision(Action.NOTHING, taken=True, why=Missing(Reason.SERVICE_UNSUITABLE, unknown))
    if observation.blocked is not None:
        return TakeoverDecision(
            Action.RESTORE, taken=False, why=observation.blocked, reverted=service.takeover_annotations.reverted
        )
    if any(is_serving(pod, service, observation.gateway_value) and not serves_ports(pod, service) for pod in pods):
        why = Missing(
            Reason.GATEWAY_STARTING, "restored: a pod of the gateway does not serve all ports of the Service yet"
        )
        return TakeoverDecision(Action.RESTORE, taken=False, why=why, reverted=service.takeover_annotations.reverted)
    failed = _failed(observation)
    if failed is not None and observation.unready_for is not None:
        grace = UNREADY_GRACE if pods else NO_PODS_GRACE
        if observation.unready_for >= grace:
            return TakeoverDecision(
                Action.RESTORE, taken=False, why=failed, reverted=service.takeover_annotations.reverted
            )
        return TakeoverDecision(Action.NOTHING, taken=True, why=failed, requeue_after=grace - observation.unready_for)
    why = Missing(
        Reason.SERVICE_TAKEN,
        f"Service {service.name} routes through the gateway; existing connections are not affected",
    )
    noted = (
        service.takeover_annotations.original == service.selector
        and service.takeover_annotations.taken_by == observation.key
    )
    return TakeoverDecision(
        Action.NOTHING if noted else Action.TAKE_OVER,
        taken=True,
        why=why,
        reverted=service.takeover_annotations.reverted,
    )


def _while_not_taken_over(observation: Observation) -> TakeoverDecision:
    """Decide for a Service that does not select the gateway."""
    service = observation.service
    if any(value in observation.other_values for _, value in service.current_selector):
        return TakeoverDecision(Action.NOTHING, taken=False, why=observation.blocked or _held_by_another(service))
    reverted = _reverted(observation)
    waits = (
        observation.blocked
        or _contested(service, reverted)
        or _failed(observation)
        or observation.pending
        or _recovering(observation)
    )
    if waits is None:
        why = Missing(Reason.SERVICE_TAKEN, f"Service {service.name} routes through the gateway")
        return TakeoverDecision(Action.TAKE_OVER, taken=True, why=why, reverted=reverted)
    again = _again(observation, waits, reverted)
    if service.is_taken_over:
        act = Action.NOTHING if service.selector_unknown else Action.RESTORE
    else:
        act = (
            Action.NOTE
            if service.takeover_annotations.taken_by or service.takeover_annotations.reverted != reverted
            else Action.NOTHING
        )
    return TakeoverDecision(act, taken=False, why=waits, requeue_after=again, reverted=reverted)


def _held_by_another(service: Service) -> Missing:
    return Missing(Reason.SERVICE_HELD, f"Service {service.name} is still taken over by another ModelDeployment")


def _reverted(observation: Observation) -> tuple[datetime, ...]:
    """Return the times of recent reverts: writes of the original selector. A new selector is an edit, not a revert."""
    service, noted = observation.service, observation.service.takeover_annotations
    now = (
        (observation.now,)
        if noted.taken_by and not service.is_taken_over and service.current_selector == noted.original
        else ()
    )
    return tuple(
        each for each in (*noted.reverted, *now) if observation.now - REVERT_WINDOW < each <= observation.now + SKEW
    )


def _contested(service: Service, reverted: tuple[datetime, ...]) -> Missing | None:
    if len(reverted) < MAX_REVERTS:
        return None
    until = min(reverted[-MAX_REVERTS:]) + REVERT_WINDOW
    return Missing(
        Reason.SERVICE_CONTESTED,
        f"other writers reverted the selector of Service {service.name} {len(reverted)} times within an hour, so it is "
        f"left as they write it until {until:%H:%M} UTC: configure them to ignore spec.selector, then remove the annotation "
        f"{service_patches.REVERTED}",
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


def _again(observation: Observation, waits: Missing, reverted: Iterable[datetime]) -> timedelta | None:
    if waits.reason is Reason.SERVICE_CONTESTED:
        return max(min(tuple(reverted)[-MAX_REVERTS:]) + REVERT_WINDOW - observation.now, timedelta(seconds=1))
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
        return Missing(
            Reason.GATEWAY_STARTING, f"{len(fit)} of {wanted} gateway pods are ready for Service {service.name}"
        )
    far = sorted(pod.name for pod in fit if pod.uid not in reached)
    if far:
        return Missing(
            Reason.PODS_NOT_REACHED,
            f"{', '.join(far)} has not reached a ready pod of the model yet: none is ready, or a NetworkPolicy or a mesh "
            "blocks traffic to it, or from the controller to the gateway",
        )
    return None
