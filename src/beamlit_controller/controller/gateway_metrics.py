"""The `Source` of Gateway metrics: it computes them from the request counters that the gateways reported last."""

from datetime import datetime

from beamlit_controller.controller.meters import Meters
from beamlit_controller.core.metric_spec import GatewayMetric, MetricSpec
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing, Reading
from beamlit_controller.core.spec import OffloadSpec


class GatewayMetrics:
    """Reads from `Meters`, so it never waits."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters

    async def read(self, spec: OffloadSpec, metric: MetricSpec, *, at: datetime) -> Reading:  # noqa: ARG002 - as they were counted
        """Return the value over the last seconds."""
        if not isinstance(metric, GatewayMetric):
            return Missing(Reason.UNSUPPORTED_METRIC, "expected a Gateway metric")
        return self._meters.sample(spec.key, metric.name)
