"""Restores taken-over Services without a controller, even if the controller, its CRD and the gateways are gone."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from beamlit_controller.kubernetes import api_server, gateway_objects, models, paths, service_patches, services
from beamlit_controller.kubernetes.api_server import ApiError, ApiServer, Json
from beamlit_controller.kubernetes.services import Service

NOT_FOUND = 404
Result = tuple[bool, str]
"""Whether it succeeded, and the message."""


async def restore(namespace: str | None, kubeconfig: Path | None = None) -> Sequence[Result]:
    """Restore every taken-over Service of a namespace, or of all; return the result for each. Raises ApiError.

    The finalizers are removed as well, because no controller would remove them.
    """
    async with ApiServer(api_server.configuration(kubeconfig)) as server:
        said = await services_of(server, namespace)
        return [*said, *[await _remove_finalizer(server, each) for each in await _with_finalizer(server, namespace)]]


async def services_of(server: ApiServer, namespace: str | None) -> Sequence[Result]:
    """Restore the Services only, not the finalizers."""
    listed = (await server.get(paths.SERVICES.collection(namespace)))["items"]
    found = [services.parse(each) for each in listed]
    taken = [each for each in found if each.is_taken_over or each.takeover_annotations.taken_by]
    return [await _restore_one(server, _with_known_selector(each, listed)) for each in taken]


async def has_models(server: ApiServer, namespace: str | None) -> bool:
    """Return whether the CRD exists."""
    try:
        await server.get(paths.MODEL_DEPLOYMENTS.collection(namespace), (("limit", "1"),))
    except ApiError as error:
        if error.code != NOT_FOUND:
            raise
        return False
    return True


async def _restore_one(server: ApiServer, service: Service) -> Result:
    name = f"Service {service.namespace}/{service.name}"
    if service.selector_unknown:
        return False, f"{name}: its original selector is unknown: set its spec.selector"
    patch = service_patches.restore_patch(service.version, service.current_selector, service.selector)
    try:
        await server.merge(paths.SERVICES.path(service.namespace, service.name), patch)
    except ApiError as error:
        return False, f"{name}: {error.message}"
    return True, f"{name} selects {','.join(f'{key}={value}' for key, value in service.selector)}"


def _with_known_selector(service: Service, listed: Sequence[Json]) -> Service:
    """Return the Service; if its original selector is unknown, with the selector of NAME-local."""
    if not service.selector_unknown:
        return service
    locals_ = (each for each in listed if _is_local_of(each, service))
    return services.with_known_selector(service, next((each["spec"].get("selector") or {} for each in locals_), {}))


def _is_local_of(content: Json, service: Service) -> bool:
    about = content["metadata"]
    model = (about.get("labels") or {}).get(gateway_objects.GATEWAY_LABEL)
    taker = service_patches.gateway_value(next((each["uid"] for each in about.get("ownerReferences") or ()), ""))
    return (
        about["namespace"] == service.namespace
        and about["name"] == f"{model}-local"
        and (model == service.takeover_annotations.taken_by or taker in dict(service.current_selector).values())
    )


async def _with_finalizer(server: ApiServer, namespace: str | None) -> list[Json]:
    """Return the models with our finalizer; none if the CRD does not exist."""
    try:
        listed: list[Json] = (await server.get(paths.MODEL_DEPLOYMENTS.collection(namespace)))["items"]
    except ApiError as error:
        if error.code != NOT_FOUND:
            raise
        return []
    return [each for each in listed if models.FINALIZER in _finalizers(each)]


def _finalizers(content: Json) -> Iterator[str]:
    yield from content["metadata"].get("finalizers") or ()


async def _remove_finalizer(server: ApiServer, model: Json) -> Result:
    about = model["metadata"]
    left = [each for each in _finalizers(model) if each != models.FINALIZER]
    change = {"resourceVersion": about["resourceVersion"], "finalizers": left}
    with suppress(ApiError):
        await server.merge(paths.MODEL_DEPLOYMENTS.path(about["namespace"], about["name"]), {"metadata": change})
        return True, f"ModelDeployment {about['namespace']}/{about['name']} may be deleted"
    return (
        False,
        f"ModelDeployment {about['namespace']}/{about['name']}: its finalizer {models.FINALIZER} could not be removed",
    )
