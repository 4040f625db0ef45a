"""Builds `.status` sections from a cycle: offloading, requests, current metrics, and their conditions.

`bounded` cuts a complete status to the schema in `status_models`, from which the CRD is rendered, so the two can't
differ.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from beamlit_controller.api import schema, spending_view, status_limits
from beamlit_controller.api.status_models import LONGEST_MESSAGE, LONGEST_RECORD, Status
from beamlit_controller.core import quantity, traffic_change, traffic_summary
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.metric_spec import (
    ContainerResourceMetric,
    ExternalMetric,
    GatewayMetric,
    MetricSpec,
    ObjectMetric,
    PodsMetric,
    ResourceMetric,
    Selector,
    SeriesSelector,
)
from beamlit_controller.core.quantity import Family
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.traffic import Minute
from beamlit_controller.core.verdict import Assessed, Current, Unread

Json = dict[str, Any]


def status(cycle: Cycle) -> Json:
    """Return the status of a model as JSON.

    Its conditions have no `lastTransitionTime`: the writer knows the previous ones.
    """
    generation = cycle.spec.generation
    spent = spending_view.status(cycle)
    return {
        "observedGeneration": generation,
        "model": cycle.spec.model,
        "offloading": _offloading(cycle.decision),
        **({"remotes": spent} if spent else {}),
        "currentMetrics": [metric(each) for each in cycle.verdict.metrics if isinstance(each, Assessed)],
        "conditions": [
            _condition("Offloading", generation, *_offloads(cycle.decision)),
            _condition("MetricsAvailable", generation, *_available(cycle.verdict.metrics)),
        ],
    }


def requests(minute: Minute, cycle: Cycle) -> Json:
    """Return the requests since they have been answered as they are now, in whole percent and as a sentence."""
    seen, limit = traffic_summary.summarize(traffic_change.latest(minute)), traffic_summary.limit(cycle)
    return {
        "remotePercentage": round(100 * seen.sent),
        "inFlight": seen.in_flight,
        "message": traffic_summary.sentence(seen, limit),
    }


def bounded(status: Mapping[str, object]) -> Json:
    """Cut a status to what the CRD allows. Call it last.

    The API server would reject a status that is too large, and the decision would never come into force. Messages are
    cut. A record that is too long first loses what no decision depends on, then what is least important after a
    restart.
    """
    record = status.get("record")
    short = {**status, "record": _short(record)} if isinstance(record, str) else status
    fitting = status_limits.fit(short, _schema())
    return dict(fitting) if isinstance(fitting, Mapping) else {}


@cache
def _schema() -> Json:
    return schema.of(Status)


def _short(record: str) -> str:
    """Leave out parts of a record, least important first, until it is short enough; "" if nothing can stay."""
    if len(record) <= LONGEST_RECORD:
        return record
    try:
        kept = json.loads(record)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(kept, dict):
        return ""
    dropped: Json
    for dropped in ({"trend": None}, {"sight": None}, {"history": []}, {"message": str(kept.get("message"))[:_LITTLE]}):
        kept |= dropped
        written = json.dumps(kept, ensure_ascii=False, separators=(",", ":"))
        if len(written) <= LONGEST_RECORD:
            return written
    return ""


_LITTLE = 1024


def metric(assessed: Assessed) -> Json:
    """Return a metric's current value as a MetricStatus of autoscaling/v2."""
    current = _current(assessed.current, _family(assessed.metric))
    match assessed.metric:
        case ResourceMetric(name=name):
            return {"type": "Resource", "resource": {"name": name, "current": current}}
        case ContainerResourceMetric(name=name, container=container):
            of_container = {"name": name, "container": container, "current": current}
            return {"type": "ContainerResource", "containerResource": of_container}
        case PodsMetric(metric=identifier):
            return {"type": "Pods", "pods": {"metric": _identifier(identifier), "current": current}}
        case ObjectMetric(metric=identifier, described_object=described):
            reference = {"apiVersion": described.api_version, "kind": described.kind, "name": described.name}
            whole = {"describedObject": reference, "metric": _identifier(identifier), "current": current}
            return {"type": "Object", "object": whole}
        case ExternalMetric(metric=identifier):
            return {"type": "External", "external": {"metric": _identifier(identifier), "current": current}}
        case GatewayMetric(name=figure):
            return {"type": "Gateway", "gateway": {"metric": {"name": figure.value}, "current": current}}


def _offloading(decision: Decision) -> Json:
    return {
        "inForce": in_force(decision),
        "percentage": decision.sent,
        **_cap(decision),
        "reason": decision.reason.value,
        "message": _said(decision),
        "since": instant(decision.since),
    }


def _cap(decision: Decision) -> Json:
    if decision.cap is None or decision.dry:
        return {}
    return {"inFlightPerReplica": f"{min(float(decision.cap), _MOST_IN_FLIGHT):.3f}".rstrip("0").rstrip(".")}


_MOST_IN_FLIGHT = 999_999_999


def in_force(decision: Decision) -> str:
    """Return in a word what is in force: a share of the requests, or a cap above which they leave."""
    if decision.dry:
        return "dry run"
    return f"cap {float(decision.cap):.4g}" if decision.cap else f"{decision.sent}%"


def instant(moment: datetime) -> str:
    """Format a time as Kubernetes does: RFC 3339, UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _offloads(decision: Decision) -> tuple[str, Reason, str]:
    if not decision.sent or not decision.cap:
        return "True" if decision.sent else "False", decision.reason, _said(decision)
    # Nothing leaves below a cap, so the gateways' counts tell whether anything did.
    if not decision.learned.recent:
        return (
            "Unknown",
            decision.reason,
            f"{_said(decision)}; no gateway has reported yet whether requests are offloaded",
        )
    leaves = any(each.overflowed for each in decision.learned.recent)
    return str(leaves), decision.reason, _said(decision) + ("" if leaves else "; no recent request was above it")


def _said(decision: Decision) -> str:
    would = f"dry run, would offload {decision.percentage}%: " if decision.dry and decision.percentage else ""
    return f"{would or ('dry run: ' if decision.dry else '')}{decision.message}"


def _available(metrics: Sequence[Assessed | Unread]) -> tuple[str, Reason, str]:
    unread = [each for each in metrics if isinstance(each, Unread)]
    if not metrics:
        return "False", Reason.NO_METRICS, "no metric is given"
    if not unread:
        return "True", Reason.METRICS_READ, f"{len(metrics)} of {len(metrics)} metrics are read"
    why = "; ".join(each.missing.message for each in unread)
    message = f"{len(unread)} of {len(metrics)} metrics can't be read: {why}"
    return "False", unread[0].missing.reason, message[:LONGEST_MESSAGE]


def _condition(kind: str, generation: int, state: str, reason: Reason, message: str) -> Json:
    return {
        "type": kind,
        "status": state,
        "reason": reason.value,
        "message": message,
        "observedGeneration": generation,
    }


def _family(metric: MetricSpec) -> Family:
    """Choose the unit of values: powers of two for memory, as the HPA and metrics-server do."""
    match metric:
        case ResourceMetric(name="memory") | ContainerResourceMetric(name="memory"):
            return Family.BINARY
        case _:
            return Family.DECIMAL


def _current(current: Current, family: Family) -> Json:
    """Return the fields that the metric has; quantities are canonical."""
    values: Mapping[str, object] = {
        "value": None if current.value is None else quantity.format_milli(current.value, family),
        "averageValue": None if current.average_value is None else quantity.format_milli(current.average_value, family),
        "averageUtilization": current.average_utilization,
    }
    return {name: value for name, value in values.items() if value is not None}


def _identifier(identifier: SeriesSelector) -> Json:
    selector = {"selector": _selector(identifier.selector)} if identifier.selector else {}
    return {"name": identifier.name, **selector}


def _selector(selector: Selector) -> Json:
    expressions = [
        {"key": each.key, "operator": each.operator.value} | ({"values": list(each.values)} if each.values else {})
        for each in selector.match_expressions
    ]
    labels = {"matchLabels": dict(selector.match_labels)} if selector.match_labels else {}
    return labels | ({"matchExpressions": expressions} if expressions else {})
