"""Reads all signals of a model in one round, each metric from its own source, so that none can delay or break another."""

import asyncio
from datetime import datetime, timedelta

from beamlit_controller.controller.deadline import Deadline
from beamlit_controller.controller.ports import Flows, Inventory, Source, UsageCounts, WorkloadSnapshot
from beamlit_controller.core import wording
from beamlit_controller.core.ledger import UsageReading
from beamlit_controller.core.metric_spec import MetricSpec
from beamlit_controller.core.readable import Readable
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import NOT_ASKED, LocalHealth, Missing, Reading, Signals
from beamlit_controller.core.spec import OffloadSpec

Sources = tuple[tuple[Readable, Source], ...]
"""What each source can read, and the source. The first that can read a metric does."""


class Sensor:
    """Reads `Signals`; what can't be read in time is `Missing`."""

    def __init__(
        self,
        *,
        sources: Sources,
        inventory: Inventory,
        flows: Flows | None = None,
        usage: UsageCounts | None = None,
    ) -> None:
        self._sources = sources
        self._inventory = inventory
        self._flows = flows
        self._usage = usage

    async def read(self, spec: OffloadSpec, *, at: datetime, deadline: timedelta) -> Signals:
        """Read all metrics of the spec concurrently."""
        async with asyncio.TaskGroup() as group:
            surveying = group.create_task(self._snapshot(spec, deadline))
            tasks = [group.create_task(self._read(spec, metric, at, deadline)) for metric in spec.metrics]
        population, readings = surveying.result(), tuple(task.result() for task in tasks)
        flow = self._flows.flow(spec) if self._flows is not None else NOT_ASKED
        usage = self._usage.usage(spec.key) if self._usage is not None else UsageReading()
        return Signals(at, readings, population.pods, population.scale, population.local, flow, usage)

    async def _snapshot(self, spec: OffloadSpec, deadline: timedelta) -> WorkloadSnapshot:
        try:
            async with Deadline(deadline.total_seconds()):
                return await self._inventory.snapshot_of(spec)
        except TimeoutError:
            unknown = Missing(
                Reason.TIMED_OUT, f"the model's pods could not be listed within {deadline.total_seconds():g} s"
            )
            return WorkloadSnapshot(unknown, unknown, LocalHealth(0, 0))

    async def _read(self, spec: OffloadSpec, metric: MetricSpec, at: datetime, deadline: timedelta) -> Reading:
        source = next((source for can_read, source in self._sources if can_read(spec, metric)), None)
        if source is None:
            return Missing(Reason.UNSUPPORTED_METRIC, "there is no source for this metric without a cluster")
        try:
            async with Deadline(deadline.total_seconds()):
                return await source.read(spec, metric, at=at)
        except TimeoutError:
            message = f"no answer for {wording.name(metric)} within {deadline.total_seconds():g} s"
            return Missing(Reason.TIMED_OUT, message)
