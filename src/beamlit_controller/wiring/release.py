"""Restores all Services and removes all gateways, before the controller is uninstalled.

It runs the reconciler with every model treated as being deleted, until every gateway object is gone.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress

import structlog

from beamlit_controller.api import translate
from beamlit_controller.api.settings import GatewayBounds, Settings
from beamlit_controller.controller.changes import Changes
from beamlit_controller.controller.clock import AnchoredClock
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.spec import ModelKey, OffloadSpec, Rejected
from beamlit_controller.kubernetes import api_server, paths
from beamlit_controller.kubernetes.api_server import ApiError, ApiServer
from beamlit_controller.kubernetes.desired import GatewayObjects
from beamlit_controller.kubernetes.gateway_probe import GatewayProbe
from beamlit_controller.kubernetes.last_good import LastGood
from beamlit_controller.kubernetes.lease import Lease
from beamlit_controller.kubernetes.observation import Observer
from beamlit_controller.kubernetes.plan import Plan
from beamlit_controller.kubernetes.reconcile import GatewayPass
from beamlit_controller.kubernetes.reconciler import Reconciler
from beamlit_controller.kubernetes.rendering import Rendered
from beamlit_controller.kubernetes.snapshot import GatewayState, Snapshot
from beamlit_controller.kubernetes.status_writer import WrittenStatus
from beamlit_controller.kubernetes.store import Store
from beamlit_controller.wiring import gateway_files, restore
from beamlit_controller.wiring.cluster_options import ClusterOptions

LOOKS_EVERY = 0.5
FORBIDDEN = 403
NOT_FOUND = 404

log = structlog.stdlib.get_logger()


async def release(options: ClusterOptions, deployment: str, *, within: float) -> None:
    """Restore all Services and remove all gateways, without losing a request.

    Raises TimeoutError after `within` seconds.
    """
    async with ApiServer(api_server.configuration(options.kubeconfig)) as server, asyncio.timeout(within):
        await release_all(server, options, deployment)


async def release_all(server: ApiServer, options: ClusterOptions, deployment: str) -> None:
    """Scale the controller's own Deployment to 0 and acquire its Lease, so that nothing is created again; then release all.

    Namespaces that the API server refuses to list are left out, and then named by an ApiError.
    """
    if deployment:
        await stop_controller(server, options.namespace, deployment)
    lease = Lease(server, namespace=options.namespace, name=options.lease, identity=options.identity)
    async with asyncio.TaskGroup() as group:
        election = group.create_task(lease.run())
        await lease.leading.changed_from(seen=False)
        namespaces = options.settings.namespaces or (None,)
        if await _have_models(server, namespaces):
            await _released(options, server.guarded(lease.held))
        else:
            await _restored(server.guarded(lease.held), namespaces)
        election.cancel()
    if deployment:
        await _remove_lease(server, options)


async def _remove_lease(server: ApiServer, options: ClusterOptions) -> None:
    """Delete the Lease of a controller that is gone, by which `kubectl offload` would still find it."""
    try:
        await server.delete(paths.LEASES.path(options.namespace, options.lease))
    except ApiError as error:
        log.warning("lease not deleted", lease=f"{options.namespace}/{options.lease}", error=error.message)


async def _have_models(server: ApiServer, namespaces: Sequence[str | None]) -> bool:
    """Return whether the CRD exists, asking in the first namespace whose models may be listed."""
    *others, last = namespaces
    for namespace in others:
        try:
            return await restore.has_models(server, namespace)
        except ApiError as error:
            if error.code != FORBIDDEN:
                raise
    return await restore.has_models(server, last)


async def stop_controller(server: ApiServer, namespace: str, deployment: str) -> None:
    """Scale the controller's Deployment to 0. A Deployment that does not exist needs no stopping. Raises ApiError."""
    try:
        await server.merge(paths.DEPLOYMENTS.path(namespace, deployment, "scale"), {"spec": {"replicas": 0}})
    except ApiError as error:
        if error.code != NOT_FOUND:
            raise
        log.info("no controller to stop", deployment=f"{namespace}/{deployment}")


async def _restored(server: ApiServer, namespaces: Sequence[str | None]) -> None:
    """Restore the Services of models that were deleted with the CRD; everything else was garbage collected."""
    refused: dict[str, str] = {}
    for namespace in namespaces:
        try:
            restored = await restore.services_of(server, namespace)
        except ApiError as error:
            refused[namespace or ""] = error.message
            continue
        for ok, message in restored:
            (log.info if ok else log.warning)("released", service=message)
    _raise_if_refused(refused)


async def _released(options: ClusterOptions, server: ApiServer) -> None:
    """Treat every model as being deleted, until every object of its gateway is gone."""
    store = Store(_parse_without_policy, Changes(), withdrawn=True)
    watches = store.watches(server, options.settings.namespaces)
    reconciler = _reconciler(server, store)
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watches.run())
        await watches.wait_synced()
        refused = {namespace: why[0] for namespace, why in watches.refused().items() if why}
        running = [watching, group.create_task(LastGood(server, store).run()), group.create_task(reconciler.run())]
        async with asyncio.TaskGroup() as each:
            for key in store.model_keys():
                each.create_task(_wait_until_removed(server, store, key))
        for task in running:
            task.cancel()
    _raise_if_refused(refused)


def _raise_if_refused(refused: Mapping[str, str]) -> None:
    """Raise ApiError if something was not released; `refused` has the reason by namespace, "" for all of them."""
    if refused:
        reasons = "; ".join(f"{namespace}: {why}" if namespace else why for namespace, why in refused.items())
        raise ApiError(FORBIDDEN, "Forbidden", f"not everything was released: {reasons}")


def _reconciler(server: ApiServer, store: Store) -> Reconciler:
    observer = Observer(GatewayProbe(gateway_files.QUESTION), AnchoredClock(), lambda _: None)
    passes = GatewayPass(server, NoObjects(), observer)
    return Reconciler(server, store, gateway=passes, status=NoStatus())


class NoStatus:
    """Writes no status: each model's result is written once its gateway is gone."""

    async def report(
        self,
        snapshot: Snapshot,  # noqa: ARG002 - as the Protocol has it
        gateway: GatewayState,  # noqa: ARG002 - the same
        last: WrittenStatus | None,
    ) -> WrittenStatus | None:
        """Do nothing."""
        return last


class NoObjects:
    """Builds no gateway, because all of them are being removed."""

    async def objects(self, snapshot: Snapshot, before: Rendered, spec: OffloadSpec, plan: Plan) -> GatewayObjects:
        """Raise NotImplementedError."""
        raise NotImplementedError(
            f"{snapshot.key}: no gateway is built while all gateways are removed: {spec}, {plan}, {before}"
        )


async def _wait_until_removed(server: ApiServer, store: Store, key: ModelKey) -> None:
    """Wait until every object of a model's gateway is gone, and write that to its status."""
    changes = store.changes.subscribe()
    while store.models.get(key) is not None and not store.is_removed(key):
        # Its pods must be gone, too, and may still be draining.
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOKS_EVERY):
                await changes.keys()
    store.changes.unsubscribe(changes)
    await _write_released_status(server, key)
    log.info("released", model=str(key))


def _parse_without_policy(content: Mapping[str, object]) -> translate.Accepted | tuple[Rejected, ...]:
    """Parse a model without the settings' restrictions, so that a remote that is no longer allowed does not block the removal."""
    spec = content.get("spec")
    options = spec if isinstance(spec, Mapping) else {}
    return translate.read({**content, "spec": {**options, "offloadingConfig": NOWHERE}}, UNBOUNDED)


NOWHERE = {"remoteBackend": {"host": "released.invalid"}}
"""A placeholder remote, because every spec must have one; nothing is sent there."""
UNBOUNDED = Settings(gateways=GatewayBounds(images=("*",), replicas=None, resources=None))


async def _write_released_status(server: ApiServer, key: ModelKey) -> None:
    offloading = {
        "inForce": "0%",
        "percentage": 0,
        "inFlightPerReplica": None,
        "reason": Reason.RELEASED.value,
        "message": "the controller was uninstalled",
    }
    path = paths.MODEL_DEPLOYMENTS.path(key.namespace, key.name, "status")
    with suppress(ApiError):  # the resource may be being deleted as well
        await server.merge(path, {"status": {"offloading": offloading, "record": None}})
