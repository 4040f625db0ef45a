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

NOT_READY = timedelta(seconds=10)
"""How long no pod of the gateway may be ready before its Service is given back."""
GONE = timedelta(seconds=2)
"""The same where there is no pod that could become ready again."""
WELL = timedelta(seconds=30)
"""How long the gateway has to be ready before a Service that was given back for its sake is taken again."""
REVERTS = 3
WITHIN = timedelta(hours=1)
"""After so many reverts in so long, the Service is left to whoever writes it."""
SKEW = timedelta(minutes=5)
"""A revert noted further ahead of our clock than this was not noted by any controller, and does not count."""


class Action(Enum):
    """What to write to the Service."""

    NOTHING = auto()
    TAKE = auto()
    GIVE_BACK = auto()
    NOTE = auto()
    """Only what is noted on it changes: it has been given back by somebody else."""


@dataclass(frozen=True, slots=True)
class Observation:
    """The input of a decision.

    `value` is this gateway's label value, `others` those of other models with the same Service. `blocked` is the reason
    if the Service must not be taken over, `waits` the reason if it can't be yet. `down` is for how long no gateway pod
    has been ready, None if one is; `up` is for how long they have been ready again, None if they never failed.
    """

    service: Service
    key: str
    value: str
    pods: Collection[GatewayPod]
    now: datetime
    others: Collection[str] = ()
    blocked: Missing | None = None
    waits: Missing | None = None
    down: timedelta | None = None
    up: timedelta | None = None


@dataclass(frozen=True, slots=True)
class TakeoverDecision:
    """What to write, why, and when to look again. `reverted` are the times of recent reverts.

    `taken` tells whether the Service is supposed to route through the gateway afterwards.
    """

    action: Action
    taken: bool
    why: Missing
    again: timedelta | None = None
    reverted: tuple[datetime, ...] = ()


def decide(seen: Observation) -> TakeoverDecision:
    """Decide what to write to the Service."""
    return _kept(seen) if is_held(seen.service, seen.value) else _free(seen)


def is_held(service: Service, value: str) -> bool:
    """Tell whether the Service selects this gateway's pods and no others."""
    return bool(service.present) and all(each == value for _, each in service.present)


def selected(pod: GatewayPod, service: Service, value: str) -> bool:
    """Tell whether the Service would select the pod after a takeover."""
    carried = dict(pod.carries)
    return all(carried.get(key) == value for key, _ in service.selector)


def offers(pod: GatewayPod, service: Service) -> bool:
    """Tell whether the pod has every target port of the Service."""
    names, numbers = dict(pod.ports), {number for _, number in pod.ports}
    return all(port.target in (numbers if isinstance(port.target, int) else names) for port in service.ports)


def is_up(pod: GatewayPod, service: Service, value: str) -> bool:
    """Tell whether the pod would serve the Service after a takeover."""
    return pod.ready and not pod.deleting and selected(pod, service, value)


def _kept(seen: Observation) -> TakeoverDecision:
    """Decide for a Service that selects the gateway."""
    service, pods = seen.service, seen.pods
    if service.lost:
        unknown = (
            f"Service {service.name} selects the gateway, and nothing tells what it selected before: write its selector"
        )
        return TakeoverDecision(Action.NOTHING, taken=True, why=Missing(Reason.SERVICE_UNSUITABLE, unknown))
    if seen.blocked is not None:
        return TakeoverDecision(Action.GIVE_BACK, taken=False, why=seen.blocked, reverted=service.noted.reverted)
    if any(is_up(pod, service, seen.value) and not offers(pod, service) for pod in pods):
        why = Missing(
            Reason.GATEWAY_STARTING, "given back: a pod of the gateway does not serve all ports of the Service yet"
        )
        return TakeoverDecision(Action.GIVE_BACK, taken=False, why=why, reverted=service.noted.reverted)
    failed = _failed(seen)
    if failed is not None and seen.down is not None:
        grace = NOT_READY if pods else GONE
        if seen.down >= grace:
            return TakeoverDecision(Action.GIVE_BACK, taken=False, why=failed, reverted=service.noted.reverted)
        return TakeoverDecision(Action.NOTHING, taken=True, why=failed, again=grace - seen.down)
    why = Missing(
        Reason.SERVICE_TAKEN, f"Service {service.name} leads through the gateway; older connections end as they do"
    )
    noted = service.noted.original == service.selector and service.noted.taken_by == seen.key
    return TakeoverDecision(
        Action.NOTHING if noted else Action.TAKE, taken=True, why=why, reverted=service.noted.reverted
    )


def _free(seen: Observation) -> TakeoverDecision:
    """Decide for a Service that does not select the gateway."""
    service = seen.service
    if any(value in seen.others for _, value in service.present):
        return TakeoverDecision(Action.NOTHING, taken=False, why=seen.blocked or _held_by_another(service))
    reverted = _reverted(seen)
    waits = seen.blocked or _contested(service, reverted) or _failed(seen) or seen.waits or _recovering(seen)
    if waits is None:
        why = Missing(Reason.SERVICE_TAKEN, f"Service {service.name} is led through the gateway")
        return TakeoverDecision(Action.TAKE, taken=True, why=why, reverted=reverted)
    again = _again(seen, waits, reverted)
    if service.taken:
        act = Action.NOTHING if service.lost else Action.GIVE_BACK
    else:
        act = Action.NOTE if service.noted.taken_by or service.noted.reverted != reverted else Action.NOTHING
    return TakeoverDecision(act, taken=False, why=waits, again=again, reverted=reverted)


def _held_by_another(service: Service) -> Missing:
    return Missing(Reason.SERVICE_HELD, f"Service {service.name} is still taken over by another ModelDeployment")


def _reverted(seen: Observation) -> tuple[datetime, ...]:
    """Give the times of recent reverts: writes of the original selector. A new selector is an edit, not a revert."""
    service, noted = seen.service, seen.service.noted
    now = (seen.now,) if noted.taken_by and not service.taken and service.present == noted.original else ()
    return tuple(each for each in (*noted.reverted, *now) if seen.now - WITHIN < each <= seen.now + SKEW)


def _contested(service: Service, reverted: tuple[datetime, ...]) -> Missing | None:
    if len(reverted) < REVERTS:
        return None
    until = min(reverted[-REVERTS:]) + WITHIN
    return Missing(
        Reason.SERVICE_CONTESTED,
        f"others have written back the selector of Service {service.name} {len(reverted)} times within an hour, so it is "
        f"left as they write it until {until:%H:%M} UTC: have them ignore spec.selector, then remove the annotation "
        f"{service_patches.REVERTED}",
    )


def _failed(seen: Observation) -> Missing | None:
    if seen.down is None:
        return None
    return Missing(Reason.GATEWAY_LOST, f"no pod of the gateway is ready since {seen.down.total_seconds():.0f} s")


def _recovering(seen: Observation) -> Missing | None:
    if seen.up is None or seen.up >= WELL:
        return None
    wanted = WELL.total_seconds()
    message = f"the gateway failed; it has been ready for {seen.up.total_seconds():.0f} s of {wanted:.0f} s"
    return Missing(Reason.GATEWAY_LOST, message)


def _again(seen: Observation, waits: Missing, reverted: Iterable[datetime]) -> timedelta | None:
    if waits.reason is Reason.SERVICE_CONTESTED:
        return max(min(tuple(reverted)[-REVERTS:]) + WITHIN - seen.now, timedelta(seconds=1))
    if seen.blocked is None and seen.waits is None and seen.up is not None:
        return WELL - seen.up
    return timedelta(seconds=1) if seen.blocked is None else None


def readiness(
    service: Service, pods: Collection[GatewayPod], value: str, *, wanted: int, reached: Collection[str]
) -> Missing | None:
    """Give what is missing until all gateway pods are ready, selectable, and have reached the model."""
    staying = [pod for pod in pods if not pod.deleting]
    fit = [pod for pod in staying if is_up(pod, service, value) and offers(pod, service)]
    if len(fit) < max(wanted, 1) or any(not pod.ready for pod in staying):
        return Missing(
            Reason.GATEWAY_STARTING, f"{len(fit)} of {wanted} gateway pods are ready for Service {service.name}"
        )
    far = sorted(pod.name for pod in fit if pod.uid not in reached)
    if far:
        return Missing(
            Reason.PODS_NOT_REACHED,
            f"{', '.join(far)} has not reached a ready pod of the model yet: none is ready, or a NetworkPolicy or a mesh "
            "forbids the way to it, or the controller's to the gateway",
        )
    return None
