"""Decisions remembered in files, one a model, so that a restarted controller goes on where it stopped."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pydantic
import structlog

from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.spec import ModelKey

log = structlog.get_logger()

_DECISION = pydantic.TypeAdapter(Decision)


class DecisionFiles:
    """A `Memory`, and the `Sink` that fills it. A file is written only when the decision changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: dict[ModelKey, object] = {}

    def keep_only(self, keys: Collection[ModelKey]) -> None:
        """Remove what is recorded of other models: they went while nobody was looking."""
        known = {self._path(key) for key in keys}
        for path in self._folder.glob("*.json"):
            if path not in known:
                path.unlink()

    def recall(self, key: ModelKey) -> Decision | None:
        """Give the recorded decision; a file that can't be understood is none, and is said so."""
        try:
            return _DECISION.validate_json(self._path(key).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, pydantic.ValidationError) as error:
            log.warning("recorded decision unreadable", model=str(key), error=str(error))
            return None

    def record(self, cycle: Cycle) -> None:
        """Write the decision if it says anything new."""
        key, lasting = cycle.spec.key, _lasting(cycle.decision)
        if self._written.get(key) == lasting:
            return
        path = self._path(key)
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".new")
        temporary.write_bytes(_DECISION.dump_json(cycle.decision))
        temporary.replace(path)
        self._written[key] = lasting

    def failed(self, key: ModelKey, error: Exception) -> None:
        """Keep what is recorded."""

    def forget(self, key: ModelKey) -> None:
        """Remove the model's file."""
        self._written.pop(key, None)
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: ModelKey) -> Path:
        return self._folder / f"{key.namespace}.{key.name}.json"


def _lasting(decision: Decision) -> object:
    """Leave out what changes from round to round and is of little use after a restart; of a metric, that it was read and reached."""
    seen = decision.sight.metrics if decision.sight else ()
    reached = [(metric.name, metric.highest is not None, (metric.highest or 0) > 1) for metric in seen]
    return replace(decision, message="", demand=None, trend=None, sight=None), reached
