"""What users do at the fake API server with their tools, such as kubectl. Raises RefusedError."""

import json
from collections.abc import Callable

from fakes import api_patches
from fakes.api_kinds import Json, RefusedError, collection_of, of, path_of
from fakes.api_server import FakeApiServer

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
CLIENT_SIDE = "kubectl-client-side-apply"


def put(server: FakeApiServer, content: Json, *, manager: str = "kubectl-create") -> Json:
    """Create an object, or put it in place of the one that is there."""
    there = _there(server, content)
    if there is None:
        return server.act(manager, "create", collection_of(content), content)
    about = {**content["metadata"], "resourceVersion": there["metadata"]["resourceVersion"]}
    return server.act(manager, "replace", path_of(content), {**content, "metadata": about})


def put_status(server: FakeApiServer, content: Json, status: Json, *, manager: str = "kubectl-edit") -> Json:
    """Write an object's status."""
    there = _there(server, content) or content
    return server.act(manager, "replace", path_of(content, "status"), {**there, "status": status})


def client_apply(server: FakeApiServer, content: Json) -> Json:
    """Apply an object as `kubectl apply` does by default: what was applied before and is not any more goes."""
    wanted = _noted(content)
    there = _there(server, content)
    if there is None:
        return server.act(CLIENT_SIDE, "create", collection_of(content), wanted)
    last = json.loads((there["metadata"].get("annotations") or {}).get(LAST_APPLIED, "{}"))
    last = {"apiVersion": content["apiVersion"], **last}
    return server.act(CLIENT_SIDE, "replace", path_of(content), api_patches.three_way(last, wanted, there))


def server_apply(server: FakeApiServer, content: Json, *, manager: str = "kubectl", force: bool = False) -> Json:
    """Apply an object as `kubectl apply --server-side` does."""
    query = {"force": "true"} if force else {}
    return server.act(manager, "apply", path_of(content), content, **query)


def edit(
    server: FakeApiServer, content: Json, change: Callable[[Json], object], *, manager: str = "kubectl-edit"
) -> Json:
    """Change the object that is there, in place, and write it back."""
    there = _there(server, content)
    if there is None:
        raise RefusedError(404, "NotFound", f"{content['kind']} {content['metadata']['name']} not found")
    change(there)
    return server.act(manager, "replace", path_of(content), there)


def merge(server: FakeApiServer, content: Json, patch: Json, *, manager: str = "kubectl-patch") -> Json:
    """Merge fields into an object."""
    return server.act(manager, "merge", path_of(content), patch)


def delete(server: FakeApiServer, content: Json, **options: object) -> Json:
    """Delete an object."""
    return server.act("kubectl-delete", "delete", path_of(content), options)


def _there(server: FakeApiServer, content: Json) -> Json | None:
    at = of(content)
    return server.find(content["apiVersion"], content["kind"], at.namespace, at.name)


def _noted(content: Json) -> Json:
    about = content["metadata"]
    bare = {name: each for name, each in (about.get("annotations") or {}).items() if name != LAST_APPLIED}
    plain = {**content, "metadata": {**about, "annotations": bare}}
    text = json.dumps(plain, separators=(",", ":"), sort_keys=True) + "\n"
    return {**plain, "metadata": {**about, "annotations": {**bare, LAST_APPLIED: text}}}
