"""Overrides without a cluster: one file per model in the state folder, written by the command `override`.

They take precedence over a manifest's annotations, expire by themselves, and outlive the controller.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import pydantic
import structlog

from beamlit_controller.api import regular_file
from beamlit_controller.api.problems import Problem
from beamlit_controller.controller.ports import Clock
from beamlit_controller.core.spec import ModelKey, OffloadSpec, Override
from beamlit_controller.standalone import files

log = structlog.get_logger()

KEPT: Final = timedelta(days=7)
"""How long the file of an expired override is kept: a clock that is ahead by less, even for a moment, must not end it for good. Nor may
a clock that is set back bring back an override that nobody remembers, so it is not kept for ever."""
_OVERRIDE = pydantic.TypeAdapter(Override)


class Overrides:
    """The override files. While a file or the folder can't be read, the last values stay in force."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder = folder
        self._clock = clock
        self._last: dict[ModelKey, Override] = {}

    def applied_to(
        self, specs: Mapping[ModelKey, OffloadSpec]
    ) -> tuple[dict[ModelKey, OffloadSpec], tuple[Problem, ...]]:
        """Return the specs with overrides applied, and the files that could not be read."""
        problems: list[Problem] = []
        away = self._unreadable_folder()
        if away:
            problems.append(Problem(str(self.folder), "", away))
        else:
            for key in specs:
                problems += self._read(key)
        self._last = {key: last for key, last in self._last.items() if key in specs and self._lasts(key, last)}
        return {key: self._applied_to(key, spec) for key, spec in specs.items()}, tuple(problems)

    def keep_only(self, keys: Collection[ModelKey]) -> None:
        """Remove the overrides of all other models."""
        known = {path(self.folder, key) for key in keys}
        for each in self.folder.glob("*.json"):
            if each not in known:
                log.info("override removed, its model no longer exists", file=each.name)
                _remove(each)

    def _unreadable_folder(self) -> str:
        """Describe why the folder can't be read; a missing one is normal until `override` was used."""
        try:
            os.listdir(self.folder)  # noqa: PTH208 - its being readable is what counts
        except FileNotFoundError:
            return "the folder is gone; the overrides stay in force" if self._last else ""
        except OSError as error:
            return f"the folder can't be read: {error.strerror or error}; its last content stays in force"
        return ""

    def _read(self, key: ModelKey) -> Iterator[Problem]:
        file = path(self.folder, key)
        try:
            self._last[key] = _understood(regular_file.read(file))
        except FileNotFoundError:
            self._last.pop(key, None)
        except (OSError, ValueError, OverflowError) as error:
            why = (
                error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())[:200]
            )
            yield Problem(file.name, "", f"override of {key} can't be read: {why}")

    def _lasts(self, key: ModelKey, override: Override) -> bool:
        """Return whether an override is still in force; the file of one that expired long ago is removed."""
        now = self._clock.now()
        if override.until is None or override.until > now:
            return True
        if now - override.until > KEPT:
            _remove(path(self.folder, key))
        return False

    def _applied_to(self, key: ModelKey, spec: OffloadSpec) -> OffloadSpec:
        return replace(spec, override=self._last[key]) if key in self._last else spec


def put(folder: Path, key: ModelKey, override: Override | None) -> None:
    """Set or clear an override. Raises OSError."""
    if override is None:
        path(folder, key).unlink(missing_ok=True)
        return
    folder.mkdir(exist_ok=True)
    files.replace(path(folder, key), _OVERRIDE.dump_json(override))


def path(folder: Path, key: ModelKey) -> Path:
    """Return the file of a model's override."""
    return folder / f"{key.namespace}.{key.name}.json"


def _understood(content: bytes) -> Override:
    override = _OVERRIDE.validate_json(content)
    if not 0 <= override.percentage <= 100:  # noqa: PLR2004 - percent
        raise ValueError(f"expected a percentage from 0 to 100, got {override.percentage}")
    if override.until is not None and override.until.tzinfo is None:
        raise ValueError(f"expected an end with its offset from UTC, got {override.until}")
    return override


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        log.warning("override can't be removed", file=str(file), error=str(error))
