"""What is so with one ModelDeployment: its conditions, from all that is known of it. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from beamlit_controller.api import status
from beamlit_controller.core import remote_health, throttle
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.remote_health import RemoteReady
from beamlit_controller.core.signals import LocalHealth
from beamlit_controller.core.spec import OffloadSpec
from beamlit_controller.core.trigger import Trigger
from beamlit_controller.kubernetes import models
from beamlit_controller.kubernetes.gateways import GatewayState
from beamlit_controller.kubernetes.models import Model
from beamlit_controller.kubernetes.takeover import Step

Json = dict[str, Any]

LONGEST_MESSAGE = 32768
BAD_WHEN_FALSE = frozenset(
    {"Ready", "GatewayReady", "LocalReady", "MetricsAvailable", "RemoteReady", "ServiceTaken", "TriggerReachable"}
)
"""What is worth a warning when it is not so."""


@dataclass(frozen=True, slots=True)
class Known:
    """All that is known of a model: `autoscaler` scales the same workload, `most` is the most percent that the remote takes."""

    model: Model
    gateway: GatewayState
    local: LocalHealth
    autoscaler: str | None = None
    cycle: Cycle | None = None
    remote: RemoteReady | None = None
    most: int = throttle.WHOLE


class State(StrEnum):
    """Whether something is so."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that is so, or is not."""

    type: str
    status: State
    reason: Reason
    message: str


def status_of(known: Known, before: Mapping[str, Any], now: str) -> Json:
    """Give the whole status. `before` is the one that is there: what did not change keeps the time it last did."""
    decided = status.status(known.cycle) if known.cycle else {}
    given = [*decided.pop("conditions", ()), *(_written(each, known.model.generation) for each in _conditions(known))]
    rest = {"record": models.record(known.cycle.decision)} if known.cycle else _kept(before)
    if "offloading" in decided and known.most < throttle.WHOLE:
        decided["offloading"] = {**decided["offloading"], "atMost": known.most}
    return {
        **decided,
        **rest,
        "observedGeneration": known.model.generation,
        "conditions": [_dated(each, before.get("conditions") or (), now) for each in given],
    }


def _kept(before: Mapping[str, Any]) -> Json:
    """Keep what was decided before, as long as this process has not decided anything."""
    return {name: before[name] for name in ("offloading", "currentMetrics", "record") if name in before}


def essence(content: Mapping[str, Any]) -> object:
    """Give of a status what is written at once when it changes; the figures may wait."""
    offloading = content.get("offloading") or {}
    conditions = {each["type"]: (each["status"], each["reason"]) for each in content.get("conditions") or ()}
    return (
        content.get("observedGeneration"),
        offloading.get("percentage"),
        offloading.get("reason"),
        offloading.get("atMost"),
        conditions,
    )


def _conditions(known: Known) -> Iterator[Condition]:
    spec = known.model.spec
    gateway = _gateway(known.gateway)
    yield gateway
    if known.gateway.service is not None:
        yield _service(known.gateway.service)
    yield _local(known.local)
    yield _remote(spec, known.remote)
    found = known.cycle.trigger if known.cycle else None
    if found is not None:
        yield _trigger(found)
    yield _ready(known, gateway)
    if known.autoscaler and spec is not None:
        yield _autoscaler(known.autoscaler)


def _ready(known: Known, gateway: Condition) -> Condition:
    if known.model.rejected:
        mistakes = "; ".join(map(str, known.model.rejected))
        kept = "the last good one stays in force" if known.model.spec else "there is no earlier one to go on with"
        return Condition("Ready", State.FALSE, Reason.SPEC_INVALID, f"{mistakes} ({kept})")
    if known.gateway.problem is not None:
        return Condition("Ready", State.FALSE, known.gateway.problem.reason, known.gateway.problem.message)
    if not known.gateway.enabled:
        return Condition("Ready", State.TRUE, Reason.DISABLED, "spec.enabled is false: everything is served locally")
    if gateway.status is not State.TRUE:
        return Condition("Ready", State.FALSE, gateway.reason, gateway.message)
    service = known.gateway.service
    if service is not None and not service.taken:
        return Condition("Ready", State.FALSE, service.why.reason, service.why.message)
    notes = "".join(f"; note: {notice}" for notice in known.model.notices)
    return Condition("Ready", State.TRUE, Reason.AS_ASKED, f"all is as asked for{notes}")


def _gateway(state: GatewayState) -> Condition:
    if not state.enabled:
        return Condition(
            "GatewayReady", State.FALSE, Reason.GATEWAY_REMOVED, "spec.enabled is false: there is no gateway"
        )
    message = f"{state.ready} of {state.wanted} gateway pods are ready"
    if state.ready:
        return Condition("GatewayReady", State.TRUE, Reason.GATEWAY_READY, message)
    if state.problem is not None:
        return Condition("GatewayReady", State.FALSE, state.problem.reason, state.problem.message)
    return Condition("GatewayReady", State.FALSE, Reason.GATEWAY_STARTING, message)


def _service(step: Step) -> Condition:
    state = State.TRUE if step.taken else State.FALSE
    return Condition("ServiceTaken", state, step.why.reason, step.why.message)


def _local(local: LocalHealth) -> Condition:
    message = f"{local.ready} of {local.total} local pods are ready"
    if local.ready:
        return Condition("LocalReady", State.TRUE, Reason.PODS_READY, message)
    return Condition("LocalReady", State.FALSE, Reason.NO_READY_PODS if local.total else Reason.NO_PODS, message)


def _remote(spec: OffloadSpec | None, remote: RemoteReady | None) -> Condition:
    if spec is None or spec.remote is None:
        expected = "expected spec.offloadingConfig.remoteBackend or config.defaultRemoteBackend"
        return Condition("RemoteReady", State.FALSE, Reason.NO_REMOTE, f"nothing can leave: {expected}")
    known = remote or remote_health.Judged().condition
    return Condition("RemoteReady", State(known.status), known.reason, known.message)


def _autoscaler(name: str) -> Condition:
    return Condition(
        "AutoscalerInterference",
        State.TRUE,
        Reason.AUTOSCALER_FOUND,
        f"HorizontalPodAutoscaler {name} scales the same workload: what is offloaded it does not see, so it takes replicas "
        "away and offloading may never end. Let it scale on the metric beamlit_demand_ratio, or give offloading a target of "
        "at least 1.25 times its own",
    )


def _trigger(found: Trigger) -> Condition:
    state = {True: State.TRUE, False: State.FALSE, None: State.UNKNOWN}[found.reachable]
    return Condition("TriggerReachable", state, found.reason, found.message)


def _written(condition: Condition, generation: int) -> Json:
    return {
        "type": condition.type,
        "status": condition.status.value,
        "reason": condition.reason.value,
        "message": condition.message[:LONGEST_MESSAGE],
        "observedGeneration": generation,
    }


def _dated(condition: Json, before: Sequence[Mapping[str, Any]], now: str) -> Json:
    same = (
        each.get("lastTransitionTime")
        for each in before
        if each["type"] == condition["type"] and each["status"] == condition["status"]
    )
    return {**condition, "lastTransitionTime": next(same, None) or now}
