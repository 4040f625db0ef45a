"""Keeps the request counters of every model's gateways, for decisions (`flow`) and for display (`minute`)."""

from collections.abc import Mapping
from datetime import datetime

from beamlit_controller.controller.ports import SteadyClock
from beamlit_controller.core import gateway_metric, traffic
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.metric_spec import GatewayFigure
from beamlit_controller.core.signals import Missing, Sample
from beamlit_controller.core.spec import ModelKey, OffloadSpec
from beamlit_controller.core.traffic import Meter, Minute, RequestCounters


class Meters:
    """Implements `Flows`; also a `Sink`, to drop models that are removed."""

    def __init__(self, clock: SteadyClock) -> None:
        self._clock = clock
        self._origin = clock.origin
        self._meters: dict[ModelKey, Meter] = {}
        self._reported_until: dict[ModelKey, datetime] = {}

    def feed(self, key: ModelKey, answers: Mapping[str, RequestCounters | None]) -> None:
        """Record the current counters of all gateways of a model; None for one that does not answer."""
        now = self._now()
        self._meters[key] = traffic.fed(self._meters.get(key, Meter()), answers, now)

    def flow(self, spec: OffloadSpec) -> Flow | Missing:
        """Return the requests since the last call for this model."""
        now, by_cap = self._now(), traffic.leaves_by_cap(spec, None, "")
        meter, since = self._meters.get(spec.key, Meter()), self._reported_until.get(spec.key)
        seen = traffic.flow(meter, since, now, by_cap=by_cap)
        if isinstance(seen, Flow):
            self._reported_until[spec.key] = seen.until
        return seen

    def minute(self, key: ModelKey) -> Minute | None:
        """Return the requests of the last minute, if known."""
        now = self._now()
        return traffic.minute(self._meters.get(key, Meter()), now)

    def sample(self, key: ModelKey, figure: GatewayFigure) -> Sample | Missing:
        """Return a metric measured by a model's gateways."""
        now = self._now()
        return gateway_metric.sample(self._meters.get(key, Meter()), figure, now)

    def record(self, cycle: Cycle) -> None:
        """Ignore rounds."""

    def failed(self, key: ModelKey, error: Exception) -> None:
        """Ignore failed rounds."""

    def forget(self, key: ModelKey) -> None:
        """Drop the counters of a removed model."""
        self._meters.pop(key, None)
        self._reported_until.pop(key, None)

    def _now(self) -> datetime:
        """Return the time. If the clock was set, the times of what is kept are shifted, so that rates stay right."""
        now, step = self._clock.now(), self._clock.origin - self._origin
        if step:
            self._origin += step
            self._meters = {key: traffic.shifted(meter, step) for key, meter in self._meters.items()}
            self._reported_until = {key: at + step for key, at in self._reported_until.items()}
        return now
