"""Builds and runs the standalone mode. Read `_serve` to see what is connected to what."""

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from beamlit_controller.api import settings as api_settings
from beamlit_controller.api import standalone_rules
from beamlit_controller.api.problems import Problem
from beamlit_controller.api.settings import Settings
from beamlit_controller.controller import supervisor
from beamlit_controller.controller.clock import AnchoredClock
from beamlit_controller.controller.gateway_metrics import GatewayMetrics
from beamlit_controller.controller.loop import LoopDependencies
from beamlit_controller.controller.meters import Meters
from beamlit_controller.controller.sensor import Sensor
from beamlit_controller.controller.usage_meters import UsageMeters
from beamlit_controller.envoy.rtds import RtdsServer
from beamlit_controller.envoy.rtds_sink import RtdsSink
from beamlit_controller.scrape.source import ScrapeSource
from beamlit_controller.standalone import sockets, state_folder
from beamlit_controller.standalone.decision_files import DecisionFiles
from beamlit_controller.standalone.folder import Folder
from beamlit_controller.standalone.gateways import Gateways
from beamlit_controller.standalone.overrides import Overrides
from beamlit_controller.standalone.settings_watch import SettingsWatch, hangups
from beamlit_controller.standalone.state_folder import StateFolder
from beamlit_controller.telemetry import logs, web
from beamlit_controller.telemetry.logs import LogSink
from beamlit_controller.wiring import settings_trial, shared_listeners, standalone_web
from beamlit_controller.wiring.common import prometheus_source, signals, sources
from beamlit_controller.wiring.standalone_gateways import local_endpoints, template
from beamlit_controller.wiring.standalone_web import StandaloneSources

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class StandaloneOptions:
    """The options of `run`. With `leave_gateways`, the gateways keep serving after SIGTERM."""

    settings: Settings
    manifests: Path
    state: Path
    settings_file: Path | None = None
    leave_gateways: bool = False


async def standalone(options: StandaloneOptions) -> None:
    """Run until SIGTERM or SIGINT; then drain and end the gateways and clean up, or leave them serving if requested.

    A second signal ends the wait for requests in flight. Changed settings, and SIGHUP, restart the controller within
    the same process; the gateways keep serving and are adopted. A task that fails ends the process, and leaves the
    gateways serving for the next one. Raises StateError and OSError.
    """
    if await _until_stopped(options):
        return
    log.info("restarting with the changed settings; the gateways keep serving")
    os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - what we were started as


@dataclass(frozen=True, slots=True)
class GatewayParts:
    """The parts that survive a restart of the controller within the process: the gateways and their counters."""

    clock: AnchoredClock
    meters: Meters
    used: UsageMeters
    gateways: Gateways
    shared: Gateways


def _gateway_parts(settings: Settings, state: StateFolder) -> GatewayParts:
    clock = AnchoredClock()
    meters, used = Meters(clock), UsageMeters()
    gateways = Gateways(state.gateways, template(settings, meters, used))
    return GatewayParts(clock, meters, used, gateways, shared_listeners.kept(settings, state.shared_listeners))


async def _until_stopped(options: StandaloneOptions) -> bool:
    """Run once; return whether to end. Otherwise everything except the gateways has been closed, to be started again."""
    with state_folder.locked(options.state) as state, signals() as (stop, stop_now), hangups(stop) as reload:
        parts = _gateway_parts(options.settings, state)
        stops = StopConditions(stop, reload)
        try:
            async with AsyncExitStack() as resources:
                await _serve(options, state, parts, resources, stops)
            if not stop.is_set():
                return False
        except Exception:
            if not stop.is_set():
                raise
            log.exception("a part failed while stopping")
        if options.leave_gateways:
            log.info("stopped; the gateways keep serving with their last percentage")
        else:
            await stop_gateways(parts, state, stop_now)
    return True


async def stop(directory: Path) -> None:
    """Drain and end the gateways that a controller has left serving. Raises StateError while a controller runs, and OSError."""
    with state_folder.locked(directory) as state, signals() as (stop_now, _):
        await stop_gateways(_gateway_parts(Settings(), state), state, stop_now)


async def stop_gateways(parts: GatewayParts, state: StateFolder, stop_now: asyncio.Event) -> None:
    """Drain and end all gateways. Raises OSError at the end, with those that could not be ended."""
    kept = (parts.shared, parts.gateways)  # shared listeners first, because their requests go on to the gateways
    failed: list[str] = []
    log.info("stopping: gateways finish the requests in flight; a signal ends them at once")
    async with asyncio.TaskGroup() as group:
        interrupting = [group.create_task(_then(stop_now, each.skip_draining)) for each in kept]
        try:
            for each in kept:
                try:
                    await each.stop()
                except OSError as error:
                    failed.append(str(error))
        finally:
            for task in interrupting:
                task.cancel()
    if failed:
        raise OSError("; ".join(failed))
    DecisionFiles(state.decisions).keep_only_history(parts.clock.now())
    state.clear()


@dataclass(frozen=True, slots=True)
class StopConditions:
    """The signals that end serving: to stop, or to restart."""

    stop: asyncio.Event
    reload_requested: asyncio.Event


async def _serve(
    options: StandaloneOptions,
    state: StateFolder,
    parts: GatewayParts,
    resources: AsyncExitStack,
    stops: StopConditions,
) -> None:
    """Connect the parts and run them until stop or restart. A task that fails ends all of them, and leaves the gateways serving."""
    settings, gateways, shared = options.settings, parts.gateways, parts.shared
    listener = resources.enter_context(_bound(settings))
    watch = SettingsWatch(options.settings_file, settings, partial(settings_trial.problems, listener=listener))
    overrides = Overrides(state.overrides, parts.clock)
    folder = _folder(options, state, overrides)
    memory = DecisionFiles(state.decisions)
    resources.callback(memory.flush)
    if not folder.manifests.problems:  # otherwise a model may be missing only until its manifest is fixed
        memory.keep_only(folder.manifests.specs.keys())
        overrides.keep_only(folder.manifests.specs.keys())
    sensor = await _sensor(settings, parts, resources)
    shares = await _shares(state, resources)

    def problems() -> Sequence[Problem]:
        listeners = shared_listeners.problems(settings, shared)
        return (*watch.problems, *listeners, *folder.manifests.problems, *memory.problems)

    site = standalone_web.endpoints(
        settings, parts.clock, StandaloneSources(folder, gateways, parts.meters, shares, problems)
    )
    sinks = (RtdsSink(shares, gateways.attempts), memory, *site.sinks, parts.meters, parts.used, LogSink())
    loops = LoopDependencies(sensor, sinks, parts.clock, partial(api_settings.period, settings=settings))
    log.info("running", web=_where(listener), manifests=str(options.manifests), state=str(state.root))
    tasks = {
        "manifests": folder.run(),
        "gateways": gateways.run(folder.specs),
        "shared listeners": shared.run(partial(shared_listeners.specs, settings)),
        "models": supervisor.run(folder, loops, memory),
        "web": web.run(site.site, listener),
    }
    await _run(tasks, until=(stops.stop.wait(), watch.changed(stops.reload_requested)))


async def _run(parts: Mapping[str, Coroutine[Any, Any, None]], *, until: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Run all parts until the first of `until` is done. A part that fails ends all of them."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(part, name=name) for name, part in parts.items()]
        ends = [group.create_task(each) for each in until]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in (*tasks, *ends):
            task.cancel()


def _folder(options: StandaloneOptions, state: StateFolder, overrides: Overrides) -> Folder:
    """Return the manifests, already read once."""
    folder = Folder(
        options.manifests,
        kept=state.manifests,
        parse=partial(standalone_rules.parse, settings=options.settings),
        together=partial(standalone_rules.shared_listeners, settings=options.settings),
        overrides=overrides,
    )
    folder.read()
    return folder


async def _sensor(settings: Settings, parts: GatewayParts, resources: AsyncExitStack) -> Sensor:
    """Return the sensor with its metric sources."""
    endpoints = local_endpoints(settings, parts.gateways.down)
    prometheus = await prometheus_source(settings, resources)
    scrape = await resources.enter_async_context(
        ScrapeSource(
            lambda spec: {each: each for each in endpoints.metrics_of(spec)},
            secrets=settings.secret_file,
            timeout=settings.direct_period * 0.6,
            report=logs.reading_failed,
        )
    )
    listed = sources(scrape=scrape, gateways=GatewayMetrics(parts.meters), prometheus=prometheus)
    return Sensor(sources=listed, inventory=endpoints, flows=parts.meters, usage=parts.used, report=logs.reading_failed)


async def _shares(state: StateFolder, resources: AsyncExitStack) -> RtdsServer:
    """Return the RTDS server, listening on its socket."""
    shares = RtdsServer()
    socket_path = resources.enter_context(sockets.reachable(state.shares))
    await resources.enter_async_context(shares.serve(f"unix:{socket_path}"))
    return shares


def _bound(settings: Settings) -> socket.socket:
    try:
        return web.bind(str(settings.standalone.web_listen))
    except OSError as error:
        raise OSError(f"config.standalone.webListen: {error.strerror or error}") from error


def _where(listener: Any) -> str:  # noqa: ANN401 - a socket
    host, port, *_ = listener.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _then(event: asyncio.Event, act: Callable[[], None]) -> None:
    await event.wait()
    act()
