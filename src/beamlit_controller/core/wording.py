"""Formats values and targets for people: `vllm:num_requests_waiting 12.5 per pod > 4`."""

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

from beamlit_controller.core.metric_spec import (
    AverageValue,
    ContainerResourceMetric,
    ExternalMetric,
    GatewayMetric,
    MetricSpec,
    ObjectMetric,
    PodsMetric,
    Quantile,
    ResourceMetric,
    Target,
    Utilization,
    Value,
)
from beamlit_controller.core.verdict import Assessed, Unread


def name(metric: MetricSpec) -> str:
    """Return the name of a metric as users know it."""
    match metric:
        case ResourceMetric():
            return metric.name
        case ContainerResourceMetric():
            return f"{metric.name} of container {metric.container}"
        case PodsMetric(quantile=Quantile(milli)):
            return f"p{thousandths(100 * milli)} of {metric.metric.name}"
        case PodsMetric() | ExternalMetric():
            return metric.metric.name
        case GatewayMetric():
            return metric.name.value
        case ObjectMetric():
            return f"{metric.metric.name} of {metric.described_object.kind}/{metric.described_object.name}"


def target(wanted: Target) -> str:
    """Format a target: `50%`, or `4`."""
    match wanted:
        case Utilization(percent):
            return f"{percent}%"
        case AverageValue(milli) | Value(milli):
            return thousandths(milli)


def current(metric: Assessed) -> str:
    """Format the current value, in the target's unit."""
    match metric.metric.target:
        case Utilization():
            return f"{metric.current.average_utilization}%"
        case AverageValue():
            return thousandths(metric.current.average_value or 0)
        case Value():
            return thousandths(metric.current.value or 0)


def comparison(metric: Assessed) -> str:
    """Format the value with its target: `cpu 71% > 50%`."""
    sign = ">" if metric.ratio > 1 else "<=" if metric.ratio < 1 else "="
    unit = " per pod" if isinstance(metric.metric.target, AverageValue) else ""
    return f"{name(metric.metric)} {current(metric)}{unit} {sign} {target(metric.metric.target)}"


def readings(metrics: tuple[Assessed | Unread, ...]) -> str:
    """Format all values with their targets, or why there are none."""
    return "; ".join(comparison(each) if isinstance(each, Assessed) else loss(each) for each in metrics)


def loss(metric: Unread) -> str:
    """Format why a metric has no value."""
    return f"{name(metric.metric)}: {metric.missing.message}"


def thousandths(milli: int) -> str:
    """Format thousandths as a plain decimal: 12500 is `12.5`."""
    return f"{Decimal(milli) / 1000:f}"


def percent(ratio: Fraction) -> str:
    """Format a ratio as whole percent: 3/2 is `150%`."""
    return f"{round(ratio * 100)}%"


def seconds(span: timedelta) -> str:
    """Format a time span in whole seconds, rounded up: `38 s`."""
    return f"{-(-span // timedelta(seconds=1))} s"


def lasting(span: timedelta) -> str:
    """Format a time span in its two largest units: `38 s`, `3 min 20 s`, `10 h 10 min`."""
    left, said = -(-span // timedelta(seconds=1)), []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        said.append(f"{count} {unit}" if count else "")
    first = next((index for index, each in enumerate(said) if each), len(said) - 1)
    return " ".join(filter(None, said[first : first + 2])) or "0 s"
