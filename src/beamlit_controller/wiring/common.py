"""What both modes share: the list of metric sources, the metrics of remotes, the Prometheus connection, and signal handling."""

import asyncio
import signal
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import structlog

from beamlit_controller.api import settings as api_settings
from beamlit_controller.api.settings import Settings
from beamlit_controller.controller.ports import Source
from beamlit_controller.controller.sensor import Sources
from beamlit_controller.core import readable
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.prometheus.connection import Connection, HttpBasicAuth, TlsFiles
from beamlit_controller.prometheus.source import PrometheusSource

log = structlog.stdlib.get_logger()

STUCK = timedelta(seconds=60)
"""Without a successful round for this time, and for ten periods, the controller is unhealthy."""


def sources(
    *, scrape: Source, gateways: Source, prometheus: Source | None, metrics_apis: Source | None = None
) -> Sources:
    """List all metric sources, each with the predicate for what it can read. None is a source that is not available."""
    listed = (
        (readable.from_servers, scrape),
        (readable.from_gateways, gateways),
        (readable.from_prometheus, prometheus),
        (readable.from_metrics_apis, metrics_apis),
    )
    return tuple((can_read, source) for can_read, source in listed if source is not None)


def remotes_ready(known: Iterable[tuple[ModelKey, str]]) -> dict[ModelKey, float]:
    """Return 1 for each usable remote and 0 for each that is not, by the status of its condition."""
    return {key: float(status == "True") for key, status in known if status in {"True", "False"}}


async def prometheus_source(settings: Settings, resources: AsyncExitStack) -> PrometheusSource | None:
    """Return the source of External metrics, if they are read from Prometheus; log settings of it that are not used."""
    for notice in settings.notices:
        log.warning("setting without effect", setting=notice.field, message=notice.message)
    if settings.prometheus is None:
        return None
    return await resources.enter_async_context(PrometheusSource(connection(settings.prometheus)))


def connection(given: api_settings.PrometheusSettings) -> Connection:
    """Convert the settings of a Prometheus to its connection."""
    tls = TlsFiles(
        _path(given.tls.ca_file), _path(given.tls.cert_file), _path(given.tls.key_file), given.tls.server_name
    )
    auth = HttpBasicAuth(given.basic_auth.username, Path(given.basic_auth.password_file)) if given.basic_auth else None
    return Connection(
        address=given.url,
        bearer_token_file=_path(given.bearer_token_file),
        basic_auth=auth,
        identity=given.identity,
        tls=tls,
        headers=given.headers,
        query_parameters=given.query_parameters,
        timeout=given.timeout,
        stale_after=given.stale_after,
    )


def _path(name: str | None) -> Path | None:
    return Path(name) if name else None


@contextmanager
def signals() -> Iterator[tuple[asyncio.Event, asyncio.Event]]:
    """Provide two events: the first signal sets the first one, the second signal the second one."""
    stop, stop_now = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def received() -> None:
        (stop_now if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received)
    try:
        yield stop, stop_now
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
