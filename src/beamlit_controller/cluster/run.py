"""The parts of the cluster mode, wired and run. Read `_serve` to see what talks to what."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from urllib.parse import urlencode

import structlog

from beamlit_controller import app
from beamlit_controller.api import settings as api_settings
from beamlit_controller.cluster import gateway, site
from beamlit_controller.cluster.given import CERTIFICATE, KEY, LEASE, TOKEN_KEY, Cluster, ShareAddress
from beamlit_controller.cluster.view import View
from beamlit_controller.controller import supervisor
from beamlit_controller.controller.clock import SteadyClock
from beamlit_controller.controller.loop import Parts
from beamlit_controller.controller.sensor import Sensor
from beamlit_controller.envoy import remote_stats
from beamlit_controller.envoy.share_access import Certificate, Tokens
from beamlit_controller.envoy.shares import ShareServer
from beamlit_controller.kubernetes import api_server
from beamlit_controller.kubernetes.api_server import ApiServer
from beamlit_controller.kubernetes.discovery import Discovery
from beamlit_controller.kubernetes.gateways import Gateways
from beamlit_controller.kubernetes.inventory import ClusterInventory
from beamlit_controller.kubernetes.lease import Lease
from beamlit_controller.kubernetes.metrics import MetricsApis
from beamlit_controller.kubernetes.reach import Reach
from beamlit_controller.kubernetes.remotes import Figures, Remotes
from beamlit_controller.kubernetes.scale import Workloads
from beamlit_controller.kubernetes.statuses import Statuses, Views
from beamlit_controller.kubernetes.watches import Watches
from beamlit_controller.scrape.source import ScrapeSource
from beamlit_controller.telemetry import web
from beamlit_controller.telemetry.logs import LogSink

log = structlog.stdlib.get_logger()


async def cluster(given: Cluster) -> None:
    """Run until SIGTERM or SIGINT; then stop deciding, give up the lease, and leave the gateways serving."""
    with app.signals() as (stop, _):
        async with AsyncExitStack() as resources:
            await _serve(given, resources, stop)
    log.info("stopped: gateways serve on with their last share")


async def _serve(given: Cluster, resources: AsyncExitStack, stop: asyncio.Event) -> None:
    """Wire the parts and run them until told to stop. A part that dies ends the process: it is started again, all anew."""
    settings, clock = given.settings, SteadyClock()
    listener = resources.enter_context(web.bind(given.web_listen))
    server = await resources.enter_async_context(ApiServer(api_server.configuration(given.kubeconfig)))
    lease = Lease(server, namespace=given.namespace, name=LEASE, identity=given.identity)
    guarded = server.guarded(lease.held) if settings.enable_leader_election else server

    tokens = Tokens((given.shares.secrets / TOKEN_KEY).read_bytes())
    shares = ShareServer(tokens)
    certificate = Certificate(given.shares.secrets / CERTIFICATE, given.shares.secrets / KEY)

    view = View(settings, shares)
    watches = view.watches(server)
    reach = await resources.enter_async_context(Reach(gateway.QUESTION))
    takeovers = gateway.takeovers(guarded, view, reach, clock)
    keeper = Gateways(guarded, gateway.surroundings(given, view, tokens), takeovers)
    figures = Figures(f"/stats/prometheus?{urlencode({'filter': remote_stats.FILTER})}", remote_stats.attempts)
    remotes = await resources.enter_async_context(Remotes(view.models, view.owned, figures, changed=view.changed))
    views = Views(keeper.state, view.local_health, view.autoscaler, remotes.ready, remotes.most)
    statuses = Statuses(guarded, view.models, views, clock, identity=given.identity)
    view.to_wake, view.to_tell, view.to_read = keeper.wake, statuses.changed, statuses.readable

    discovery = Discovery(server)
    workloads = Workloads(server, discovery, view.service)
    sensor = Sensor(
        route=app.route(
            await app.prometheus_source(settings, resources),
            await resources.enter_async_context(
                ScrapeSource(view.metric_endpoints, timeout=settings.direct_period * 0.6)
            ),
            MetricsApis(server, discovery, workloads),
        ),
        inventory=ClusterInventory(workloads, view.pods),
    )
    shown = site.site(given, clock, view, keeper, shares, watches, lease)

    async def lead() -> None:
        """Decide, record and keep, until we lead no more."""
        log.info("leading", identity=given.identity)
        await watches.wait_synced()
        parts = Parts(
            sensor, (statuses, *shown.sinks, LogSink()), clock, partial(api_settings.period, settings=settings)
        )
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(keeper.run(), name="gateways")
                group.create_task(remotes.run(), name="remotes")
                group.create_task(statuses.run(), name="statuses")
                group.create_task(supervisor.run(view.models, parts, view.models), name="models")
        finally:
            for key in view.models.models:
                for sink in shown.sinks:
                    sink.forget(key)
            log.info("not leading any more", identity=given.identity)

    async with asyncio.TaskGroup() as group:
        serving = [
            group.create_task(watches.run(), name="watches"),
            group.create_task(web.run(shown.site, listener), name="web"),
            group.create_task(_shares(shares, given.shares, certificate, watches), name="shares"),
            group.create_task(view.bound(), name="limits"),
        ]
        election = group.create_task(lease.run(), name="lease") if settings.enable_leader_election else None
        leading = group.create_task(_while_leading(lease, lead) if election else lead(), name="leading")
        log.info("running", identity=given.identity, namespaces=list(settings.namespaces) or "all")
        await stop.wait()
        # First nobody decides any more, then the lease may go.
        for tasks in ([leading], [election] if election else [], serving):
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks) if tasks else None


async def _while_leading(lease: Lease, lead: Callable[[], Awaitable[None]]) -> None:
    """Lead whenever the lease is ours."""
    while True:
        await lease.leading.other_than(seen=False)
        async with asyncio.TaskGroup() as group:
            work = group.create_task(_coroutine(lead))
            await lease.leading.other_than(seen=True)
            work.cancel()


async def _coroutine(lead: Callable[[], Awaitable[None]]) -> None:
    await lead()


async def _shares(shares: ShareServer, where: ShareAddress, certificate: Certificate, watches: Watches) -> None:
    """Serve the gateways, once it is known what to tell them."""
    await watches.wait_synced()
    async with shares.serve(where.listen, certificate) as address:
        log.info("gateways are served", address=address)
        await asyncio.Event().wait()
