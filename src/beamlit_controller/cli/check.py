"""`check`: validate manifests and settings files without running anything."""

import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from beamlit_controller.api import durations, shared_routes, standalone_rules
from beamlit_controller.api import manifests as api_manifests
from beamlit_controller.api import settings as api_settings
from beamlit_controller.api.manifests import Parsed
from beamlit_controller.api.remote import RemoteBackendConfig
from beamlit_controller.api.settings import GatewayBounds, PrometheusSettings, Settings
from beamlit_controller.cli import inputs
from beamlit_controller.cli.inputs import SettingsFile
from beamlit_controller.core import trigger
from beamlit_controller.core.spec import OffloadSpec
from beamlit_controller.standalone import merging
from beamlit_controller.standalone.folder import SUFFIXES, candidates
from beamlit_controller.standalone.merging import File

if TYPE_CHECKING:
    from beamlit_controller.prometheus.source import Span

FINE, COARSE = timedelta(seconds=5), timedelta(minutes=1)
"""Bounds of the time between two samples of a history."""
_LONG = 16 * 1024


def check(
    *files: Path,
    settings: SettingsFile = None,
    standalone: bool = False,
    prometheus: str | None = None,
    since: str = "7d",
) -> None:
    """Validate manifests and settings files without running anything. Exits with 1 if there are errors.

    Parameters
    ----------
    files
        Manifests, or directories of manifests. A settings file among them (one that starts with `config:`) is validated, too, and the manifests are checked against it unless --settings is given.
    settings
        Settings file to check the manifests against.
    standalone
        Also reject what `run` does not support outside a cluster.
    prometheus
        Address of a Prometheus: also reject External metrics that it has never seen, or that could never trigger offloading.
    since
        Length of the time range to look at, such as 24h or 7d.
    """
    sources = {path: _content(path) for path in _expanded(files)}
    if not sources:
        inputs.fail("expected manifests, folders of them, or settings files; got none")
    texts = {path: content for path, content in sources.items() if isinstance(content, str)}
    as_settings = [path for path, text in texts.items() if _is_settings(text)]
    chosen = settings or _chosen(as_settings, len(texts))
    given = _chosen_settings(chosen)
    against = _Against(_asking(_or_permissive(given), prometheus), prometheus is not None, since)
    read = standalone_rules.parse if standalone and isinstance(given, Settings) else api_manifests.parse
    parsed = {path: read(text, settings=against.settings) for path, text in texts.items() if path not in as_settings}
    reports = {path: content for path, content in sources.items() if isinstance(content, _Report)}
    reports |= {path: _settings(texts[path]) for path in as_settings}
    reports |= {path: _manifests(each, against) for path, each in parsed.items()}
    if chosen is not None and isinstance(given, _Report):
        reports[chosen] = given if parsed else replace(given, notices=())
    if not standalone:
        reports |= {path: reports[path].plus(*_oversized(each.specs, texts[path])) for path, each in parsed.items()}
    else:
        reports = _together(reports, parsed, against.settings, chosen)
    for path in dict.fromkeys((*sources, *reports)):
        for line in reports[path].lines:
            inputs.say(f"{path}: {line}")
    sys.exit(1 if any(report.mistakes for report in reports.values()) else 0)


@dataclass(frozen=True, slots=True)
class _Report:
    """The mistakes and notices of a file or a model."""

    mistakes: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """Return the lines to print."""
        return (*self.mistakes, *(f"note: {notice}" for notice in self.notices)) or ("valid",)

    def plus(self, *mistakes: str) -> "_Report":
        """Return the report with more mistakes."""
        return replace(self, mistakes=(*self.mistakes, *mistakes))


@dataclass(frozen=True, slots=True)
class _Against:
    """What manifests are checked against; with `past`, also the history in Prometheus, as far back as `since`."""

    settings: Settings
    past: bool
    since: str


def _chosen(as_settings: Sequence[Path], files: int) -> Path | None:
    """Return the settings file among the files, if there is one."""
    if 1 < len(as_settings) < files:
        inputs.fail(
            f"--settings: several settings files were given; name the one to check against: {', '.join(map(str, as_settings))}"
        )
    return as_settings[0] if len(as_settings) == 1 else None


def _chosen_settings(path: Path | None) -> "Settings | _Report":
    """Return the settings to check against, or their mistakes."""
    if path is None:
        return Settings()
    content = _text(path)
    if isinstance(content, _Report):
        return content
    given = api_settings.parse(content)
    if isinstance(given, Settings):
        return given
    return _Report(tuple(map(str, given)), ("the manifests were checked without these settings",))


def _or_permissive(given: "Settings | _Report") -> Settings:
    """Return the settings; if they have mistakes, some that reject nothing that valid ones may allow."""
    if isinstance(given, Settings):
        return given
    return Settings(
        prometheus=PrometheusSettings("http://unknown.invalid"),
        default_remotes=(RemoteBackendConfig(host="unknown.invalid"),),
        allowed_remote_hosts=("*", "localhost", "127.0.0.1", "::1"),
        gateways=GatewayBounds(images=("*",), replicas=None, resources=None),
    )


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
    notices = (*given.notices, *shared_routes.notices(given.standalone.shared_listeners))
    return _Report(notices=tuple(map(str, notices)))


def _manifests(parsed: Parsed, against: _Against) -> _Report:
    if not parsed.specs and not parsed.problems:
        return _Report(("expected a ModelDeployment, got nothing",))
    triggers = [_triggers(spec, against) for spec in parsed.specs]
    return _Report(
        (*map(str, parsed.problems), *(each for found in triggers for each in found.mistakes)),
        (*map(str, parsed.notices), *(each for found in triggers for each in found.notices)),
    )


def _oversized(specs: Sequence[OffloadSpec], text: str) -> Iterator[str]:
    """Yield the models whose gateway's files are too large for a cluster. No short manifest can have such a model."""
    if len(text) < _LONG:
        return
    from beamlit_controller.wiring import gateway_files  # noqa: PLC0415 - grpc is slow to import

    for spec in specs:
        if found := gateway_files.oversized(spec):
            yield f"{spec.key}: {found}"


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


def _together(
    reports: Mapping[Path, _Report], parsed: Mapping[Path, Parsed], settings: Settings, chosen: Path | None
) -> dict[Path, _Report]:
    """Add what `run` rejects because of another model: one of the same name in its folder, or at the same address."""
    told = dict(reports)
    for folder in dict.fromkeys(path.parent for path in parsed):
        read = {
            path.name: {spec.key: spec for spec in each.specs} for path, each in parsed.items() if path.parent == folder
        }
        files = {name: File(read[name]) for name in sorted(read)}
        for name, refused in merging.conflicts(files):
            told[folder / name] = told[folder / name].plus(str(refused))
    models = {spec.key: spec for each in parsed.values() for spec in each.specs}
    refusals = standalone_rules.shared_listeners(tuple(models.values()), settings)
    if chosen is not None and refusals:
        told[chosen] = told.get(chosen, _Report()).plus(*map(str, refusals))
    return told


def _expanded(paths: Sequence[Path]) -> list[Path]:
    """Return the files, and for a folder the manifests in it; a folder without any stands for itself."""
    return [file for path in paths for file in (_listed(path) or [path] if path.is_dir() else [path])]


def _listed(folder: Path) -> list[Path]:
    try:
        return candidates(folder)
    except OSError:
        return []


def _content(path: Path) -> str | _Report:
    """Return the text of a file, or why there is none; of a folder, what it lacks."""
    if path.is_dir() and not candidates(path):
        return _Report((f"holds no manifests: expected files that end with {', '.join(sorted(SUFFIXES))}",))
    return _text(path)


def _text(path: Path) -> str | _Report:
    try:
        return inputs.text(path)
    except OSError as error:
        return _Report((error.strerror or str(error),))
    except UnicodeDecodeError as error:
        return _Report((f"is not UTF-8 text: {error.reason} at byte {error.start}",))


def _is_settings(text: str) -> bool:
    return any(line.startswith("config:") for line in text.splitlines())
