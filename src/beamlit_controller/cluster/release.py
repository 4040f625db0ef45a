"""Giving everything back, before the controller is uninstalled."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import structlog

from beamlit_controller.api import translate
from beamlit_controller.api.settings import Settings
from beamlit_controller.cluster import gateway, restore
from beamlit_controller.cluster.given import LEASE, Cluster
from beamlit_controller.cluster.view import View
from beamlit_controller.controller.clock import SteadyClock
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.spec import ModelKey, Rejected
from beamlit_controller.envoy.share_access import Tokens
from beamlit_controller.envoy.shares import ShareServer
from beamlit_controller.kubernetes import api_server, paths
from beamlit_controller.kubernetes.api_server import ApiError, ApiServer
from beamlit_controller.kubernetes.gateways import Gateways
from beamlit_controller.kubernetes.lease import Lease
from beamlit_controller.kubernetes.reach import Reach

LOOKS_EVERY = 0.5

log = structlog.stdlib.get_logger()


async def release(given: Cluster, deployment: str, *, within: float) -> None:
    """Give everything back, before the controller is uninstalled: no gateway is left, and no request is lost.

    The controller's own Deployment is scaled to nothing first, and its lease taken, so that nobody builds anew what is
    removed here. Raises TimeoutError when it takes longer than `within` seconds.
    """
    async with ApiServer(api_server.configuration(given.kubeconfig)) as server, asyncio.timeout(within):
        if deployment:
            await server.merge(paths.DEPLOYMENTS.path(given.namespace, deployment, "scale"), {"spec": {"replicas": 0}})
        lease = Lease(server, namespace=given.namespace, name=LEASE, identity=given.identity)
        async with asyncio.TaskGroup() as group:
            election = group.create_task(lease.run())
            await lease.leading.other_than(seen=False)
            namespaces = given.settings.namespaces or (None,)
            if await restore.has_models(server, namespaces[0]):
                await _released(given, server.guarded(lease.held))
            else:
                await _restored(server.guarded(lease.held), namespaces)
            election.cancel()


async def _restored(server: ApiServer, namespaces: Sequence[str | None]) -> None:
    """Give the Services back of models that went with their definition; what else was theirs went with them."""
    for namespace in namespaces:
        for well, said in await restore.services_of(server, namespace):
            (log.info if well else log.warning)("released", service=said)


async def _released(given: Cluster, server: ApiServer) -> None:
    """Treat every model as disabled, until nothing of its gateway is there."""
    view = View(given.settings, ShareServer(), read=_disabled)
    watches = view.watches(server)
    reach = Reach(gateway.QUESTION)  # never asked: nothing is taken over here
    takeovers = gateway.takeovers(server, view, reach, SteadyClock())
    keeper = Gateways(server, gateway.surroundings(given, view, Tokens(b"")), takeovers)
    view.to_wake = keeper.wake
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watches.run())
        await watches.wait_synced()
        keeping = group.create_task(keeper.run())
        for key in tuple(view.models.models):
            while key in view.models.models and not keeper.is_gone(key):
                # It is not only its objects that have to be gone.
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOKS_EVERY):
                        await view.owned.changes.other_than(view.owned.changes.value)
            await _say_released(server, key)
            log.info("released", model=str(key))
        keeping.cancel()
        watching.cancel()


def _disabled(content: Mapping[str, object]) -> translate.Accepted | tuple[Rejected, ...]:
    """Read a model as disabled, by no settings: what it says of a remote that is refused by now keeps no gateway."""
    spec = content.get("spec")
    given = spec if isinstance(spec, Mapping) else {}
    read = translate.read({**content, "spec": {**given, "offloadingConfig": NOWHERE}}, Settings())
    return replace(read, spec=replace(read.spec, enabled=False)) if isinstance(read, translate.Accepted) else read


NOWHERE = {"remoteBackend": {"host": "released.invalid"}}
"""A remote as every spec has to have one; nothing is sent there."""


async def _say_released(server: ApiServer, key: ModelKey) -> None:
    said = {"percentage": 0, "reason": Reason.RELEASED.value, "message": "the controller was uninstalled"}
    path = paths.MODEL_DEPLOYMENTS.path(key.namespace, key.name, "status")
    with suppress(ApiError):  # the resource may be on its way out as well
        await server.merge(path, {"status": {"offloading": said, "record": None}})
