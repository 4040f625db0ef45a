"""The standalone mode, wired and run. Read `_serve` to see what talks to what."""

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import prometheus_client
import structlog

from beamlit_controller.api import settings as api_settings
from beamlit_controller.api import standalone_rules
from beamlit_controller.api.problems import Problem
from beamlit_controller.api.settings import Settings
from beamlit_controller.controller import supervisor
from beamlit_controller.controller.clock import AnchoredClock
from beamlit_controller.controller.loop import LoopDependencies
from beamlit_controller.controller.meters import Meters
from beamlit_controller.controller.sensor import Sensor
from beamlit_controller.core.spec import ModelKey, OffloadSpec
from beamlit_controller.envoy import command, config, credentials, remote_stats
from beamlit_controller.envoy.gateway_params import GatewayParams
from beamlit_controller.envoy.rtds import RtdsServer
from beamlit_controller.envoy.rtds_sink import RtdsSink
from beamlit_controller.scrape.source import ScrapeSource
from beamlit_controller.standalone import process, sockets, state_folder
from beamlit_controller.standalone.folder import Folder
from beamlit_controller.standalone.following import FollowedSettings, hangups
from beamlit_controller.standalone.gateway_template import GatewayTemplate
from beamlit_controller.standalone.gateways import Gateways
from beamlit_controller.standalone.inventory import Endpoints
from beamlit_controller.standalone.memory import DecisionFiles
from beamlit_controller.standalone.overrides import Overrides
from beamlit_controller.standalone.state_folder import StateFolder
from beamlit_controller.telemetry import web
from beamlit_controller.telemetry.exposition import Exposition
from beamlit_controller.telemetry.liveness import Check, Liveness
from beamlit_controller.telemetry.logs import LogSink
from beamlit_controller.telemetry.metrics import MetricsSink
from beamlit_controller.telemetry.models import ModelDetails, ModelsSink
from beamlit_controller.telemetry.page import PageAccess
from beamlit_controller.telemetry.web import WebEndpoints
from beamlit_controller.wiring.common import NO_SOURCE, STUCK, prometheus_source, route, signals

log = structlog.get_logger()

WORKERS = min(os.cpu_count() or 1, 4)


@dataclass(frozen=True, slots=True)
class StandaloneOptions:
    """What `run` is given on a machine without a cluster."""

    settings: Settings
    manifests: Path
    state: Path
    settings_file: Path | None = None


async def standalone(options: StandaloneOptions) -> None:
    """Run until SIGTERM or SIGINT; then drain, end the gateways and leave nothing behind. A second signal hurries.

    Other settings, and SIGHUP, start this program anew in the same process: the gateways serve on and are adopted.
    A part that dies before ends the process, and leaves the gateways serving for the next one. Raises StateError and OSError.
    """
    if await _until_stopped(options):
        return
    log.info("starting anew with the settings as they are now; the gateways serve on")
    os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - what we were started as


async def _until_stopped(options: StandaloneOptions) -> bool:
    """Tell whether it is the end; else everything but the gateways has been given back, to be started anew."""
    with state_folder.locked(options.state) as place, signals() as (stop, hurry), hangups(stop) as asked:
        clock = AnchoredClock()
        meters = Meters(clock)
        gateways = Gateways(place.gateways, _shape(options.settings, meters))
        until = Until(stop, asked, FollowedSettings(options.settings_file, options.settings))
        try:
            async with AsyncExitStack() as resources:
                await _serve(
                    options, place, clock=clock, gateways=gateways, meters=meters, resources=resources, until=until
                )
            if not stop.is_set():
                return False
        except Exception:
            if not stop.is_set():
                raise
            log.exception("a part ended badly while stopping")
        log.info("stopping: gateways finish the requests in flight; a second signal ends them at once")
        async with asyncio.TaskGroup() as group:
            hurrying = group.create_task(_then(hurry, gateways.hurry))
            try:
                await gateways.stop()
            finally:
                hurrying.cancel()
        DecisionFiles(place.decisions).rest(clock.now())
        place.clear()
    return True


@dataclass(frozen=True, slots=True)
class Until:
    """What ends serving: being told to stop, or a reason to start anew."""

    stop: asyncio.Event
    asked: asyncio.Event
    settings: FollowedSettings


async def _serve(
    options: StandaloneOptions,
    place: StateFolder,
    *,
    clock: AnchoredClock,
    gateways: Gateways,
    meters: Meters,
    resources: AsyncExitStack,
    until: Until,
) -> None:
    """Wire the parts and run them until told to stop or to start anew. A part that dies ends them all, and leaves the gateways serving."""
    settings = options.settings
    listener = resources.enter_context(_bound(settings))
    overrides = Overrides(place.overrides, clock)
    folder = Folder(
        options.manifests,
        kept=place.manifests,
        parse=partial(standalone_rules.parse, settings=settings),
        together=partial(standalone_rules.shared_listeners, settings=settings),
        overrides=overrides,
    )
    folder.read()

    endpoints = _endpoints(settings, gateways.ejected)
    prometheus = await prometheus_source(settings, resources)
    scrape = await resources.enter_async_context(
        ScrapeSource(
            lambda spec: {each: each for each in endpoints.metrics_of(spec)},
            secrets=settings.secret_file,
            timeout=settings.direct_period * 0.6,
        )
    )
    sensor = Sensor(route=route(prometheus, scrape, NO_SOURCE), inventory=endpoints, flows=meters)

    shares = RtdsServer()
    await resources.enter_async_context(
        shares.serve(f"unix:{resources.enter_context(sockets.reachable(place.shares))}")
    )

    memory = DecisionFiles(place.decisions)
    if not folder.manifests.problems:  # else a model may only be missing until its manifest is mended
        memory.keep_only(folder.manifests.specs.keys())
        overrides.keep_only(folder.manifests.specs.keys())

    def problems() -> Sequence[Problem]:
        return (*until.settings.problems, *folder.manifests.problems, *memory.problems)

    site = _site(settings, clock, folder=folder, gateways=gateways, meters=meters, shares=shares, problems=problems)
    sinks = (RtdsSink(shares, gateways.attempts), memory, *site.sinks, meters, LogSink())
    parts = LoopDependencies(sensor, sinks, clock, partial(api_settings.period, settings=settings))

    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(folder.run(), name="manifests"),
            group.create_task(gateways.run(folder.specs), name="gateways"),
            group.create_task(supervisor.run(folder, parts, memory), name="models"),
            group.create_task(web.run(site.site, listener), name="web"),
        ]
        log.info("running", web=_where(listener), manifests=str(options.manifests), state=str(place.root))
        ends = [group.create_task(until.stop.wait()), group.create_task(until.settings.changed(until.asked))]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in (*tasks, *ends):
            task.cancel()


def _bound(settings: Settings) -> socket.socket:
    try:
        return web.bind(str(settings.standalone.web_listen))
    except OSError as error:
        raise OSError(error.errno, f"config.standalone.webListen: {error.strerror or error}") from error


# The gateways.


def _shape(settings: Settings, meters: Meters) -> GatewayTemplate:
    return GatewayTemplate(
        files=partial(gateway_files, settings),
        command=_command,
        secrets=partial(_secret_folders, settings),
        stats=remote_stats.FILTER,
        attempts=remote_stats.attempts,
        traffic=remote_stats.traffic,
        seen=lambda key, counted: meters.feed(key, {"gateway": counted}),
    )


def gateway_files(settings: Settings, spec: OffloadSpec, directory: Path) -> dict[str, str]:
    """Give a gateway's files. Its sockets are named from its own folder, where Envoy runs: no path is too long."""
    options = settings.standalone
    place = GatewayParams(
        node=str(spec.key),
        directory=str(directory),
        front=str(options.listener(spec.key)),
        stats=str(options.stats_listener(spec.key)),
        admin="unix:admin.sock",
        shares="unix:../../shares.sock",
        local=_endpoints(settings).of(spec),
        secrets=str(_secrets(settings)),
        access_log=options.access_log and str(Path(options.access_log).absolute()),
        descriptors=process.most_descriptors(),
    )
    return config.files(spec, place)


def _secrets(settings: Settings) -> Path:
    return Path(settings.standalone.secrets_directory or "secrets").absolute()


def _secret_folders(settings: Settings, spec: OffloadSpec) -> Sequence[Path]:
    keys = (credentials.key_of(spec.remote), spec.remote.tls.ca) if spec.remote else ()
    return [_secrets(settings) / key.name for key in keys if key is not None]


def _endpoints(settings: Settings, ejected: Callable[[ModelKey], Collection[str]] = lambda _: frozenset()) -> Endpoints:
    return Endpoints({name: tuple(map(str, listed)) for name, listed in settings.standalone.services.items()}, ejected)


def _command(directory: Path) -> Sequence[str]:
    return command.command(directory, concurrency=WORKERS)


# What is shown.


@dataclass(frozen=True, slots=True)
class _WebParts:
    site: WebEndpoints
    sinks: tuple[MetricsSink, ModelsSink, Liveness]


def _site(
    settings: Settings,
    clock: AnchoredClock,
    *,
    folder: Folder,
    gateways: Gateways,
    meters: Meters,
    shares: RtdsServer,
    problems: Callable[[], Sequence[Problem]],
) -> _WebParts:
    registry = prometheus_client.CollectorRegistry()
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call] # it carries no annotation
    exposition, metrics = Exposition(registry), MetricsSink(registry, meters.minute)
    exposition.gauge(
        "beamlit_manifest_problems",
        "Mistakes in manifests; the last good version of each model stays in force.",
        lambda: len(folder.manifests.problems),
    )
    exposition.gauge(
        "beamlit_gateways_connected",
        "Gateways that listen for the model's share.",
        lambda: {key: shares.connected(key) for key in folder.manifests.specs},
    )
    exposition.counter(
        "beamlit_gateway_restarts_total",
        "Times that the model's gateway ended and was started again.",
        lambda: {key: gateways.state(key).get("restarts", 0) for key in folder.manifests.specs},
    )
    exposition.counter(
        "beamlit_gateway_faults_total",
        "What went wrong with the model's gateway, each failed retry included; /models says what.",
        lambda: {key: gateways.faults(key) for key in folder.manifests.specs},
    )
    models = ModelsSink(
        clock,
        ModelDetails(
            gateway=lambda key: _gateway(gateways, shares, key),
            notices=lambda key: folder.manifests.notices.get(key, ()),
            minute=meters.minute,
            problems=problems,
        ),
    )
    pulse = Liveness(clock, max(STUCK, settings.period * 10))
    site = WebEndpoints(
        alive=pulse.alive,
        ready=lambda: _ready(pulse, folder, gateways),
        exposition=exposition,
        models=models,
        access=PageAccess(settings.page, (settings.standalone.web_listen.host, *settings.page_hosts)),
    )
    return _WebParts(site, (metrics, models, pulse))


def _ready(pulse: Liveness, folder: Folder, gateways: Gateways) -> Check:
    """Tell whether all valid models are served; mistakes in manifests are counted in the text, and in a metric."""
    check = pulse.ready(folder.manifests.specs.keys(), gateways_down=gateways.waiting())
    mistakes = len(folder.manifests.problems)
    return Check(check.ok, f"{check.text}; mistakes in manifests: {mistakes}, see /models") if mistakes else check


def _gateway(gateways: Gateways, shares: RtdsServer, key: ModelKey) -> dict[str, Any]:
    known = gateways.state(key)
    return {**known, "connected": shares.connected(key) > 0} if known else {}


def _where(listener: Any) -> str:  # noqa: ANN401 - a socket
    host, port, *_ = listener.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _then(event: asyncio.Event, act: Callable[[], None]) -> None:
    await event.wait()
    act()
