"""Writes the takeover and the restoration of a Service, and checks its endpoints.

To take over: add the finalizer to the ModelDeployment, so that the Service is restored before the model is gone; patch
the Service, conditional on its version; check its endpoints until they are the gateway's pods. Restoring is the reverse:
patch the Service back, check that its endpoints exclude the gateway, remove the finalizer. Every function raises ApiError,
also for a write without the Lease: `server` is the guarded connection that `wiring.cluster_parts.compose` makes.
"""

from collections.abc import Collection, Iterator
from datetime import datetime

import structlog

from beamlit_controller.kubernetes import managed_objects, pod_addresses, service_patches
from beamlit_controller.kubernetes.api_server import ApiError, ApiServer, Json
from beamlit_controller.kubernetes.managed_objects import GatewayPod
from beamlit_controller.kubernetes.models import FINALIZER, Stored
from beamlit_controller.kubernetes.paths import ENDPOINT_SLICES, MODEL_DEPLOYMENTS, SERVICES
from beamlit_controller.kubernetes.services import Service

log = structlog.stdlib.get_logger(__name__)

NOT_FOUND, CONFLICT, INVALID = 404, 409, 422


async def take_over(server: ApiServer, stored: Stored, service: Service, *, reverted: Collection[datetime]) -> int:
    """Make the Service select the gateway's pods; return its new version."""
    if not stored.has_finalizer:
        await _add_finalizer(server, stored)
    value = service_patches.gateway_value(stored.uid)
    noted = service_patches.SelectorAnnotations(service.selector, stored.key.name, tuple(reverted))
    patch = service_patches.takeover_patch(service.version, service.current_selector, service.selector, noted, value)
    return await _write(server, service, patch)


async def restore(server: ApiServer, service: Service, *, reverted: Collection[datetime] = ()) -> int:
    """Restore the selector that its user wrote; return its new version."""
    patch = service_patches.restore_patch(service.version, service.current_selector, service.selector, reverted)
    return await _write(server, service, patch)


async def restore_all(server: ApiServer, services: Collection[Service], why: str) -> None:
    """Restore Services that should not be taken over any more."""
    for service in services:
        name = f"{service.namespace}/{service.name}"
        if service.selector_unknown:
            log.warning("service can't be restored: its original selector is unknown", service=name)
            continue
        await restore(server, service)
        log.info("service restored", service=name, reason=why)


async def remove_finalizer(server: ApiServer, stored: Stored) -> None:
    """Remove the finalizer, if present."""
    if not stored.has_finalizer:
        return
    # A JSON patch, because server-side apply could only remove a finalizer that we own.
    there = list(stored.content["metadata"]["finalizers"])
    where = "/metadata/finalizers"
    operations = (
        {"op": "test", "path": "/metadata/uid", "value": stored.uid},
        {"op": "test", "path": where, "value": there},
        {"op": "replace", "path": where, "value": [each for each in there if each != FINALIZER]},
    )
    try:
        await server.patch(MODEL_DEPLOYMENTS.path(stored.key.namespace, stored.key.name), operations)
    except ApiError as error:
        if error.code == INVALID:  # a test of the patch failed: a concurrent write won
            raise ApiError(CONFLICT, "Conflict", error.message) from error
        if error.code != NOT_FOUND:
            raise


async def endpoints_are_gateway(server: ApiServer, namespace: str, name: str, pods: Collection[GatewayPod]) -> bool:
    """Return whether the Service has ready endpoints, of whatever IP family, and all of them are gateway pods."""
    found = await _endpoints(server, namespace, name)
    return bool(found) and found <= _addresses(pods)


async def endpoints_exclude_gateway(server: ApiServer, namespace: str, name: str, pods: Collection[GatewayPod]) -> bool:
    """Return whether none of the Service's ready endpoints is a gateway pod."""
    return not await _endpoints(server, namespace, name) & _addresses(pods)


async def _add_finalizer(server: ApiServer, stored: Stored) -> None:
    """Add the finalizer, so that the model is not deleted before its Service is restored."""
    key = stored.key
    # The uid prevents recreating a model that was deleted in the meantime.
    about = {"name": key.name, "namespace": key.namespace, "uid": stored.uid, "finalizers": [FINALIZER]}
    content = {"apiVersion": MODEL_DEPLOYMENTS.api_version, "kind": MODEL_DEPLOYMENTS.kind, "metadata": about}
    await server.apply(MODEL_DEPLOYMENTS.path(key.namespace, key.name), content)


async def _write(server: ApiServer, service: Service, patch: Json) -> int:
    return managed_objects.version(await server.merge(SERVICES.path(service.namespace, service.name), patch))


async def _endpoints(server: ApiServer, namespace: str, name: str) -> set[str]:
    query = (("labelSelector", f"kubernetes.io/service-name={name}"),)
    found = await server.get(ENDPOINT_SLICES.collection(namespace), query)
    return {pod_addresses.canonical(each) for each in _ready_addresses(found)}


def _addresses(pods: Collection[GatewayPod]) -> set[str]:
    """Return the addresses of pods. They identify endpoints, because slices that users write have no targetRef."""
    return {ip for pod in pods for ip in pod.ips}


def _ready_addresses(slices: Json) -> Iterator[str]:
    for each in slices.get("items") or ():
        for endpoint in each.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is not False:
                yield from endpoint.get("addresses") or ()
