"""The `Sink` that keeps the last `Cycle` of every model for its status. Only the leader decides, so only it has any."""

import asyncio

from beamlit_controller.controller.changes import Changes
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.core.verdict import Assessed
from beamlit_controller.kubernetes.takeover_memory import LastRead


class Rounds:
    """The last cycle of every model; each new one is published as a change of the model."""

    def __init__(self, changes: Changes[ModelKey]) -> None:
        self._changes = changes
        self._cycles: dict[ModelKey, Cycle] = {}
        self._recorded_at: dict[ModelKey, float] = {}

    def record(self, cycle: Cycle) -> None:
        """Keep the cycle."""
        self._cycles[cycle.spec.key] = cycle
        self._recorded_at[cycle.spec.key] = asyncio.get_running_loop().time()
        self._changes.publish(cycle.spec.key)

    def failed(self, key: ModelKey, error: Exception) -> None:
        """Keep the last cycle: the percentage stays."""

    def forget(self, key: ModelKey) -> None:
        """Drop the model."""
        self._cycles.pop(key, None)
        self._recorded_at.pop(key, None)
        self._changes.publish(key)

    def clear(self) -> None:
        """Drop the cycles of an earlier leadership: another leader may have decided since."""
        self._cycles.clear()
        self._recorded_at.clear()

    def last(self, key: ModelKey) -> Cycle | None:
        """Return the last cycle of a model, if there is one."""
        return self._cycles.get(key)

    def last_read(self, key: ModelKey) -> LastRead | None:
        """Return whether any metric of the model could be read in the last round; None if it has no metrics or no cycle."""
        cycle = self._cycles.get(key)
        metrics = cycle.verdict.metrics if cycle else ()
        readable = any(isinstance(each, Assessed) for each in metrics)
        return LastRead(readable, self._recorded_at[key]) if metrics else None
