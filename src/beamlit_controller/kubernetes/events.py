"""The Kubernetes Events that report what changed between two statuses. Pure, except for names and times."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

from beamlit_controller.core.reason import Reason
from beamlit_controller.kubernetes.api_server import Json
from beamlit_controller.kubernetes.models import Stored
from beamlit_controller.kubernetes.paths import EVENTS, MODEL_DEPLOYMENTS

CONTROLLER: Final = "deployment.beamlit.com/controller"
LONGEST_NOTE: Final = 1000
BAD_WHEN_FALSE: Final = frozenset(
    {
        "Ready",
        "GatewayReady",
        "LocalReady",
        "MetricsAvailable",
        "OffloadingSufficient",
        "OverrideValid",
        "RemoteReady",
        "ServiceTaken",
        "TriggerReachable",
    }
)
"""Conditions whose change to False is a warning."""
ON_THE_WAY: Final = frozenset(
    {Reason.GATEWAY_STARTING, Reason.SERVICE_SWITCHING, Reason.PODS_NOT_REACHED, Reason.SERVICE_TAKEN, Reason.NO_PODS}
)
"""Reasons for not being ready yet without anything being wrong."""


@dataclass(frozen=True, slots=True)
class StatusEvent:
    """One Event to create."""

    action: str
    reason: str
    note: str
    warning: bool = False


def between(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[StatusEvent]:
    """Yield the Events: what leaves changed, conditions whose status changed, and why a model is not ready.

    For the first status, only the last kind is reported.
    """
    was, offloading = before.get("offloading") or {}, now.get("offloading") or {}
    percentage = offloading.get("percentage")
    if percentage is not None and _in_force(offloading) != _in_force(was):
        earlier = was.get("percentage", 0)
        also = "" if earlier == percentage else f", {earlier}% did before"
        note = f"{_leave(offloading)}{also}: {offloading['message']}"
        yield StatusEvent("Offload" if percentage else "Release", offloading["reason"], note)
    known = {each["type"]: (each["status"], each["reason"]) for each in before.get("conditions") or ()}
    for condition in now.get("conditions") or ():
        if _is_reported(condition, known.get(condition["type"])):
            kind, state = condition["type"], condition["status"]
            bad = (kind in BAD_WHEN_FALSE) == (state == "False")
            yield StatusEvent(kind, condition["reason"], f"{kind} is {state}: {condition['message']}", warning=bad)


def _in_force(offloading: Mapping[str, Any]) -> tuple[int, bool]:
    """Return the percentage, and whether only the requests above a cap leave."""
    percentage = offloading.get("percentage", 0)
    return percentage, bool(percentage) and offloading.get("inFlightPerReplica", "0") != "0"


def _leave(offloading: Mapping[str, Any]) -> str:
    """Describe what goes to the remote: a share, or the requests above a cap."""
    cap, percentage = offloading.get("inFlightPerReplica", "0"), offloading["percentage"]
    if cap == "0":
        return f"{percentage}% of the requests go to the remote"
    return f"requests beyond {cap} in flight per ready replica go to the remote, at most {percentage}% of all"


def content(event: StatusEvent, stored: Stored, *, identity: str, now: datetime) -> Json:
    """Render the Event object."""
    key = stored.key
    regarding = {
        "apiVersion": MODEL_DEPLOYMENTS.api_version,
        "kind": MODEL_DEPLOYMENTS.kind,
        "namespace": key.namespace,
        "name": key.name,
        "uid": stored.uid,
        "resourceVersion": stored.version,
    }
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"name": f"{key.name}.{uuid4().hex[:16]}", "namespace": key.namespace},
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": CONTROLLER,
        "reportingInstance": identity,
        "action": event.action,
        "reason": event.reason,
        "regarding": regarding,
        "note": event.note[:LONGEST_NOTE],
        "type": "Warning" if event.warning else "Normal",
    }


def _is_reported(condition: Mapping[str, Any], known: tuple[str, str] | None) -> bool:
    kind, now = condition["type"], (condition["status"], condition["reason"])
    if kind == "Offloading" or known == now:
        return False
    if kind == "Ready" and now[0] == "False":
        return now[1] not in ON_THE_WAY if known is None or known[0] == "False" else True
    if kind == "OverrideValid":
        return True
    return known is not None and known[0] != now[0]
