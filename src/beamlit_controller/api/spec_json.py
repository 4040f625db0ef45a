"""Writes an `OffloadSpec` as JSON like its manifest: camelCase, metrics and targets as in autoscaling/v2."""

import functools
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from pydantic.alias_generators import to_camel

from beamlit_controller.core import wording
from beamlit_controller.core.metric_spec import (
    AverageValue,
    ContainerResourceMetric,
    ExternalMetric,
    GatewayMetric,
    MetricSpec,
    ObjectMetric,
    PodsMetric,
    ResourceMetric,
    Selector,
    Utilization,
    Value,
)
from beamlit_controller.core.spec import OffloadSpec, RemoteBackend

TYPES: Mapping[type[object], str] = {
    ResourceMetric: "Resource",
    ContainerResourceMetric: "ContainerResource",
    PodsMetric: "Pods",
    ObjectMetric: "Object",
    ExternalMetric: "External",
    GatewayMetric: "Gateway",
    Utilization: "Utilization",
    AverageValue: "AverageValue",
    Value: "Value",
}
"""The HPA's names of the alternatives."""

DERIVED = frozenset({"waiting", "slots", "first_byte"})
"""Fields that follow from a metric's name, so they are not in manifests."""
USUAL_PORTS = {"http": 80, "https": 443}


def spec(whole: OffloadSpec) -> dict[str, object]:
    """Return a complete spec as JSON."""
    return _fields(whole)


def plain(value: object) -> object:
    """Return a value of the core as JSON: durations in seconds, decimals as text, unions with their `type`."""
    match value:
        case tuple():
            return _pairs(value) if value and all(_is_pair(item) for item in value) else [plain(item) for item in value]
        case Utilization():
            return {"type": "Utilization", "averageUtilization": value.percent}
        case AverageValue() | Value():
            kind = TYPES[type(value)]
            return {"type": kind, kind[0].lower() + kind[1:]: wording.thousandths(value.milli)}
        case _:
            return _fields(value) if is_dataclass(value) else _scalar(value)


def selector(chosen: Selector) -> str:
    """Format a selector as kubectl does: `app=llama,tier in (a,b),!spot`."""
    labels = [f"{key}={value}" for key, value in chosen.match_labels]
    return ",".join([*labels, *(each.text for each in chosen.match_expressions)])


def selector_of(metric: MetricSpec) -> str:
    """Format a metric's selector; "" if it has none."""
    match metric:
        case ResourceMetric() | ContainerResourceMetric() | GatewayMetric():
            return ""
        case PodsMetric() | ObjectMetric() | ExternalMetric():
            return selector(metric.metric.selector)


def address(remote: RemoteBackend) -> str:
    """Return the remote's URL."""
    host = f"[{remote.host}]" if ":" in remote.host else remote.host
    port = "" if remote.port == USUAL_PORTS[remote.scheme] else f":{remote.port}"
    return f"{remote.scheme}://{host}{port}{remote.path_prefix}"


def _fields(value: object) -> dict[str, object]:
    kind = {"type": TYPES[type(value)]} if type(value) in TYPES else {}
    names = _names(type(value))  # type: ignore[arg-type]  # mypy does not see that a class is hashable
    return kind | {said: plain(getattr(value, name)) for name, said in names}


@functools.cache
def _names(kind: type[object]) -> tuple[tuple[str, str], ...]:
    """Return a dataclass's fields with their JSON names; cached, because `/models` needs them a thousand times."""
    if not is_dataclass(kind):
        raise TypeError(f"expected a value of the core, got one of {kind.__name__}")
    return tuple((field.name, to_camel(field.name)) for field in fields(kind) if field.name not in DERIVED)


def _scalar(value: object) -> str | float | bool | None:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case timedelta():
            return value.total_seconds()
        case datetime():
            return value.isoformat()
        case Decimal():
            return str(value)
        case _:
            raise TypeError(f"expected a value of the core, got {value!r}")


def _is_pair(item: object) -> bool:
    return isinstance(item, tuple) and len(item) == 2 and all(isinstance(part, str) for part in item)  # noqa: PLR2004 - two make a pair


def _pairs(items: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return dict(items)
