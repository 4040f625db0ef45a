"""`check`: what is wrong with manifests and settings files, before anything runs."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from beamlit_controller.api import manifests as api_manifests
from beamlit_controller.api import settings as api_settings
from beamlit_controller.api import spans, standalone_rules
from beamlit_controller.api.manifests import Parsed
from beamlit_controller.api.settings import Settings
from beamlit_controller.cli import inputs
from beamlit_controller.cli.inputs import SettingsFile
from beamlit_controller.core import trigger
from beamlit_controller.core.spec import OffloadSpec
from beamlit_controller.standalone.folder import candidates

FINE, COARSE = timedelta(seconds=5), timedelta(minutes=1)
"""Between two samples of a history that is checked."""


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
        Manifests, or folders of them. A settings file among them (it begins with `config:`) is checked too, and used if --settings is absent.
    settings
        The settings file that the manifests are checked against.
    standalone
        Refuse also what `run` can't do without a cluster.
    prometheus
        The address of a Prometheus: refuse also External metrics that it has never seen, or that could never make a model offload.
    since
        How far back, such as 24h or 7d.
    """
    texts = {path: inputs.read(path) for path in _expanded(files)}
    if not texts:
        inputs.fail(
            "expected manifests, folders of them, or settings files; got " + (", ".join(map(str, files)) or "none")
        )
    as_settings = [path for path, text in texts.items() if _is_settings(text)]
    if settings is None and 1 < len(as_settings) < len(texts):
        inputs.fail(f"--settings: name the one to check against; there are {', '.join(map(str, as_settings))}")
    settings = settings or (as_settings[0] if len(as_settings) == 1 else None)
    chosen = _asking(inputs.settings(settings), prometheus)
    read = standalone_rules.parse if standalone else api_manifests.parse
    mistakes = 0
    specs: list[OffloadSpec] = []
    for path, text in texts.items():
        if path in as_settings:
            found = _check_settings(text)
        else:
            parsed = read(text, settings=chosen)
            found = _check_manifests(parsed, [_triggers(spec, chosen, prometheus, since) for spec in parsed.specs])
            specs += parsed.specs
        mistakes += found.count
        for line in found.lines:
            print(f"{path}: {line}")
    for refused in standalone_rules.shared_listeners(specs, chosen) if standalone else ():
        mistakes += 1
        print(f"{settings}: {refused}")
    sys.exit(1 if mistakes else 0)


class _Found:
    """What is wrong with a file, and what is worth knowing, line by line."""

    def __init__(self, mistakes: list[str], notices: list[str]) -> None:
        self.count = len(mistakes)
        self.lines = [*mistakes, *(f"note: {notice}" for notice in notices)] or ["valid"]


def _check_manifests(parsed: Parsed, triggers: Sequence[tuple[list[str], list[str]]]) -> _Found:
    if not parsed.specs and not parsed.problems:
        return _Found(["expected a ModelDeployment, got nothing"], [])
    mistakes = [*map(str, parsed.problems), *(each for mistakes, _ in triggers for each in mistakes)]
    return _Found(mistakes, [*map(str, parsed.notices), *(each for _, notices in triggers for each in notices)])


def _asking(settings: Settings, address: str | None) -> Settings:
    """Give settings with the Prometheus that is to be asked: a PromQL query is then a metric."""
    if address is None:
        return settings
    from beamlit_controller.cli import simulate  # noqa: PLC0415 - the HTTP client is slow to import

    try:
        return replace(settings, prometheus=simulate.prometheus(settings, address))
    except ValueError as error:
        inputs.fail(f"--prometheus: {error}")


def _triggers(spec: OffloadSpec, settings: Settings, address: str | None, since: str) -> tuple[list[str], list[str]]:
    """Tell mistakes and notices: what can't work whatever the metrics are, and with a Prometheus what can't as they were."""
    impossible = trigger.out_of_reach(spec)
    if impossible is not None or address is None:
        return [f"{spec.key}: {impossible}"] if impossible else [], []
    from beamlit_controller.cli import reach, simulate  # noqa: PLC0415 - the HTTP client is slow to import

    try:
        # As fine as what is looked for: being over the target for as long as the window.
        window = spec.behavior.engage.stabilization_window or COARSE
        span = simulate.span(spans.read(since, "--since"), None, min(max(window, FINE), COARSE))
        found = asyncio.run(reach.look(spec, simulate.prometheus(settings, address), span))
    except ValueError as error:
        return [str(error)], []
    return [f"{spec.key}: {each}" for each in found.mistakes], [f"{spec.key}: {each}" for each in found.notices]


def _check_settings(text: str) -> _Found:
    given = api_settings.parse(text)
    return _Found([] if isinstance(given, Settings) else [str(each) for each in given], [])


def _expanded(paths: Sequence[Path]) -> list[Path]:
    """Give the files, and for a folder the manifests in it."""
    return [file for path in paths for file in (_listed(path) if path.is_dir() else [path])]


def _listed(folder: Path) -> list[Path]:
    try:
        return candidates(folder)
    except OSError as error:
        inputs.fail(f"{folder}: {error.strerror}")


def _is_settings(text: str) -> bool:
    return any(line.startswith("config:") for line in text.splitlines())
