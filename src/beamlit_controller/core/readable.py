"""Which metrics each metric source can read. `wiring` pairs these predicates with the sources; validation uses the same ones.

The first source that can read a metric reads it.
"""

from collections.abc import Callable

from beamlit_controller.core.metric_spec import ExternalMetric, GatewayMetric, MetricSpec, PodsMetric
from beamlit_controller.core.spec import OffloadSpec

Readable = Callable[[OffloadSpec, MetricSpec], bool]
"""Returns whether a source can read a metric of a model."""


def from_servers(spec: OffloadSpec, metric: MetricSpec) -> bool:
    """Return whether it is a Pods metric of a model with `metricServiceRef`."""
    return isinstance(metric, PodsMetric) and spec.metric_service is not None


def from_gateways(spec: OffloadSpec, metric: MetricSpec) -> bool:  # noqa: ARG001 - one signature for all
    """Return whether it is a Gateway metric."""
    return isinstance(metric, GatewayMetric)


def from_prometheus(spec: OffloadSpec, metric: MetricSpec) -> bool:  # noqa: ARG001 - one signature for all
    """Return whether it is an External metric; for use where Prometheus is configured."""
    return isinstance(metric, ExternalMetric)


def from_metrics_apis(spec: OffloadSpec, metric: MetricSpec) -> bool:  # noqa: ARG001 - one signature for all
    """Return whether it is any type of autoscaling/v2; for use in a cluster."""
    return not isinstance(metric, GatewayMetric)


def standalone(*, prometheus: bool) -> tuple[Readable, ...]:
    """Return the predicates of the sources that exist without a cluster."""
    return (from_servers, from_gateways, *((from_prometheus,) if prometheus else ()))
