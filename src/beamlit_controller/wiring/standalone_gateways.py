"""Builds standalone gateways: the files, commands and Secrets of each."""

import os
import socket
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

from beamlit_controller.api.settings import Settings
from beamlit_controller.controller.meters import Meters
from beamlit_controller.controller.usage_meters import GatewayCounts, UsageMeters
from beamlit_controller.core import remote_secrets
from beamlit_controller.core.gateway_config import ConfigStep, Files
from beamlit_controller.core.spec import ModelKey, OffloadSpec
from beamlit_controller.envoy import (
    command,
    config,
    config_stats,
    make_before_break,
    remote_stats,
    usage_stats,
)
from beamlit_controller.envoy.gateway_params import GatewayParams
from beamlit_controller.standalone import process
from beamlit_controller.standalone.gateway_template import GatewayTemplate
from beamlit_controller.standalone.inventory import Endpoints

WORKERS = min(os.cpu_count() or 1, 4)


def template(settings: Settings, meters: Meters, used: UsageMeters) -> GatewayTemplate:
    """Return what is the same for every gateway of these settings."""
    return GatewayTemplate(
        files=partial(gateway_files, settings),
        command=command_of,
        secrets=partial(_secret_folders, settings),
        stats=remote_stats.FILTER,
        attempts=remote_stats.attempts,
        traffic=remote_stats.traffic,
        seen=lambda key, counted: meters.feed(key, {"gateway": counted}),
        used=lambda key, page, counted: used.feed(key, {"gateway": GatewayCounts(usage_stats.usage(page), counted)}),
        secret_name=lambda secret: str(_secrets(settings) / secret.name / secret.key),
        refusal=partial(_stats_refusal, settings),
        config_stats=config_stats.FILTER,
        next_step=next_step,
    )


def next_step(present: Files, requested: Files, page: str) -> ConfigStep:
    """Return the files to give next, by the gateway's stats page; "" if it does not answer."""
    return make_before_break.next_step(present, requested, [config_stats.read(page)])


def gateway_files(settings: Settings, spec: OffloadSpec, directory: Path) -> dict[str, str]:
    """Return a gateway's files. Sockets are relative to its own folder, where Envoy runs, so that no path is too long."""
    options = settings.standalone
    params = GatewayParams(
        node=str(spec.key),
        directory=str(directory),
        front=str(options.listener(spec.key)),
        stats=str(options.stats_listener(spec.key)),
        admin="unix:admin.sock",
        shares="unix:../../shares.sock",
        local=local_endpoints(settings).of(spec),
        secrets=str(_secrets(settings)),
        access_log=options.access_log and str(Path(options.access_log).absolute()),
        descriptors=process.most_descriptors(),
        otlp=settings.otlp,
    )
    return config.files(spec, params)


def _stats_refusal(settings: Settings, spec: OffloadSpec) -> str:
    """Return why a new process could not listen on the stats address; without it, Envoy does not start."""
    address = settings.standalone.stats_listener(spec.key)
    try:
        # Envoy resolves no names for its listeners either.
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        with socket.socket(found[0][0], socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as Envoys do, so that ours are not in the way
            probe.bind(found[0][4])
    except OSError as error:
        return f"config.standalone.statsListen: cannot listen on {address}: {error.strerror or error}"
    return ""


def _secrets(settings: Settings) -> Path:
    return Path(settings.standalone.secrets_directory or "secrets").absolute()


def _secret_folders(settings: Settings, spec: OffloadSpec) -> Sequence[Path]:
    keys = (key for remote in spec.remotes for key in remote_secrets.of(remote))
    return [_secrets(settings) / key.name for key in keys]


def local_endpoints(
    settings: Settings, down: Callable[[ModelKey], Collection[str]] = lambda _: frozenset()
) -> Endpoints:
    """Return the servers of each model; those that are down are not ready."""
    return Endpoints({name: tuple(map(str, listed)) for name, listed in settings.standalone.services.items()}, down)


def command_of(spec: OffloadSpec, directory: Path, epoch: int) -> Sequence[str]:
    """Return the command line of a gateway's process with this restart epoch."""
    # Without shared memory, no other process can take over from it.
    shared = os.access("/dev/shm", os.W_OK)  # noqa: S108 - where shm_open(3) has it
    restart = command.HotRestart(epoch, parent_shutdown=spec.gateway.drain) if shared else None
    return command.command(directory, concurrency=WORKERS, hot_restart=restart)
