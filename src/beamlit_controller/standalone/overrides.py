"""Percentages set by hand where there is no cluster: a file for each model in the state folder, which `override` writes.

They go before the annotations of a manifest, end by themselves, and outlive the controller.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pydantic
import structlog

from beamlit_controller.core.spec import ModelKey, OffloadSpec, Override

log = structlog.get_logger()

_OVERRIDE = pydantic.TypeAdapter(Override)


@dataclass(frozen=True, slots=True)
class Overrides:
    """The files."""

    folder: Path

    def put(self, key: ModelKey, override: Override | None) -> None:
        """Set a percentage, or take it away. Raises OSError."""
        path = self._path(key)
        if override is None:
            path.unlink(missing_ok=True)
            return
        self.folder.mkdir(exist_ok=True)
        temporary = path.with_suffix(".new")
        temporary.write_bytes(_OVERRIDE.dump_json(override))
        temporary.replace(path)

    def over(self, specs: Mapping[ModelKey, OffloadSpec]) -> dict[ModelKey, OffloadSpec]:
        """Give the specs with what was set by hand."""
        return {key: self._over(key, spec) for key, spec in specs.items()}

    def keep_only(self, keys: Collection[ModelKey]) -> None:
        """Remove those of other models."""
        known = {self._path(key) for key in keys}
        for path in self.folder.glob("*.json"):
            if path not in known:
                log.info("override removed: there is no such model any more", file=path.name)
                path.unlink(missing_ok=True)

    def _over(self, key: ModelKey, spec: OffloadSpec) -> OffloadSpec:
        try:
            override = self._read(key)
        except FileNotFoundError:
            return spec
        except (OSError, ValueError) as error:
            log.warning("override unreadable", model=str(key), error=str(error))
            return spec
        if override.until is not None and override.until <= datetime.now(UTC):
            self._path(key).unlink(missing_ok=True)
            return spec
        return replace(spec, override=override)

    def _read(self, key: ModelKey) -> Override:
        override = _OVERRIDE.validate_json(self._path(key).read_bytes())
        if not 0 <= override.percentage <= 100:  # noqa: PLR2004 - percent
            raise ValueError(f"expected a percentage from 0 to 100, got {override.percentage}")
        if override.until is not None and override.until.tzinfo is None:
            raise ValueError(f"expected an end with its offset from UTC, got {override.until}")
        return override

    def _path(self, key: ModelKey) -> Path:
        return self.folder / f"{key.namespace}.{key.name}.json"
