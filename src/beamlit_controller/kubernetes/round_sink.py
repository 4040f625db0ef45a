"""The sink that keeps the last round of every model, for its status. Only the leader decides, so only it has any."""

from beamlit_controller.controller.changes import Changes
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.core.verdict import Assessed


class Rounds:
    """The last round of every model; each is a change of the model."""

    def __init__(self, changes: Changes[ModelKey]) -> None:
        self._changes = changes
        self._cycles: dict[ModelKey, Cycle] = {}

    def record(self, cycle: Cycle) -> None:
        """Keep the round."""
        self._cycles[cycle.spec.key] = cycle
        self._changes.publish(cycle.spec.key)

    def failed(self, key: ModelKey, error: Exception) -> None:
        """Keep the last round: the share stays."""

    def forget(self, key: ModelKey) -> None:
        """Drop the model."""
        self._cycles.pop(key, None)
        self._changes.publish(key)

    def clear(self) -> None:
        """Forget what was decided in an earlier time of leading: another may have decided since."""
        self._cycles.clear()

    def last(self, key: ModelKey) -> Cycle | None:
        """Give the last round of a model, if there was one."""
        return self._cycles.get(key)

    def readable(self, key: ModelKey) -> bool | None:
        """Tell whether any metric of the model could be read last; None if none has been asked for."""
        cycle = self._cycles.get(key)
        metrics = cycle.verdict.metrics if cycle else ()
        return any(isinstance(each, Assessed) for each in metrics) if metrics else None
