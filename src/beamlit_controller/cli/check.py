"""`check`: validate manifests and settings files without running anything."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from beamlit_controller.api import durations, shared_routes, standalone_rules
from beamlit_controller.api import manifests as api_manifests
from beamlit_controller.api import settings as api_settings
from beamlit_controller.api.manifests import Parsed
from beamlit_controller.api.settings import Settings
from beamlit_controller.cli import inputs
from beamlit_controller.cli.inputs import SettingsFile
from beamlit_controller.core import trigger
from beamlit_controller.core.spec import OffloadSpec
from beamlit_controller.standalone.folder import candidates

if TYPE_CHECKING:
    from beamlit_controller.prometheus.source import Span

FINE, COARSE = timedelta(seconds=5), timedelta(minutes=1)
"""Bounds of the time between two samples of a history."""


def check(
    *files: Path,
    settings: SettingsFile = None,
    standalone: bool = False,
    prometheus: str | None = None,
    since: str = "7d",
) -> None:
    """Validate manifests and settings files without running anything. Exit code 1 means mistakes.

    Parameters
    ----------
    files
        Manifests, or directories of manifests. A settings file among them (one that starts with `config:`) is checked, too, and used unless --settings is given.
    settings
        Settings file to check the manifests against.
    standalone
        Also reject what `run` does not support outside a cluster.
    prometheus
        Address of a Prometheus: also reject External metrics that it has never seen, or that could never trigger offloading.
    since
        Length of the time range to look at, such as 24h or 7d.
    """
    texts = {path: inputs.read(path) for path in _expanded(files)}
    if not texts:
        wanted = "expected manifests, folders of them, or settings files"
        inputs.fail(f"{wanted}; got {', '.join(map(str, files)) or 'none'}")
    as_settings = [path for path, text in texts.items() if _is_settings(text)]
    settings = settings or _chosen(as_settings, len(texts))
    against = _Against(_asking(inputs.settings(settings), prometheus), prometheus is not None, since)
    read = standalone_rules.parse if standalone else api_manifests.parse
    parsed = {path: read(text, settings=against.settings) for path, text in texts.items() if path not in as_settings}
    mistakes = 0
    for path, text in texts.items():
        found = _manifests(parsed[path], against) if path in parsed else _settings(text)
        mistakes += len(found.mistakes)
        for line in found.lines:
            print(f"{path}: {line}")
    specs = [spec for each in parsed.values() for spec in each.specs]
    for refused in standalone_rules.shared_listeners(specs, against.settings) if standalone else ():
        mistakes += 1
        print(f"{settings}: {refused}")
    sys.exit(1 if mistakes else 0)


@dataclass(frozen=True, slots=True)
class _Report:
    """The mistakes and notices of a file or a model."""

    mistakes: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """Return the lines to print."""
        return (*self.mistakes, *(f"note: {notice}" for notice in self.notices)) or ("valid",)


@dataclass(frozen=True, slots=True)
class _Against:
    """What manifests are checked against; with `past`, also the history in Prometheus, as far back as `since`."""

    settings: Settings
    past: bool
    since: str


def _chosen(as_settings: Sequence[Path], files: int) -> Path | None:
    """Return the settings file among the files, if there is one."""
    if 1 < len(as_settings) < files:
        inputs.fail(f"--settings: name the one to check against; there are {', '.join(map(str, as_settings))}")
    return as_settings[0] if len(as_settings) == 1 else None


def _asking(settings: Settings, address: str | None) -> Settings:
    """Return settings with the Prometheus to query, so that a PromQL query counts as a metric."""
    if address is None:
        return settings
    from beamlit_controller.rehearsal import simulation  # noqa: PLC0415 - the HTTP client is slow to import

    try:
        return replace(settings, prometheus=simulation.prometheus(settings, address))
    except ValueError as error:
        inputs.fail(f"--prometheus: {error}")


def _settings(text: str) -> _Report:
    given = api_settings.parse(text)
    if not isinstance(given, Settings):
        return _Report(tuple(map(str, given)))
    return _Report(notices=tuple(map(str, shared_routes.notices(given.standalone.shared_listeners))))


def _manifests(parsed: Parsed, against: _Against) -> _Report:
    if not parsed.specs and not parsed.problems:
        return _Report(("expected a ModelDeployment, got nothing",))
    triggers = [_triggers(spec, against) for spec in parsed.specs]
    return _Report(
        (*map(str, parsed.problems), *(each for found in triggers for each in found.mistakes)),
        (*map(str, parsed.notices), *(each for found in triggers for each in found.notices)),
    )


def _triggers(spec: OffloadSpec, against: _Against) -> _Report:
    """Return triggers that can never fire and, with a Prometheus, those that never would have."""
    impossible = trigger.out_of_reach(spec)
    if impossible is not None:
        return _Report((f"{spec.key}: {impossible}",))
    if not against.past or against.settings.prometheus is None:
        return _Report()
    from beamlit_controller.rehearsal import reachability  # noqa: PLC0415 - the HTTP client is slow to import

    try:
        found = asyncio.run(reachability.look(spec, against.settings.prometheus, _span(spec, against.since)))
    except ValueError as error:
        return _Report((str(error),))
    return _Report(
        tuple(f"{spec.key}: {each}" for each in found.mistakes), tuple(f"{spec.key}: {each}" for each in found.notices)
    )


def _span(spec: OffloadSpec, since: str) -> "Span":
    """Return a time range whose steps are fine enough to detect a metric over its target for a full window. Raises ValueError."""
    from beamlit_controller.rehearsal import simulation  # noqa: PLC0415 - the HTTP client is slow to import

    window = spec.behavior.engage.stabilization_window or COARSE
    return simulation.span(durations.read(since, "--since"), None, min(max(window, FINE), COARSE))


def _expanded(paths: Sequence[Path]) -> list[Path]:
    """Return the files, and for a directory the manifests in it."""
    return [file for path in paths for file in (_listed(path) if path.is_dir() else [path])]


def _listed(folder: Path) -> list[Path]:
    try:
        return candidates(folder)
    except OSError as error:
        inputs.fail(f"{folder}: {error.strerror}")


def _is_settings(text: str) -> bool:
    return any(line.startswith("config:") for line in text.splitlines())
