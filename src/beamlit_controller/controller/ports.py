"""The interfaces between the control loop and the packages that read, store and push. `wiring` connects them.

To add a metric source, implement `Source` and list it in `wiring.common.sources`; to add an output of every round, implement `Sink`.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.ledger import UsageReading
from beamlit_controller.core.metric_spec import MetricSpec
from beamlit_controller.core.signals import LocalHealth, Missing, Pod, Reading, Scale
from beamlit_controller.core.spec import ModelKey, OffloadSpec


class Clock(Protocol):
    """The time as an aware datetime. It goes back only when the wall clock was set back (`controller.clock`)."""

    def now(self) -> datetime:
        """Return the current time."""
        ...


class SteadyClock(Clock, Protocol):
    """A clock that advances with the event loop's, except when it is set."""

    @property
    def origin(self) -> datetime:
        """Return the time at 0 of the event loop's clock, as of the last `now()`. Only a clock that is set changes it."""
        ...


class Provider(Protocol):
    """Provides specs, from a folder or from the API server."""

    def specs(self) -> AsyncIterator[Mapping[ModelKey, OffloadSpec]]:
        """Yield all valid specs, now and after each change."""
        ...


class Source(Protocol):
    """Reads one kind of metric."""

    async def read(self, spec: OffloadSpec, metric: MetricSpec, *, at: datetime) -> Reading:
        """Read the metric. An error is returned as `Missing`, not raised. All reads of a round get the same `at`."""
        ...


@dataclass(frozen=True, slots=True)
class WorkloadSnapshot:
    """A model's servers: pods, replicas, and how many are ready. What can't be read is Missing."""

    pods: tuple[Pod, ...] | Missing
    scale: Scale | Missing
    local: LocalHealth


class Inventory(Protocol):
    """Finds a model's servers."""

    async def snapshot_of(self, spec: OffloadSpec) -> WorkloadSnapshot:
        """Return the model's pods and replicas."""
        ...


class Flows(Protocol):
    """Provides the gateways' counts of a model's requests."""

    def flow(self, spec: OffloadSpec) -> Flow | Missing:
        """Return the requests since the last call. Returns immediately, and never raises."""
        ...


class UsageCounts(Protocol):
    """Provides the gateways' counts of the usage of a model's remotes."""

    def usage(self, key: ModelKey) -> UsageReading:
        """Return the new counts for the ledger. Returns immediately, and never raises."""
        ...


class Memory(Protocol):
    """The decisions recorded by an earlier process."""

    def recall(self, key: ModelKey) -> Decision | None:
        """Return the last recorded decision of a model, to continue from."""
        ...


class Sink(Protocol):
    """An output of every round: RTDS server, logs, metrics, status, state folder."""

    def record(self, cycle: Cycle) -> None:
        """Handle a round. Returns immediately; slow work belongs in a task of the sink."""
        ...

    def failed(self, key: ModelKey, error: Exception) -> None:
        """Handle a round that ended in an unexpected error; the percentage stays."""
        ...

    def forget(self, key: ModelKey) -> None:
        """Handle the removal of a model."""
        ...
