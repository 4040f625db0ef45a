"""Gathers the input of a takeover decision: Service, gateway pods, reachability, metrics, and durations.

The decision itself is `takeover.decide`. What has to be remembered between passes is in `takeover_memory`.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from typing import Final, Protocol

from beamlit_controller.controller.ports import Clock
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.core.spec import ModelKey, OffloadSpec, RoutingMode
from beamlit_controller.kubernetes import plan, service_patches, takeover, takeover_memory
from beamlit_controller.kubernetes import snapshot as snapshots
from beamlit_controller.kubernetes.managed_objects import GatewayPod
from beamlit_controller.kubernetes.services import Service
from beamlit_controller.kubernetes.snapshot import Snapshot
from beamlit_controller.kubernetes.takeover import Action, Observation
from beamlit_controller.kubernetes.takeover_memory import LastRead, TakeoverMemory

MOST_ASKED: Final = 100
"""Number of pods of one gateway that are probed concurrently."""


class ReachabilityProbe(Protocol):
    """Checks whether gateway pods reach the model."""

    async def of(self, pods: Iterable[GatewayPod]) -> Collection[str]:
        """Return the uids of the pods that reach a server of the model."""
        ...


class Observer:
    """Gathers the observation and decides. `last_read` returns whether a model's metrics could be read in the last round."""

    def __init__(
        self, probe: ReachabilityProbe, clock: Clock, last_read: Callable[[ModelKey], LastRead | None]
    ) -> None:
        self._probe = probe
        self._clock = clock
        self._last_read = last_read

    async def observe(
        self, snapshot: Snapshot, memory: TakeoverMemory, spec: OffloadSpec, service: Service
    ) -> TakeoverMemory:
        """Return the memory updated with the current observation and the decision."""
        now = asyncio.get_running_loop().time()
        memory = takeover_memory.with_pods(memory, service, snapshot.pods, value=snapshot.gateway_value, now=now)
        memory = takeover_memory.with_metrics(memory, read=self._last_read(spec.key), generation=spec.generation)
        blocked = _blocked(snapshot, memory, spec, service)
        waits = snapshot.plan if isinstance(snapshot.plan, Missing) and blocked is None else None
        if waits is None and blocked is None and not takeover.is_taken_over(service, snapshot.gateway_value):
            memory = await self._probe_pods(snapshot, memory, service)
            wanted = spec.gateway.replicas
            waits = takeover.readiness(
                service, snapshot.pods, snapshot.gateway_value, wanted=wanted, reached=memory.reached_by
            )
        observation = Observation(
            service=service,
            key=spec.key.name,
            gateway_value=snapshot.gateway_value,
            pods=snapshot.pods,
            now=self._clock.now(),
            other_values={service_patches.gateway_value(each.uid) for each in snapshot.conflicting},
            blocked=blocked,
            pending=waits,
            unready_for=_since(memory.unready_since, now),
            ready_for=_since(memory.ready_since, now),
            last_write=takeover_memory.last_write(memory, service, generation=spec.generation),
        )
        decision = takeover.decide(observation)
        memory = replace(memory, decision=decision)
        if decision.action is Action.NOTHING and not decision.taken:
            return takeover_memory.wrote(memory, service, generation=spec.generation)
        return memory

    def taken_over(
        self, snapshot: Snapshot, memory: TakeoverMemory, service: Service, *, version: int
    ) -> TakeoverMemory:
        """Return the memory after the Service was written to select the gateway."""
        now, anew = asyncio.get_running_loop().time(), not takeover.is_taken_over(service, snapshot.gateway_value)
        read = self._last_read(snapshot.key)
        memory = takeover_memory.wrote(memory, service, generation=_generation(snapshot), replaced=service.selector)
        return takeover_memory.taken_over(
            memory, version=version, anew=anew, readable=read is not None and read.readable, now=now
        )

    @staticmethod
    def restored(snapshot: Snapshot, memory: TakeoverMemory, service: Service, *, version: int) -> TakeoverMemory:
        """Return the memory after the Service was written not to select the gateway."""
        memory = takeover_memory.wrote(memory, service, generation=_generation(snapshot))
        return takeover_memory.restored(memory, version=version)

    async def _probe_pods(self, snapshot: Snapshot, memory: TakeoverMemory, service: Service) -> TakeoverMemory:
        """Probe the serving pods that have not reached the model yet."""
        known = memory.reached_by & {pod.uid for pod in snapshot.pods}
        up = (
            pod
            for pod in snapshot.pods
            if takeover.is_serving(pod, service, snapshot.gateway_value) and pod.uid not in known
        )
        return replace(memory, reached_by=known | set(await self._probe.of(islice(up, MOST_ASKED))))


def _blocked(snapshot: Snapshot, memory: TakeoverMemory, spec: OffloadSpec, service: Service) -> Missing | None:
    """Return the reason why the Service must not be (or stay) taken over, if there is one."""
    if not spec.enabled:
        return Missing(Reason.DISABLED, f"Service {service.name} selects the model's pods directly")
    if spec.routing is not RoutingMode.TAKEOVER:
        return Missing(Reason.ROUTING_BY_SERVICE, f"spec.routing.mode is {spec.routing}: the Service is left alone")
    if isinstance(snapshot.plan, Missing) and plan.is_refused(snapshot.plan):
        return snapshot.plan
    absent = snapshots.absence(spec, snapshot)
    return absent or takeover_memory.metrics_lost(memory, service, generation=spec.generation)


def _generation(snapshot: Snapshot) -> int:
    return snapshot.model.spec.generation if snapshot.model.spec else 0


def _since(began: float | None, now: float) -> timedelta | None:
    return None if began is None else timedelta(seconds=now - began)
