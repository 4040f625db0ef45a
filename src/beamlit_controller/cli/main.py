"""The commands of `beamlit-controller`."""

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import cyclopts
import structlog
from cyclopts import Parameter, validators

from beamlit_controller.api import manifests as api_manifests
from beamlit_controller.api import scalars, spans, standalone_rules
from beamlit_controller.api import settings as api_settings
from beamlit_controller.api.manifests import Parsed
from beamlit_controller.api.settings import Settings
from beamlit_controller.cli import in_cluster
from beamlit_controller.core import trigger
from beamlit_controller.core.spec import OffloadSpec
from beamlit_controller.standalone.folder import candidates

app = cyclopts.App(
    name="beamlit-controller",
    help="Serve a model on your own machines first, and send a share of its requests to a remote backend when a metric says so.",
    version=version("beamlit-controller"),
)

Level = Literal["debug", "info", "warning", "error"]
FINE, COARSE = timedelta(seconds=5), timedelta(minutes=1)
"""Between two samples of a history that is checked."""
PICTURES = (".png", ".svg", ".html")
SettingsFile = Annotated[Path | None, Parameter(name="--settings")]


@app.command
def run(
    *,
    manifests: Path,
    settings: SettingsFile = None,
    state_dir: Path | None = None,
    log_level: Level = "info",
    log_format: Literal["auto", "json", "console"] = "auto",
) -> None:
    """Run the controller and its gateways on this machine, without a cluster.

    Parameters
    ----------
    manifests
        The folder of ModelDeployment manifests. It is watched: add, change and delete files as you like.
    settings
        The settings file: the chart's `config:` value.
    state_dir
        Where gateways and the last decisions are kept. Default: beamlit-controller in $XDG_STATE_HOME or ~/.local/state.
    log_level
        The least severe messages to print.
    log_format
        How messages are printed; auto is console at a terminal and JSON elsewhere.
    """
    from beamlit_controller import app as application  # noqa: PLC0415 - grpc and uvicorn are slow to import
    from beamlit_controller.telemetry import logs  # noqa: PLC0415 - the same

    logs.configure(log_level, json=None if log_format == "auto" else log_format == "json")
    if not manifests.is_dir():
        _fail(f"--manifests: expected a folder, got {manifests}")
    given = application.Standalone(_settings(settings), manifests, state_dir or _default_state())
    try:
        asyncio.run(application.standalone(given))
    except Exception as error:  # noqa: BLE001 - whatever it was, people get a sentence; the traceback is in the log
        _ended(error)


@app.command
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
    texts = {path: _read(path) for path in _expanded(files)}
    if not texts:
        _fail("expected manifests, folders of them, or settings files; got " + (", ".join(map(str, files)) or "none"))
    as_settings = [path for path, text in texts.items() if _is_settings(text)]
    if settings is None and 1 < len(as_settings) < len(texts):
        _fail(f"--settings: name the one to check against; there are {', '.join(map(str, as_settings))}")
    settings = settings or (as_settings[0] if len(as_settings) == 1 else None)
    chosen = _asking(_settings(settings), prometheus)
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


@app.command
def explain(
    name: str,
    *,
    address: str = "http://127.0.0.1:8081",
    output: Literal["table", "json"] = "table",
    watch: bool = False,
) -> None:
    """Say what the running controller saw of a model, and why it decided so.

    Parameters
    ----------
    name
        NAME or NAMESPACE/NAME of the ModelDeployment.
    address
        Where the controller answers (config.standalone.webListen).
    output
        A table for people, or JSON.
    watch
        Show it again every second.
    """
    from beamlit_controller.cli import explain as explaining  # noqa: PLC0415 - the HTTP client is slow to import

    try:
        sys.exit(asyncio.run(explaining.explain(name, address, output, watch=watch)))
    except KeyboardInterrupt:
        sys.exit(130)


@app.command
def simulate(  # each is a thing of its own, and all but the file have a default
    file: Path,
    *,
    name: str | None = None,
    settings: SettingsFile = None,
    prometheus: str | None = None,
    since: str = "7d",
    until: str | None = None,
    step: str = "15s",
    csv: Path | None = None,
    query: Annotated[list[str] | None, Parameter(negative="")] = None,
    rate: str | None = None,
    replicas: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None,
    alternatives: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None,
    price: Annotated[float | None, Parameter(validator=validators.Number(gte=0))] = None,
    output: Literal["table", "json"] = "table",
    picture: Annotated[list[Path] | None, Parameter(negative="")] = None,
) -> None:
    """Play recorded metrics through the code that decides, and say what would have been offloaded.

    Parameters
    ----------
    file
        The manifest.
    name
        NAME or NAMESPACE/NAME, where the manifest has several models.
    settings
        The settings file: credentials for Prometheus, and the remote that is the default.
    prometheus
        The address of the Prometheus that has the history; that of the settings without it.
    since
        How far back, such as 90m, 24h or 7d.
    until
        The end of that span in RFC 3339; now without it.
    step
        The time between two samples. It is decided once per sample.
    csv
        A file instead: columns `time` (RFC 3339, or seconds since 1970), one named after each metric, and maybe `requests` per second.
        Grafana's export is read too.
    query
        METRIC=PROMQL, for a metric that Prometheus can't be asked for by itself: its value in the unit of its target. May be repeated.
    rate
        PROMQL of all requests per second, for the numbers of requests.
    replicas
        How many replicas there were, for an averageValue of an Object or External metric.
    alternatives
        Rehearse with other values beside, such as behavior.percentage=30, or several with commas between. May be repeated.
    price
        What the remote takes for one request.
    output
        A table for people, or JSON.
    picture
        A file to draw to: .png, .svg, or .html for one page that needs nothing else. May be repeated.
    """
    from beamlit_controller.cli import simulate as simulating  # noqa: PLC0415 - the HTTP client is slow to import

    try:
        pictures = _pictures(picture or [])
        if csv is not None and (prometheus is not None or query or rate is not None):
            raise ValueError("--csv: expected no --prometheus, --query and --rate beside it")  # noqa: TRY301 - said below
        end = scalars.instant(until) if until else None
        span = simulating.span(spans.read(since, "--since"), end, spans.read(step, "--step"))
        queries = dict(_query(each) for each in query or [])
        past = simulating.Past(csv, prometheus, span, queries, rate, replicas)
        chosen = _settings(settings)
        done = simulating.simulate(_read(file), chosen, past, name=name, sets=alternatives or [], price=price)
        simulating.put(done, output, pictures)
    except (ValueError, OSError) as error:
        _fail(str(error))


@app.command
def convert(file: Path) -> None:
    """Print a HorizontalPodAutoscaler of any version, a ScaledObject (KEDA) or an older manifest as a ModelDeployment.

    What has no equal is told on standard error. Exit code 1 means that something could not be converted.

    Parameters
    ----------
    file
        The file; it may have several documents.
    """
    from beamlit_controller.cli import convert as converting  # noqa: PLC0415 - only this command needs it

    sys.exit(converting.convert(file, _read(file)))


render = cyclopts.App(name="render", help="Print what a stage makes, without running anything.")
app.command(render)


@render.command
def envoy(manifest: Path, *, settings: SettingsFile = None, name: str | None = None) -> None:
    """Print the files that a model's gateway is started with.

    Parameters
    ----------
    manifest
        The manifest.
    settings
        The settings file.
    name
        NAMESPACE/NAME, where the manifest has several models.
    """
    from beamlit_controller import app as application  # noqa: PLC0415 - grpc is slow to import

    chosen = _settings(settings)
    parsed = standalone_rules.parse(_read(manifest), settings=chosen)
    for problem in parsed.problems:
        print(f"{manifest}: {problem}", file=sys.stderr)
    specs = [spec for spec in parsed.specs if name in {None, str(spec.key), spec.key.name}]
    if parsed.problems or len(specs) != 1:
        known = ", ".join(str(spec.key) for spec in parsed.specs) or "none"
        _fail(f"{manifest}: expected one valid model" + (f" {name}" if name else "") + f"; valid are: {known}")
    for file, text in application.gateway_files(chosen, specs[0], Path("gateway").absolute()).items():
        print(f"--- # {file}\n{text}", end="")


@render.command
def crd() -> None:
    """Print the CustomResourceDefinition of ModelDeployment."""
    from beamlit_controller.api import crd as definition  # noqa: PLC0415 - only this command needs it

    print(definition.render(), end="")


app.command(in_cluster.cluster)
app.command(in_cluster.release)
app.command(in_cluster.restore)
app.command(in_cluster.override)
app.command(in_cluster.envoy)
app.command(in_cluster.drain)


def main() -> None:
    """Run the command line."""
    app()


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
        _fail(f"--prometheus: {error}")


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


def _query(text: str) -> tuple[str, str]:
    name, equals, query = text.partition("=")
    if not equals or not name.strip() or not query.strip():
        raise ValueError(f"--query: expected METRIC=PROMQL, got {text!r}")
    return name.strip(), query.strip()


def _pictures(paths: Sequence[Path]) -> Sequence[Path]:
    """Tell before the work is done what can't be drawn after it."""
    for path in paths:
        if path.suffix not in PICTURES:
            raise ValueError(f"--picture: expected a name that ends in {', '.join(PICTURES)}, got {path}")
    if paths and find_spec("matplotlib") is None:
        raise ValueError("--picture: drawing needs matplotlib: install beamlit-controller[pictures]")
    return paths


def _expanded(paths: Sequence[Path]) -> list[Path]:
    """Give the files, and for a folder the manifests in it."""
    return [file for path in paths for file in (_listed(path) if path.is_dir() else [path])]


def _listed(folder: Path) -> list[Path]:
    try:
        return candidates(folder)
    except OSError as error:
        _fail(f"{folder}: {error.strerror}")


def _is_settings(text: str) -> bool:
    return any(line.startswith("config:") for line in text.splitlines())


def _settings(path: Path | None) -> Settings:
    given = api_settings.parse(_read(path)) if path else Settings()
    if isinstance(given, Settings):
        return given
    for mistake in given:
        print(f"{path}: {mistake}", file=sys.stderr)
    sys.exit(1)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        _fail(f"{path}: {error.strerror}")
    except UnicodeDecodeError as error:
        _fail(f"{path}: is no UTF-8 text: {error.reason} at byte {error.start}")


def _default_state() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "beamlit-controller"


def _ended(error: Exception) -> NoReturn:
    """Say in one line what ended the controller; what nobody expected has its traceback in the log."""
    from beamlit_controller.standalone import trouble  # noqa: PLC0415 - only for this
    from beamlit_controller.standalone.state import StateError  # noqa: PLC0415 - only for this

    if not isinstance(error, StateError | OSError):
        structlog.get_logger().error("ended by an error that nobody expected", exc_info=error)
    _fail(trouble.said(error))


def _fail(message: str) -> NoReturn:
    print(f"beamlit-controller: {message}", file=sys.stderr)
    sys.exit(1)
