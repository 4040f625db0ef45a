"""Lists and watch events of the fake API server."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field

from fakes import api_selectors
from fakes.api_kinds import Address, Json, RefusedError
from fakes.api_selectors import Test
from fakes.api_store import Change, Store


@dataclass(slots=True)
class Lists:
    """Gives lists, whole or in chunks of one and the same version."""

    store: Store
    _snapshots: dict[tuple[int, str], list[Json]] = field(default_factory=dict)

    def give(self, at: Address, query: Mapping[str, str]) -> Json:
        """Return a list. Raises RefusedError."""
        version, start = _began(query.get("continue", ""))
        asked = f"{at.kind.resource} {at.namespace} {query.get('labelSelector')} {query.get('fieldSelector')}"
        if version is None:
            version, items = self._now(at, query)
        else:
            items = self._snapshot(version, asked)
        limit = int(query.get("limit") or 0) or len(items)
        left = len(items) - start - limit
        about: Json = {"resourceVersion": str(version)}
        if left > 0:
            self._snapshots[version, asked] = items
            about["continue"] = _token(version, start + limit)
            about |= {} if "labelSelector" in query or "fieldSelector" in query else {"remainingItemCount": left}
        shown = [_item(at, each) for each in items[start : start + limit]]
        return {"kind": f"{at.kind.kind}List", "apiVersion": at.kind.api_version, "metadata": about, "items": shown}

    def _now(self, at: Address, query: Mapping[str, str]) -> tuple[int, list[Json]]:
        exact = query.get("resourceVersionMatch") == "Exact"
        if exact and int(query.get("resourceVersion") or 0) < self.store.oldest:
            raise expired("The resourceVersion for the provided list is too old.")
        test = api_selectors.selecting(query)
        found = self.store.of(at.kind.resource, at.namespace)
        return self.store.version, [each for each in found if test(each)]

    def _snapshot(self, version: int, asked: str) -> list[Json]:
        if version < self.store.oldest or (version, asked) not in self._snapshots:
            raise expired(_TOO_OLD)
        return self._snapshots[version, asked]


_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. "
    "You can start a new list without the continue parameter."
)


def expired(message: str) -> RefusedError:
    """Say that a version is not known any more."""
    return RefusedError(410, "Expired", message)


def told(change: Change, at: Address, test: Test) -> tuple[str, Json] | None:
    """Return the event that a watch is told for a change, None for one that does not concern it."""
    resource, namespace, _ = change.key
    if resource != at.kind.resource or at.namespace not in {"", namespace}:
        return None
    before = change.before if change.before is not None and test(change.before) else None
    after = change.after if change.after is not None and test(change.after) else None
    if after is not None:
        return ("ADDED" if before is None else "MODIFIED"), after
    return None if before is None else ("DELETED", _last(change, before))


def _last(change: Change, before: Json) -> Json:
    """Return what left as it was last, with the version at which it left."""
    return {**before, "metadata": {**before["metadata"], "resourceVersion": str(change.version)}}


def line(kind: str, content: Json) -> bytes:
    """Write an event as a watch sends it."""
    return json.dumps({"type": kind, "object": content}).encode() + b"\n"


def bookmark(at: Address, version: int) -> bytes:
    """Write the event that only says how far the watch is."""
    about = {"resourceVersion": str(version)}
    return line("BOOKMARK", {"kind": at.kind.kind, "apiVersion": at.kind.api_version, "metadata": about})


def partial(content: Json) -> Json:
    """Return an object or a list with metadata only."""
    if "items" not in content:
        return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": content["metadata"]}
    named = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
    return {**named, "metadata": content["metadata"], "items": [partial(each) for each in content["items"]]}


def _item(at: Address, content: Json) -> Json:
    """Return an object as an item: the kinds that are built in say neither kind nor version there."""
    return content if at.kind.custom else {name: each for name, each in content.items() if name not in _SAID_ONCE}


_SAID_ONCE = {"apiVersion", "kind"}


def _token(version: int, start: int) -> str:
    return urlsafe_b64encode(json.dumps([version, start]).encode()).decode()


def _began(token: str) -> tuple[int | None, int]:
    if not token:
        return None, 0
    try:
        version, start = json.loads(urlsafe_b64decode(token))
    except ValueError as error:
        raise RefusedError(400, "BadRequest", "continue key is not valid") from error
    return version, start
