"""What the gateways of every model counted, kept for the decisions and for people."""

from collections.abc import Mapping
from datetime import datetime

from beamlit_controller.controller.ports import Clock
from beamlit_controller.core import traffic
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.signals import Missing
from beamlit_controller.core.spec import ModelKey, OffloadSpec
from beamlit_controller.core.traffic import Counted, Meter, Minute


class Meters:
    """A `Flows` of what gateways are heard to say; also a `Sink`, to hear which models are gone."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._meters: dict[ModelKey, Meter] = {}
        self._told: dict[ModelKey, datetime] = {}

    def feed(self, key: ModelKey, answers: Mapping[str, Counted | None]) -> None:
        """Take note of what every gateway of a model says now, None of one that does not answer."""
        self._meters[key] = traffic.fed(self._meters.get(key, Meter()), answers, self._clock.now())

    def flow(self, spec: OffloadSpec) -> Flow | Missing:
        """Give what the gateways saw of the model's requests since they were asked about last."""
        meter, by_cap = self._meters.get(spec.key, Meter()), traffic.leaves_by_cap(spec, None, "")
        seen = traffic.flow(meter, self._told.get(spec.key), self._clock.now(), by_cap=by_cap)
        if isinstance(seen, Flow):
            self._told[spec.key] = seen.until
        return seen

    def minute(self, key: ModelKey) -> Minute | None:
        """Give what came of the model's requests in the last minute, if that is known."""
        return traffic.minute(self._meters.get(key, Meter()), self._clock.now())

    def record(self, cycle: Cycle) -> None:
        """Learn nothing from a round."""

    def failed(self, key: ModelKey, error: Exception) -> None:
        """Learn nothing from a round."""

    def forget(self, key: ModelKey) -> None:
        """Drop what was counted of a model that is gone."""
        self._meters.pop(key, None)
        self._told.pop(key, None)
