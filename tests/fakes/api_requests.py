"""Handles requests to the fake API server, without time and network."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from fakes import api_kinds, api_lists, api_rules
from fakes.api_kinds import KINDS, Address, Json, RefusedError
from fakes.api_lists import Lists
from fakes.api_store import Store
from fakes.api_writes import Writes

READS: Final = ("get", "watch")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. `verb` is the name of the method of the client: get, watch, create, replace, apply, merge, patch, delete."""

    verb: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    manager: str = ""
    client: str = ""
    partial: bool = False
    """Whether only the metadata of objects is asked for."""

    @property
    def writes(self) -> bool:
        """Return whether it would change something."""
        return self.verb not in READS


class Answers:
    """Answers requests from a store."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self.store = store
        self.writes = Writes(store, now)
        self._lists = Lists(store)

    def give(self, asked: Asked) -> Json:
        """Carry a request out, whole and at once. Raises RefusedError."""
        if asked.path.rstrip("/") == "/apis":
            return _groups()
        served = _resources(asked.path)
        if served is not None:
            return served
        at = api_kinds.address(asked.path)
        if asked.verb != "get":
            return self._write(at, asked)
        return api_lists.partial(self._read(at, asked)) if asked.partial else self._read(at, asked)

    def _read(self, at: Address, asked: Asked) -> Json:
        if not at.name:
            return self._lists.give(at, asked.query)
        held = self.store.get(at.key)
        if held is None:
            raise api_kinds.not_found(at)
        return api_rules.scale(held.content) if at.subresource == "scale" else held.content

    def _write(self, at: Address, asked: Asked) -> Json:
        writes, body, manager = self.writes, asked.body, asked.manager or "unknown"
        if (asked.verb == "create") == bool(at.name):
            raise RefusedError(
                405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
            )
        match asked.verb:
            case "create":
                return writes.create(at, body, manager)
            case "replace":
                return writes.replace(at, body, manager)
            case "merge":
                return writes.merge(at, body, manager)
            case "patch":
                return writes.patch(at, body, manager)
            case "apply":
                return writes.apply(at, body, manager, force=asked.query.get("force") == "true")
            case _:
                return writes.delete(at, body or {})


def _groups() -> Json:
    groups = sorted({each.group for each in KINDS if each.group})
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_served(group) for group in groups]}


def _served(group: str) -> Json:
    whole = next(each.api_version for each in KINDS if each.group == group)
    version = {"groupVersion": whole, "version": whole.rpartition("/")[2]}
    return {"name": group, "versions": [version], "preferredVersion": version}


def _resources(path: str) -> Json | None:
    """Return what is served below `/api/v1` or `/apis/GROUP/VERSION`, None for another path."""
    version = path.strip("/").removeprefix("apis/").removeprefix("api/")
    served = [each for each in KINDS if each.api_version == version]
    if not served:
        return None
    resources = [{"name": each.plural, "kind": each.kind, "namespaced": each.namespaced} for each in served]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}


def parsed(method: str, kind: str, body: bytes) -> tuple[str, Any]:
    """Return the verb and the body of an HTTP request."""
    verb = _PATCHES.get(kind.partition(";")[0], "merge") if method == "PATCH" else _VERBS[method]
    return verb, json.loads(body) if body else None


_VERBS = {"GET": "get", "POST": "create", "PUT": "replace", "DELETE": "delete"}
_PATCHES = {
    "application/apply-patch+yaml": "apply",
    "application/merge-patch+json": "merge",
    "application/json-patch+json": "patch",
}
