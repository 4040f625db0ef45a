"""Reads all signals of a model in one round, each metric from its own source, so that none can delay or break another."""

import asyncio
from datetime import datetime, timedelta

from beamlit_controller.controller import containment
from beamlit_controller.controller.containment import Containment, Report
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
    """Reads `Signals`; what can't be read in time, or ends in an unexpected error, is `Missing`. Such errors go to `report`."""

    def __init__(
        self,
        *,
        sources: Sources,
        inventory: Inventory,
        flows: Flows | None = None,
        usage: UsageCounts | None = None,
        report: Report = containment.unreported,
    ) -> None:
        self._sources = sources
        self._inventory = inventory
        self._flows = flows
        self._usage = usage
        self._containment = Containment(report)

    async def read(self, spec: OffloadSpec, *, at: datetime, deadline: timedelta) -> Signals:
        """Read all metrics of the spec concurrently."""
        async with asyncio.TaskGroup() as group:
            surveying = group.create_task(self._contained_snapshot(spec, deadline))
            tasks = [group.create_task(self._contained_read(spec, metric, at, deadline)) for metric in spec.metrics]
        population, readings = surveying.result(), tuple(task.result() for task in tasks)
        flow = self._flows.flow(spec) if self._flows is not None else NOT_ASKED
        usage = self._usage.usage(spec.key) if self._usage is not None else UsageReading()
        return Signals(at, readings, population.pods, population.scale, population.local, flow, usage)

    async def _contained_snapshot(self, spec: OffloadSpec, deadline: timedelta) -> WorkloadSnapshot:
        return await self._containment.run(spec.key, "the model's pods", self._snapshot(spec, deadline), _unknown)

    async def _contained_read(
        self, spec: OffloadSpec, metric: MetricSpec, at: datetime, deadline: timedelta
    ) -> Reading:
        reading = self._read(spec, metric, at, deadline)
        return await self._containment.run(spec.key, wording.name(metric), reading, lambda missing: missing, of=metric)

    async def _snapshot(self, spec: OffloadSpec, deadline: timedelta) -> WorkloadSnapshot:
        try:
            async with Deadline(deadline.total_seconds()):
                return await self._inventory.snapshot_of(spec)
        except TimeoutError:
            message = f"the model's pods could not be listed within {deadline.total_seconds():g} s"
            return _unknown(Missing(Reason.TIMED_OUT, message))

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


def _unknown(why: Missing) -> WorkloadSnapshot:
    return WorkloadSnapshot(why, why, LocalHealth(0, 0))
