"""Stores decisions in files, one per model, so that a restarted controller continues where it stopped.

A file that can't be written is shown as a problem and retried with the next round; it never ends a round or the
process.
"""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pydantic
import structlog

from beamlit_controller.api.problems import Problem
from beamlit_controller.core import adaptive_state, decision, ledger, load
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.ledger import EMPTY, Ledger
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.standalone import files

log = structlog.get_logger()

STEPS = 20
"""A highest ratio is written again when it has grown by this fraction of the target."""
EVERY = timedelta(minutes=1)
"""Minimum time between such writes."""

_DECISION = pydantic.TypeAdapter(Decision)


@dataclass(frozen=True, slots=True)
class _Written:
    """The significant content of a file, which determines whether to write it again, and when it was written."""

    lasting: Decision
    highest: tuple[int | None, ...]
    ledger: Ledger
    at: datetime


class DecisionFiles:
    """A `Memory`, and the `Sink` that fills it. A file is written only when the decision changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: dict[ModelKey, _Written] = {}
        self._failures: dict[ModelKey, str] = {}
        self._latest: dict[ModelKey, Decision] = {}

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Return the decisions that could not be written."""
        return tuple(
            Problem(str(key), "", f"the decision can't be stored for the next start: {why}")
            for key, why in self._failures.items()
        )

    def keep_only(self, keys: Collection[ModelKey]) -> None:
        """Remove the records of all other models, which were removed while no controller was running."""
        known = {self._path(key) for key in keys}
        for path in self._folder.glob("*.json"):
            if path not in known:
                _remove(path)

    def recall(self, key: ModelKey) -> Decision | None:
        """Return the recorded decision; an invalid file is logged and ignored."""
        try:
            return _DECISION.validate_json(self._path(key).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, pydantic.ValidationError) as error:
            log.warning("recorded decision unreadable", model=str(key), error=str(error))
            return None

    def record(self, cycle: Cycle) -> None:
        """Write the decision if it changed."""
        key, decided = cycle.spec.key, cycle.decision
        self._latest[key] = decided
        lasting, highest = _lasting(decided), _highest(decided)
        before = self._written.get(key)
        if before is not None and before.lasting == lasting:
            waits = timedelta(0) <= cycle.at - before.at < EVERY
            if waits or (before.highest, before.ledger) == (highest, decided.ledger):
                return
        if self._wrote(key, decided):
            self._written[key] = _Written(lasting, highest, decided.ledger, cycle.at)

    def flush(self) -> None:
        """Write all decisions as they are now: the counters from which a ledger follows may begin anew with the next controller."""
        for key, decided in self._latest.items():
            written = self._written.get(key)
            if written is None or written.ledger != decided.ledger:
                self._wrote(key, decided)

    def _wrote(self, key: ModelKey, decided: Decision) -> bool:
        try:
            _write(self._path(key), decided)
        except OSError as error:
            why = error.strerror or str(error)
            if self._failures.get(key) != why:
                log.error("decision can't be written", model=str(key), error=why)  # noqa: TRY400 - the message says all
            self._failures[key] = why
            return False
        if self._failures.pop(key, None):
            log.info("decision written again", model=str(key))
        return True

    def keep_only_history(self, now: datetime) -> None:
        """Reset the record, because the gateways are gone; keep only the history, the observed demand and the ledger."""
        for path in self._folder.glob("*.json"):
            with suppress(OSError, pydantic.ValidationError):
                last = _DECISION.validate_json(path.read_bytes())
                if last.history or last.ledger != EMPTY:
                    _write(path, decision.after_stop(last, now))
                else:
                    path.unlink()

    def failed(self, key: ModelKey, error: Exception) -> None:
        """Keep the record."""

    def forget(self, key: ModelKey) -> None:
        """Remove the model's file."""
        self._latest.pop(key, None)
        self._written.pop(key, None)
        self._failures.pop(key, None)
        _remove(self._path(key))

    def _path(self, key: ModelKey) -> Path:
        return self._folder / f"{key.namespace}.{key.name}.json"


def _write(path: Path, decided: Decision) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, _DECISION.dump_json(replace(decided, load=load.lasting(decided.load), ages=())))


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("recorded decision can't be removed", file=str(path), error=str(error))


def _lasting(decided: Decision) -> Decision:
    """Leave out what changes in every round and is of little use after a restart."""
    return replace(
        decided,
        message="",
        demand=None,
        trend=None,
        sight=None,
        load=load.UNKNOWN,
        ages=(),
        learned=adaptive_state.lasting(decided.learned),
        by_metric=tuple(map(adaptive_state.lasting, decided.by_metric)),
        ledger=ledger.lasting(decided.ledger),
    )


def _highest(decided: Decision) -> tuple[int | None, ...]:
    """Return the highest ratios, rounded."""
    seen = decided.sight.metrics if decided.sight else ()
    return tuple(None if each.highest is None else int(each.highest * STEPS) for each in seen)
