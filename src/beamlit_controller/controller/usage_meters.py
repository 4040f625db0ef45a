"""Keeps the gateways' usage counters of every model's remotes until a round adds them to the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from beamlit_controller.core import traffic
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.ledger import UsageReading
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.core.traffic import RequestCounters
from beamlit_controller.core.usage import Usages


@dataclass(frozen=True, slots=True)
class GatewayCounts:
    """The counters of one gateway since its start."""

    remotes: Usages
    requests: RequestCounters


@dataclass(slots=True)
class _Unentered:
    """Counts that no round has added yet, and the local requests counted so far."""

    readings: dict[str, Usages] = field(default_factory=dict)
    requests: dict[str, RequestCounters] = field(default_factory=dict)
    local: int = 0


class UsageMeters:
    """Implements `UsageCounts`; also a `Sink`, to drop models that are removed."""

    def __init__(self) -> None:
        self._models: dict[ModelKey, _Unentered] = {}

    def feed(self, key: ModelKey, answers: Mapping[str, GatewayCounts | None]) -> None:
        """Record the counters of a model's gateways, by name; None for one that did not answer.

        Gateways that are not named are gone; the usage that they reported last stays valid.
        """
        known = self._models.setdefault(key, _Unentered())
        for gateway, counts in answers.items():
            if counts is not None:
                known.readings[gateway] = counts.remotes
                new = traffic.fresh(known.requests.get(gateway, counts.requests), counts.requests)
                known.local += max(0, new.local - new.kept)
                known.requests[gateway] = counts.requests
        known.requests = {gateway: last for gateway, last in known.requests.items() if gateway in answers}

    def usage(self, key: ModelKey) -> UsageReading:
        """Return the new counts; they are returned only once."""
        known = self._models.get(key)
        if known is None:
            return UsageReading()
        readings, local = known.readings, known.local
        known.readings, known.local = {}, 0
        return UsageReading(readings, local)

    def record(self, cycle: Cycle) -> None:
        """Ignore rounds."""

    def failed(self, key: ModelKey, error: Exception) -> None:
        """Ignore failed rounds: counters are cumulative, so the next reading includes everything."""

    def forget(self, key: ModelKey) -> None:
        """Drop the counts of a removed model."""
        self._models.pop(key, None)
