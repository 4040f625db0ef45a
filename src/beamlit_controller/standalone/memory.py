"""Decisions remembered in files, one a model, so that a restarted controller goes on where it stopped."""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pydantic
import structlog

from beamlit_controller.core import decision
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.spec import ModelKey

log = structlog.get_logger()

STEPS = 20
"""A highest ratio is written again when it has grown by so small a part of the target."""
EVERY = timedelta(minutes=1)
"""But not more often than this."""

_DECISION = pydantic.TypeAdapter(Decision)


@dataclass(frozen=True, slots=True)
class _Written:
    """What a file says, as far as it matters for whether to write again, and when it was written."""

    lasting: Decision
    highest: tuple[int | None, ...]
    at: datetime


class DecisionFiles:
    """A `Memory`, and the `Sink` that fills it. A file is written only when the decision changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: dict[ModelKey, _Written] = {}

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
        key, decided = cycle.spec.key, cycle.decision
        lasting, highest = _lasting(decided), _highest(decided)
        before = self._written.get(key)
        if before is not None and before.lasting == lasting:
            waits = cycle.at - before.at < EVERY
            if waits or before.highest == highest:
                return
        self._folder.mkdir(parents=True, exist_ok=True)
        _write(self._path(key), decided)
        self._written[key] = _Written(lasting, highest, cycle.at)

    def rest(self, now: datetime) -> None:
        """Let the next controller begin anew, the gateways being gone, and keep only what people ask for: the history."""
        for path in self._folder.glob("*.json"):
            with suppress(OSError, pydantic.ValidationError):
                last = _DECISION.validate_json(path.read_bytes())
                if last.history:
                    _write(path, decision.rested(last, now))
                else:
                    path.unlink()

    def failed(self, key: ModelKey, error: Exception) -> None:
        """Keep what is recorded."""

    def forget(self, key: ModelKey) -> None:
        """Remove the model's file."""
        self._written.pop(key, None)
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: ModelKey) -> Path:
        return self._folder / f"{key.namespace}.{key.name}.json"


def _write(path: Path, decided: Decision) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_bytes(_DECISION.dump_json(decided))
    temporary.replace(path)


def _lasting(decided: Decision) -> Decision:
    """Leave out what changes from round to round and is of little use after a restart."""
    return replace(decided, message="", demand=None, trend=None, sight=None)


def _highest(decided: Decision) -> tuple[int | None, ...]:
    """Give the highest ratios without their last digits."""
    seen = decided.sight.metrics if decided.sight else ()
    return tuple(None if each.highest is None else int(each.highest * STEPS) for each in seen)
