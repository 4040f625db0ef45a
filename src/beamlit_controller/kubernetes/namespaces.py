"""Speeds up the deletion of a namespace once a model's last gateway pod in it is gone.

The namespace controller deletes the pods first, and looks again after half of their longest grace period, however soon
they are gone. A change of the Namespace makes it look within seconds
(docs/decisions/0019-a-namespace-does-not-wait-for-pods-that-are-gone.md).
"""

from typing import Final

import structlog

from beamlit_controller.core.spec import ModelKey
from beamlit_controller.kubernetes import fields
from beamlit_controller.kubernetes.api_server import ApiError, ApiServer
from beamlit_controller.kubernetes.paths import NAMESPACES
from beamlit_controller.kubernetes.service_patches import DOMAIN
from beamlit_controller.kubernetes.snapshot import Snapshot

log = structlog.stdlib.get_logger(__name__)

GATEWAY_GONE: Final = f"{DOMAIN}/gateway-gone"
"""The annotation; its value is the model whose last gateway pod is gone."""
FORBIDDEN, NOT_FOUND, CONFLICT = 403, 404, 409


async def had_pods(server: ApiServer, snapshot: Snapshot, *, before: bool) -> bool:
    """Annotate the Namespace if it is being deleted and the gateway's last pod is gone; return `before` for the next pass.

    Errors of the API server only delay the deletion; the model is not affected.
    """
    if snapshot.pods or not before:
        return bool(snapshot.pods)
    try:
        await _annotate(server, snapshot.key)
    except ApiError as error:
        log.debug("namespace not annotated", model=str(snapshot.key), code=error.code, error=error.message)
        return error.code not in {FORBIDDEN, NOT_FOUND, CONFLICT}  # other errors are retried
    return False


async def _annotate(server: ApiServer, key: ModelKey) -> None:
    path = NAMESPACES.path(None, key.namespace)
    about = fields.mapping((await server.get(path)).get("metadata"))
    if about.get("deletionTimestamp") is None:
        return
    # The uid excludes another namespace with the same name.
    await server.merge(path, {"metadata": {"uid": about.get("uid"), "annotations": {GATEWAY_GONE: key.name}}})
    log.info("last gateway pod gone", model=str(key))
