"""Runs the cluster mode: the tasks of every replica, and those of the leader. `cluster_parts` connects the parts."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import structlog

from beamlit_controller.api import settings as api_settings
from beamlit_controller.controller import garbage_collection, supervisor
from beamlit_controller.controller.loop import LoopDependencies
from beamlit_controller.envoy.rtds import RtdsServer
from beamlit_controller.envoy.rtds_access import Certificate
from beamlit_controller.kubernetes.lease import Lease
from beamlit_controller.kubernetes.watches import Watches
from beamlit_controller.telemetry import web
from beamlit_controller.telemetry.logs import LogSink
from beamlit_controller.wiring import cluster_parts as composed
from beamlit_controller.wiring import common
from beamlit_controller.wiring.cluster_options import CERTIFICATE, KEY, ClusterOptions, RtdsAddress
from beamlit_controller.wiring.cluster_parts import ReplicaParts

log = structlog.stdlib.get_logger()


async def cluster(options: ClusterOptions) -> None:
    """Run until SIGTERM or SIGINT; then stop deciding, release the Lease, and leave the gateways running."""
    with common.signals() as (stop, _):
        async with AsyncExitStack() as resources:
            await _serve(options, resources, stop)
    log.info("stopped; gateways keep their last percentage")


async def _serve(options: ClusterOptions, resources: AsyncExitStack, stop: asyncio.Event) -> None:
    """Build the parts and run them until stopped. A part that fails ends the process, which Kubernetes restarts."""
    parts = await composed.build(options, resources)
    listener = resources.enter_context(web.bind(options.web_listen))
    async with asyncio.TaskGroup() as group:
        serving = [group.create_task(run, name=name) for name, run in _on_every_replica(options, parts, listener)]
        election = (
            [group.create_task(parts.lease.run(), name="lease")] if options.settings.enable_leader_election else []
        )
        leads = partial(lead, options, parts)
        leading = group.create_task(while_leading(parts.lease, leads) if election else leads(), name="leader")
        log.info("running", identity=options.identity, namespaces=list(options.settings.namespaces) or "all")
        await stop.wait()
        # Deciding must have stopped before the Lease is released.
        for tasks in ([leading], election, serving):
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)


def _on_every_replica(
    options: ClusterOptions, parts: ReplicaParts, listener: socket.socket
) -> tuple[tuple[str, Coroutine[Any, Any, None]], ...]:
    """Return the tasks of every replica, leader or not."""
    secrets = options.shares.secrets
    certificate = Certificate(secrets / CERTIFICATE, secrets / KEY)
    return (
        # In: the API server. Out: the store.
        ("watches", parts.watches.run()),
        # In: refused models of the store. Out: their last good specs, into the store.
        ("last good specs", _synced(parts.watches, parts.last_good.run)),
        # In: statuses in the store. Out: runtime values for the gateways.
        ("rtds", _synced(parts.watches, parts.rtds_feed.run)),
        ("rtds", _synced(parts.watches, partial(_serve_gateways, parts.rtds_server, options.shares, certificate))),
        ("web", web.run(parts.web.site, listener)),
        ("garbage", garbage_collection.freeze_what_is_kept()),
    )


async def lead(options: ClusterOptions, parts: ReplicaParts) -> None:
    """Decide, write statuses and reconcile until this replica is no longer the leader."""
    log.info("became leader", identity=options.identity)
    await parts.watches.wait_synced()
    parts.rounds.clear()
    period = partial(api_settings.period, settings=options.settings)
    sinks = (parts.rounds, *parts.web.sinks, LogSink())
    loops = LoopDependencies(parts.sensor, sinks, parts.clock, period)
    try:
        async with asyncio.TaskGroup() as group:
            # In: specs in force, from the store. Out: rounds, which are changes of their models.
            group.create_task(supervisor.run(parts.store.specs, loops, parts.store.models), name="models")
            # In: the CA's file. Out: the CA in the gateways' files, with their next pass.
            group.create_task(parts.files.follow_ca(), name="CA")
            # In: changes. Out: gateways, Services, statuses.
            group.create_task(parts.reconciler.run(), name="reconciler")
            # In: the gateways' stats. Out: the state of the remotes, as changes of their models.
            group.create_task(parts.remotes.run(), name="remotes")
            # In: Services taken over by no existing model. Out: these Services, restored.
            group.create_task(parts.orphans.run(), name="orphans")
    finally:
        for key in parts.store.model_keys():
            for sink in parts.web.sinks:
                sink.forget(key)
        log.info("no longer the leader", identity=options.identity)


async def while_leading(lease: Lease, lead: Callable[[], Awaitable[None]]) -> None:
    """Run `lead` whenever this replica holds the Lease."""
    while True:
        await lease.leading.changed_from(seen=False)
        async with asyncio.TaskGroup() as group:
            work = group.create_task(_coroutine(lead))
            await lease.leading.changed_from(seen=True)
            work.cancel()


async def _coroutine(lead: Callable[[], Awaitable[None]]) -> None:
    await lead()


async def _synced(watches: Watches, run: Callable[[], Awaitable[None]]) -> None:
    """Run something once all watches have synced."""
    await watches.wait_synced()
    await run()


async def _serve_gateways(shares: RtdsServer, where: RtdsAddress, certificate: Certificate) -> None:
    async with shares.serve(where.listen, certificate) as address:
        log.info("RTDS server listening", address=address)
        await asyncio.Event().wait()
