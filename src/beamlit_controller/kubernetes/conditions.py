"""Builds the status of a ModelDeployment from what was observed. Pure.

`status_of` gives the complete status. The offloading, requests and metrics sections come from `api.status`; the
conditions are built here, one function per condition type.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from beamlit_controller.api import status
from beamlit_controller.core import remote_health, spending_text, throttle
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.remote_health import RemoteReady
from beamlit_controller.core.signals import LocalHealth, Missing
from beamlit_controller.core.spec import OffloadSpec, Rejected
from beamlit_controller.core.traffic import Minute
from beamlit_controller.core.trigger import Trigger
from beamlit_controller.kubernetes import fields, metav1, models
from beamlit_controller.kubernetes.gateway_trouble import Trouble
from beamlit_controller.kubernetes.metav1 import Condition, ConditionStatus
from beamlit_controller.kubernetes.models import KnownModel
from beamlit_controller.kubernetes.snapshot import GatewayState, ServiceState

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ModelState:
    """Everything known about a model.

    `autoscaler` is the name of an autoscaler of the same workload. `percentage_limit` is the highest percentage that
    the remote accepts while it answers 429. `minute` has the requests of the last minute.
    """

    model: KnownModel
    gateway: GatewayState
    local: LocalHealth
    autoscaler: str | None = None
    cycle: Cycle | None = None
    remote: RemoteReady | None = None
    percentage_limit: int = throttle.WHOLE
    minute: Minute | None = None


def status_of(known: ModelState, before: Mapping[str, Any], now: str) -> Json:
    """Return the complete status. `before` is the current one: unchanged conditions keep their lastTransitionTime."""
    decided = _decided(known, before, now)
    given = [
        *decided.pop("conditions", ()),
        *(metav1.written(each, known.model.generation) for each in _conditions(known, before, fields.time(now))),
    ]
    return {
        **decided,
        "observedGeneration": known.model.generation,
        "conditions": [metav1.dated(each, before.get("conditions") or (), now) for each in given],
    }


def significant_fields(content: Mapping[str, Any]) -> object:
    """Return the part of a status whose changes are written immediately; changed numbers may wait."""
    offloading = content.get("offloading") or {}
    conditions = {each["type"]: (each["status"], each["reason"]) for each in content.get("conditions") or ()}
    return (
        models.budget_spent(content),
        content.get("observedGeneration"),
        offloading.get("percentage"),
        offloading.get("reason"),
        offloading.get("atMost"),
        offloading.get("inFlightPerReplica"),
        # An account that was never written would be opened again by the next leader, without everything counted until then.
        [each["name"] for each in content.get("remotes") or ()],
        conditions,
    )


def equal(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two statuses are equal; conditions are compared by type, in any order."""
    return _unordered(one) == _unordered(other)


def _unordered(content: Mapping[str, Any]) -> Json:
    return {**content, "conditions": {each["type"]: each for each in content.get("conditions") or ()}}


# The decision.


def _decided(known: ModelState, before: Mapping[str, Any], now: str) -> Json:
    absent = known.gateway.absent
    if absent is not None and absent.reason is Reason.SERVICE_HELD:
        return _offloads_nothing(known, absent, before, now)
    if known.cycle is None:
        # An earlier process's decision stays in force until this one decides.
        kept = {name: before[name] for name in ("model", "offloading", "remotes", "record") if name in before}
        conditions = [_undated(each) for each in before.get("conditions") or () if each["type"] in _OF_DECISIONS]
        return {**kept, "currentMetrics": before.get("currentMetrics") or [], "conditions": conditions}
    decided = status.status(known.cycle)
    if known.percentage_limit < throttle.WHOLE:
        decided["offloading"] = _throttled(decided["offloading"], known.percentage_limit)
    requests = {"requests": status.requests(known.minute, known.cycle)} if known.minute is not None else {}
    return {**decided, **requests, "record": models.record(known.cycle.decision)}


_OF_DECISIONS = ("Offloading", "MetricsAvailable", "TriggerReachable", "BudgetSpent")


def _throttled(offloading: Mapping[str, Any], most: int) -> Json:
    """Report the limit while the remote answers 429: a share above it is not in force."""
    above = offloading["inForce"] == f"{offloading['percentage']}%" and offloading["percentage"] > most
    return {**offloading, "atMost": most, **({"inForce": f"{most}%"} if above else {})}


def _undated(condition: Mapping[str, Any]) -> Json:
    return {name: value for name, value in condition.items() if name != "lastTransitionTime"}


def _offloads_nothing(known: ModelState, why: Missing, before: Mapping[str, Any], now: str) -> Json:
    """Return the decision of a model whose Service another model has taken over: nothing is offloaded."""
    last = before.get("offloading") or {}
    same = (last.get("percentage"), last.get("reason")) == (0, why.reason.value)
    since = last["since"] if same and "since" in last else now
    offloading = {"inForce": "0%", "percentage": 0, "reason": why.reason.value, "message": why.message, "since": since}
    condition = Condition("Offloading", ConditionStatus.FALSE, why.reason, why.message)
    said = [metav1.written(condition, known.model.generation)]
    return {"offloading": offloading, "currentMetrics": [], "conditions": said}


# The conditions.


def _conditions(known: ModelState, before: Mapping[str, Any], now: datetime | None) -> Iterator[Condition]:
    failing = {each["type"] for each in before.get("conditions") or () if each.get("reason") == Reason.GATEWAY_FAILING}
    for each in _present(known):
        yield _of_lasting_trouble(each, known.gateway.trouble, now, was_failing=each.type in failing)


def _of_lasting_trouble(
    condition: Condition, trouble: Trouble | None, now: datetime | None, *, was_failing: bool
) -> Condition:
    """Return a condition whose reason is no longer that the gateway is starting, if its trouble lasts.

    A pod that crashes again and again is in a new trouble after each start, so the reason stays until it is in none.
    """
    if condition.reason is not Reason.GATEWAY_STARTING or trouble is None or not (was_failing or trouble.lasts(now)):
        return condition
    return replace(condition, reason=Reason.GATEWAY_FAILING)


def _present(known: ModelState) -> Iterator[Condition]:
    spec = known.model.spec
    gateway = _gateway(known.gateway)
    yield gateway
    if known.gateway.takeover and known.gateway.service is not None:
        yield _service(known.gateway.service)
    yield _local(known.local)
    yield _remote(spec, known.remote)
    found = known.cycle.trigger if known.cycle else None
    if found is not None:
        yield _trigger(found)
    if known.cycle is not None and known.cycle.decision.shortfall is not None:
        yield from _insufficient(known.cycle.decision)
    if known.cycle is not None:
        yield from _budgets(known.cycle)
    if known.model.override_ignored is not None:
        yield _override_ignored(known.model.override_ignored)
    yield _ready(known, gateway)
    if known.autoscaler and spec is not None:
        yield _autoscaler(known.autoscaler)


def _ready(known: ModelState, gateway: Condition) -> Condition:
    state = known.gateway
    if known.model.rejected:
        return _refused_spec(known.model)
    if state.problem is not None:
        return Condition("Ready", ConditionStatus.FALSE, state.problem.reason, state.problem.message)
    if state.absent is not None:
        ready = ConditionStatus.TRUE if state.absent.reason is Reason.DISABLED else ConditionStatus.FALSE
        return Condition("Ready", ready, state.absent.reason, state.absent.message)
    if gateway.status is not ConditionStatus.TRUE:
        return Condition("Ready", ConditionStatus.FALSE, gateway.reason, gateway.message)
    if state.service is None or not state.service.taken:
        why = state.service.why if state.service else _UNSEEN
        return Condition("Ready", ConditionStatus.FALSE, why.reason, why.message)
    notes = "".join(f"; note: {notice}" for notice in known.model.notices)
    return Condition("Ready", ConditionStatus.TRUE, Reason.AS_ASKED, f"the ModelDeployment is in effect{notes}")


_UNSEEN = Missing(Reason.SERVICE_SWITCHING, "the Service that clients use does not route to the gateway yet")


def _refused_spec(model: KnownModel) -> Condition:
    mistakes = "; ".join(map(str, model.rejected))
    kept = "the last good one stays in force" if model.spec else "there is no earlier one"
    # The end of the message tells what is in force, so only the mistakes are shortened.
    message = f"{mistakes[: metav1.LONGEST_MESSAGE - 100]} ({kept})"
    return Condition("Ready", ConditionStatus.FALSE, Reason.SPEC_INVALID, message)


def _override_ignored(mistake: Rejected) -> Condition:
    return Condition(
        "OverrideValid", ConditionStatus.FALSE, Reason.OVERRIDE_INVALID, f"the override is ignored: {mistake}"
    )


def _gateway(state: GatewayState) -> Condition:
    if state.absent is not None:
        reason = Reason.GATEWAY_REMOVED if state.absent.reason is Reason.DISABLED else state.absent.reason
        return Condition("GatewayReady", ConditionStatus.FALSE, reason, f"there is no gateway: {state.absent.message}")
    trouble = f": {state.trouble.message}" if state.trouble is not None else ""
    message = f"{state.ready_replicas} of {state.desired_replicas} gateway pods are ready{trouble}"
    not_taken = state.problem is not None and state.problem.reason is Reason.CONFIG_NOT_TAKEN
    if state.ready_replicas and not not_taken:
        return Condition("GatewayReady", ConditionStatus.TRUE, Reason.GATEWAY_READY, message)
    if state.problem is not None:
        return Condition("GatewayReady", ConditionStatus.FALSE, state.problem.reason, state.problem.message)
    return Condition("GatewayReady", ConditionStatus.FALSE, Reason.GATEWAY_STARTING, message)


def _service(service: ServiceState) -> Condition:
    state = ConditionStatus.TRUE if service.taken else ConditionStatus.FALSE
    return Condition("ServiceTaken", state, service.why.reason, service.why.message)


def _local(local: LocalHealth) -> Condition:
    message = f"{local.ready} of {local.total} local pods are ready"
    if local.ready:
        return Condition("LocalReady", ConditionStatus.TRUE, Reason.PODS_READY, message)
    return Condition(
        "LocalReady", ConditionStatus.FALSE, Reason.NO_READY_PODS if local.total else Reason.NO_PODS, message
    )


def _remote(spec: OffloadSpec | None, remote: RemoteReady | None) -> Condition:
    if spec is None:
        message = "unknown until the spec is valid; Ready says what to fix"
        return Condition("RemoteReady", ConditionStatus.UNKNOWN, Reason.SPEC_INVALID, message)
    if spec.remote is None:
        expected = "expected spec.offloadingConfig.remoteBackend or config.defaultRemoteBackend"
        return Condition(
            "RemoteReady", ConditionStatus.FALSE, Reason.NO_REMOTE, f"nothing can be offloaded: {expected}"
        )
    known = remote or remote_health.RemoteAssessment().condition
    return Condition("RemoteReady", ConditionStatus(known.status), known.reason, known.message)


def _autoscaler(name: str) -> Condition:
    return Condition(
        "AutoscalerInterference",
        ConditionStatus.TRUE,
        Reason.AUTOSCALER_FOUND,
        f"HorizontalPodAutoscaler {name} scales the same workload, but does not see offloaded requests, so it removes replicas and offloading may never end. Let it scale on the metric beamlit_demand_replicas, or set offloading's target to at least 1.25 times its own",
    )


def _insufficient(decided: Decision) -> Iterator[Condition]:
    if decided.shortfall is not None and decided.shortfall.lasts:
        message = f"{decided.message}; raise behavior.percentage, or set behavior.mode to Adaptive or overflow.maxInFlightPerReplica"
        yield Condition("OffloadingSufficient", ConditionStatus.FALSE, Reason.HIGHEST_SHARE_REACHED, message)


def _budgets(cycle: Cycle) -> Iterator[Condition]:
    found = spending_text.budgets(cycle.spec, cycle.decision.ledger, cycle.at)
    if found is not None:
        state = ConditionStatus.TRUE if found.is_spent else ConditionStatus.FALSE
        yield Condition("BudgetSpent", state, found.reason, found.message)


def _trigger(found: Trigger) -> Condition:
    state = {True: ConditionStatus.TRUE, False: ConditionStatus.FALSE, None: ConditionStatus.UNKNOWN}[found.reachable]
    return Condition("TriggerReachable", state, found.reason, found.message)
