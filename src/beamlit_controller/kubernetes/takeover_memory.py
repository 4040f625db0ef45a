"""What a worker remembers about its Service between passes. Pure: every change gives a new value.

Durations use the monotonic clock, so a step of the wall clock neither restores a Service nor delays it. A new leader
starts without memory: it measures durations anew, and only the Service's annotations count.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.kubernetes import takeover
from beamlit_controller.kubernetes.managed_objects import GatewayPod
from beamlit_controller.kubernetes.reverts import NO_REVERTS, LastWrite
from beamlit_controller.kubernetes.service_patches import SelectorLabels
from beamlit_controller.kubernetes.services import Service
from beamlit_controller.kubernetes.takeover import TakeoverDecision

UNREADABLE: Final = 60.0
BLAMED: Final = 120.0
"""If metrics become unreadable within `BLAMED` seconds after a takeover, and rounds still can't read any `UNREADABLE` seconds later,
the takeover is blamed."""

OVER: Final = timedelta(milliseconds=200)
"""How long after a grace period it has certainly ended."""


@dataclass(frozen=True, slots=True)
class LastRead:
    """Whether any metric could be read in the last round, and when that round was, in seconds of the monotonic clock."""

    readable: bool
    at: float


@dataclass(frozen=True, slots=True)
class TakeoverMemory:
    """The last decision, and the times since when conditions hold, in seconds of the monotonic clock.

    `written_version` is the Service's version after our last write; anything older is ignored. `reached_by` are the uids of
    gateway pods that have reached the model. `blamed_generation` is the generation of the spec whose metrics became unreadable
    after the takeover. `last_write` is what was last written to the Service.
    """

    decision: TakeoverDecision | None = None
    written_version: int = 0
    reached_by: frozenset[str] = frozenset()
    unready_since: float | None = None
    ready_since: float | None = None
    taken_at: float | None = None
    unreadable_since: float | None = None
    draining_since: float | None = None
    blamed_generation: int | None = None
    last_write: LastWrite | None = None


def with_pods(
    memory: TakeoverMemory, service: Service, pods: Collection[GatewayPod], *, value: str, now: float
) -> TakeoverMemory:
    """Record since when no gateway pod of a taken-over Service is ready, or since when one is ready again."""
    held = takeover.is_taken_over(service, value)
    down, up = memory.unready_since, memory.ready_since
    ready = any(takeover.is_serving(pod, service, value) for pod in pods)
    if not ready and (held or down is not None):
        down, up = down if down is not None else now, None
    elif ready and down is not None:
        down, up = None, now
    return replace(memory, unready_since=down, ready_since=None if held else up)


def until_restore(memory: TakeoverMemory, *, now: float) -> float | None:
    """Return the seconds until the Service of a gateway that is down may have to be restored; None if it isn't to come."""
    if memory.unready_since is None:
        return None
    graces = (takeover.NO_PODS_GRACE, takeover.UNREADY_GRACE)
    left = (memory.unready_since + (grace + OVER).total_seconds() - now for grace in graces)
    return next((each for each in left if each > 0), None)


def with_metrics(memory: TakeoverMemory, *, read: LastRead | None, generation: int) -> TakeoverMemory:
    """Record whether metrics are still readable after the takeover, and the generation if they are not.

    Only rounds count: without any, because the process was paused, nothing is known to be unreadable for longer.
    """
    if memory.taken_at is None or read is None:
        return memory
    since = None if read.readable else memory.unreadable_since if memory.unreadable_since is not None else read.at
    blamed = since is not None and since - memory.taken_at < BLAMED and read.at - since >= UNREADABLE
    return replace(memory, unreadable_since=since, blamed_generation=generation if blamed else memory.blamed_generation)


def metrics_lost(memory: TakeoverMemory, service: Service, *, generation: int) -> Missing | None:
    """Return the reason if this spec's metrics became unreadable soon after the takeover."""
    if memory.blamed_generation != generation:
        return None
    return Missing(
        Reason.TRIGGERS_UNREADABLE,
        f"no metric could be read after Service {service.name} was taken over, so it was restored: do not read metrics "
        "through this Service; the takeover is retried when the spec changes",
    )


def taken_over(memory: TakeoverMemory, *, version: int, anew: bool, readable: bool, now: float) -> TakeoverMemory:
    """Record that the Service was taken over; `anew` tells that it did not select the gateway before."""
    if not anew:
        return replace(memory, written_version=version)
    # The takeover can only have broken metrics that were readable before.
    return replace(memory, written_version=version, taken_at=now if readable else None, unreadable_since=None)


def restored(memory: TakeoverMemory, *, version: int) -> TakeoverMemory:
    """Record that the Service was restored."""
    return replace(memory, written_version=version, taken_at=None)


def writing(memory: TakeoverMemory) -> TakeoverMemory:
    """Record that a Service is about to be restored.

    Whatever becomes of the write, a Service that is not taken over afterwards must not count as reverted by others. A
    revert that is missed costs one more write; one that is wrongly counted takes the Service away.
    """
    last = memory.last_write
    return memory if last is None else replace(memory, last_write=replace(last, replaced=()))


def wrote(
    memory: TakeoverMemory, service: Service, *, generation: int, replaced: SelectorLabels = ()
) -> TakeoverMemory:
    """Record what the last decision wrote to the Service; `replaced` is the selector that a takeover replaced."""
    reverts = memory.decision.reverts if memory.decision is not None else NO_REVERTS
    return replace(memory, last_write=LastWrite(service.uid, generation, replaced, reverts))


def last_write(memory: TakeoverMemory, service: Service, *, generation: int) -> LastWrite | None:
    """Return what was last written to this Service for this generation of the spec."""
    last = memory.last_write
    return last if last is not None and (last.uid, last.generation) == (service.uid, generation) else None


def draining(memory: TakeoverMemory, pods: Collection[GatewayPod], *, now: float) -> TakeoverMemory:
    """Record since when the gateway's last pods are terminating; nothing once they are gone."""
    began = memory.draining_since if memory.draining_since is not None else now
    return replace(memory, draining_since=began if pods else None)
