"""What each metric source can read. Wiring puts these beside the sources, and validation asks the same functions.

The first source that can read a metric does.
"""

from collections.abc import Callable

from beamlit_controller.core.metric_spec import ExternalMetric, GatewayMetric, MetricSpec, PodsMetric
from beamlit_controller.core.spec import OffloadSpec

Readable = Callable[[OffloadSpec, MetricSpec], bool]
"""Tells whether a source can read a metric of a model."""


def from_servers(spec: OffloadSpec, metric: MetricSpec) -> bool:
    """Pods metrics of a model with `metricServiceRef`."""
    return isinstance(metric, PodsMetric) and spec.metric_service is not None


def from_gateways(spec: OffloadSpec, metric: MetricSpec) -> bool:  # noqa: ARG001 - one signature for all
    """Gateway metrics, in both modes."""
    return isinstance(metric, GatewayMetric)


def from_prometheus(spec: OffloadSpec, metric: MetricSpec) -> bool:  # noqa: ARG001 - one signature for all
    """External metrics, where Prometheus is configured."""
    return isinstance(metric, ExternalMetric)


def from_metrics_apis(spec: OffloadSpec, metric: MetricSpec) -> bool:  # noqa: ARG001 - one signature for all
    """Every type of autoscaling/v2, in a cluster."""
    return not isinstance(metric, GatewayMetric)


def standalone(*, prometheus: bool) -> tuple[Readable, ...]:
    """Return what can be read without a cluster."""
    return (from_servers, from_gateways, *((from_prometheus,) if prometheus else ()))
