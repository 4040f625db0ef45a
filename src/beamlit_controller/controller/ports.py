"""Where the middle meets the edges: what each mode must bring, written by those who need it."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.metric_spec import MetricSpec
from beamlit_controller.core.signals import LocalHealth, Missing, Pod, Reading, Scale
from beamlit_controller.core.spec import ModelKey, OffloadSpec


class Clock(Protocol):
    """The time, as an aware datetime: for timestamps. It goes back only when the wall clock was set back (`controller.clock`)."""

    def now(self) -> datetime:
        """Tell the time."""
        ...


class Provider(Protocol):
    """Where specs come from: a folder, or the cluster."""

    def specs(self) -> AsyncIterator[Mapping[ModelKey, OffloadSpec]]:
        """Give all valid specs, now and again whenever one of them changed."""
        ...


class Source(Protocol):
    """Where one kind of metric is read."""

    async def read(self, spec: OffloadSpec, metric: MetricSpec, *, at: datetime) -> Reading:
        """Read the metric. What goes wrong with a metric is `Missing`; `at` is the same for all reads of a round."""
        ...


@dataclass(frozen=True, slots=True)
class WorkloadSnapshot:
    """The servers behind a model: pods, replicas, and how many are ready. What can't be told is Missing."""

    pods: tuple[Pod, ...] | Missing
    scale: Scale | Missing
    local: LocalHealth


class Inventory(Protocol):
    """Who the local servers are."""

    async def snapshot_of(self, spec: OffloadSpec) -> WorkloadSnapshot:
        """Tell the model's pods and replicas."""
        ...


class Flows(Protocol):
    """Who knows what the gateways saw of a model's requests."""

    def flow(self, spec: OffloadSpec) -> Flow | Missing:
        """Tell what they saw since this was last asked. Returns at once, and never raises."""
        ...


class Memory(Protocol):
    """What was decided before this process began."""

    def recall(self, key: ModelKey) -> Decision | None:
        """Give the last recorded decision, to go on from."""
        ...


class Sink(Protocol):
    """Who is told of every round: the gateway's share, logs, metrics, status, state."""

    def record(self, cycle: Cycle) -> None:
        """Take note of a round. Returns at once; what takes time is done in a task of the sink's own."""
        ...

    def failed(self, key: ModelKey, error: Exception) -> None:
        """Take note that a round ended in an error that nobody expected; the last share stays."""
        ...

    def forget(self, key: ModelKey) -> None:
        """Take note that a model is gone."""
        ...
