"""The writes of the fake API server: the resulting object, or why the write is refused."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from fakes import api_defaults, api_fields, api_kinds, api_owners, api_patches, api_rules
from fakes.api_kinds import NAMESPACE, POD, Address, Json, RefusedError
from fakes.api_owners import Manager
from fakes.api_store import Held, Store


@dataclass(slots=True)
class Writes:
    """Carries writes out on a store, each whole and at once. `managed` is who writes."""

    store: Store
    now: Callable[[], datetime]
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    def create(self, at: Address, content: Json, manager: str) -> Json:
        """Create an object in a collection. Raises RefusedError."""
        about = content.get("metadata") or {}
        name = about.get("name") or f"{about.get('generateName', '')}{next(self._numbers):05x}"
        at = Address(at.kind, at.namespace, at.name or name)
        if about.get("resourceVersion"):
            raise RefusedError(400, "BadRequest", "resourceVersion should not be set on objects to be created")
        api_rules.same_place(at, about)
        if self.store.get(at.key) is not None:
            raise RefusedError(409, "AlreadyExists", f'{at.kind.resource} "{at.name}" already exists')
        after = self._new(at, content)
        return self._put(at, after, api_owners.updated(None, after, self._manager(at, manager)))

    def replace(self, at: Address, content: Json, manager: str) -> Json:
        """Put an object in place of the one that is there. Raises RefusedError."""
        before = self._there(at)
        version = (content.get("metadata") or {}).get("resourceVersion")
        if not version and not at.kind.unconditional:
            why = "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
            raise api_kinds.invalid(at, why)
        return self._updated(at, before, content, manager, whole=True)

    def merge(self, at: Address, patch: Json, manager: str) -> Json:
        """Merge fields into an object. Raises RefusedError."""
        before = self._there(at)
        return self._updated(at, before, api_patches.merge(self._sight(at, before), patch), manager)

    def patch(self, at: Address, operations: list[Json], manager: str) -> Json:
        """Carry out a JSON patch. Raises RefusedError."""
        before = self._there(at)
        return self._updated(at, before, api_patches.operate(self._sight(at, before), operations), manager)

    def apply(self, at: Address, content: Json, manager: str, *, force: bool) -> Json:
        """Apply an object as server-side apply does. Raises RefusedError."""
        before = self.store.get(at.key)
        about = content.get("metadata") or {}
        api_rules.same_place(at, about)
        who = self._manager(at, manager)
        if before is None:
            return self._created_by_apply(at, content, who)
        found = api_owners.collisions(before, content, who)
        if found and not force:
            raise api_owners.refusal(at, found)
        laid = api_fields.merged(before.content, content, api_fields.shape(content))
        for path in api_owners.dropped(before, content, who):
            laid = api_fields.without(laid, path)
        after = self._admitted(at, before, laid)
        return self._keep(at, before, after, api_owners.applied(before, after, content, who))

    def delete(self, at: Address, options: Json) -> Json:
        """Delete an object, or have it wait for its finalizers and its grace. Raises RefusedError."""
        before = self._there(at)
        api_rules.preconditions(at, before.content, options.get("preconditions") or {})
        about = before.content["metadata"]
        grace = self._grace(at, before.content, options)
        waits = bool(about.get("finalizers")) or grace > 0 or at.kind is NAMESPACE
        if not waits:
            self.store.remove(at.key)
            return api_rules.deleted(at, before.content)
        if about.get("deletionTimestamp") and about.get("deletionGracePeriodSeconds", 0) <= grace:
            return before.content
        return self.store.put(at.key, self._ending(at, before.content, grace), before.owners)

    def remove(self, at: Address) -> None:
        """Have a namespace gone of which nothing is left."""
        self.store.remove(at.key)

    def _created_by_apply(self, at: Address, content: Json, who: Manager) -> Json:
        about = content.get("metadata") or {}
        if at.subresource:
            raise api_kinds.not_found(at)
        if about.get("uid"):
            why = f"uid mismatch: the provided object specified uid {about['uid']}, and no existing object was found"
            raise api_kinds.conflict(at, why)
        after = self._new(at, content)
        return self._put(at, after, api_owners.applied(None, after, content, who))

    def _new(self, at: Address, content: Json) -> Json:
        self._admits(at)
        about = {
            **(content.get("metadata") or {}),
            "name": at.name,
            "uid": str(uuid.uuid5(_UIDS, str(next(self._numbers)))),
        }
        about |= {"creationTimestamp": self._instant(), **({"namespace": at.namespace} if at.kind.namespaced else {})}
        about = {name: each for name, each in about.items() if name not in {"managedFields", "resourceVersion"}}
        if at.kind.counted:
            about["generation"] = 1
        kept = {name: each for name, each in content.items() if name != "status" or not at.kind.has_status}
        whole = {**kept, "apiVersion": at.kind.api_version, "kind": at.kind.kind, "metadata": about}
        status = {"status": {"phase": "Pending", "qosClass": "BestEffort"}} if at.kind is POD else {}
        after = api_defaults.fill(at.kind, {**whole, **status}, self.store.families)
        api_rules.check(at, after)
        return after

    def _admits(self, at: Address) -> None:
        """Refuse what comes into a namespace that is not there, or is on its way out."""
        if not at.kind.namespaced:
            return
        space = self.store.get((NAMESPACE.resource, "", at.namespace))
        if space is None:
            raise api_kinds.not_found(Address(NAMESPACE, "", at.namespace))
        if "deletionTimestamp" in space.content["metadata"]:
            why = f"unable to create new content in namespace {at.namespace} because it is being terminated"
            raise RefusedError(403, "Forbidden", f'{at.kind.resource} "{at.name}" is forbidden: {why}')

    def _there(self, at: Address) -> Held:
        held = self.store.get(at.key)
        if held is None:
            raise api_kinds.not_found(at)
        return held

    @staticmethod
    def _sight(at: Address, before: Held) -> Json:
        """Return what a patch is carried out on."""
        return api_rules.scale(before.content) if at.subresource == "scale" else before.content

    def _updated(self, at: Address, before: Held, content: Json, manager: str, *, whole: bool = False) -> Json:
        after = self._admitted(at, before, content, whole=whole)
        return self._keep(at, before, after, api_owners.updated(before, after, self._manager(at, manager)))

    def _admitted(self, at: Address, before: Held, content: Json, *, whole: bool = False) -> Json:
        """Return what becomes of the object: only what the path may write, filled in and checked."""
        wanted, there = content.get("metadata") or {}, before.content
        api_rules.same_object(at, there, wanted, whole=whole)
        laid = api_rules.written(at, there, content)
        after = api_defaults.fill(at.kind, {**laid, "metadata": api_rules.about(at, there, laid)}, self.store.families)
        api_rules.check(at, after)
        api_rules.immutable(at, there, after)
        return _counted(at, there, after)

    def _keep(self, at: Address, before: Held, after: Json, owners: tuple[api_fields.Owner, ...]) -> Json:
        about = after["metadata"]
        if _as_before(before, after, owners):
            return self._answer(at, before.content)
        made = self._put(at, after, owners)
        if _is_done(at, about):
            return self.store.remove(at.key)
        return self._answer(at, made)

    @staticmethod
    def _answer(at: Address, content: Json) -> Json:
        return api_rules.scale(content) if at.subresource == "scale" else content

    def _put(self, at: Address, after: Json, owners: tuple[api_fields.Owner, ...]) -> Json:
        return self.store.put(at.key, after, owners)

    def _grace(self, at: Address, content: Json, options: Json) -> int:
        """Return the seconds for which a pod that runs may finish."""
        spec = content.get("spec") or {}
        if at.kind is not POD or not spec.get("nodeName"):
            return 0
        asked = options.get("gracePeriodSeconds")
        return int(spec.get("terminationGracePeriodSeconds", 30) if asked is None else asked)

    def _ending(self, at: Address, content: Json, grace: int) -> Json:
        about = dict(content["metadata"])
        about["deletionTimestamp"] = self._instant(timedelta(seconds=grace))
        about["deletionGracePeriodSeconds"] = grace
        if "generation" in about:
            about["generation"] += 1
        phase = {"status": {**content["status"], "phase": "Terminating"}} if at.kind is NAMESPACE else {}
        return {**content, **phase, "metadata": about}

    def _manager(self, at: Address, name: str) -> Manager:
        return Manager(name, at.subresource, self._instant())

    def _instant(self, later: timedelta = timedelta()) -> str:
        return (self.now() + later).strftime("%Y-%m-%dT%H:%M:%SZ")


_UIDS = uuid.UUID(int=0)


def _is_done(at: Address, about: Json) -> bool:
    """Return whether nothing keeps any more what is deleted: no finalizer, no grace."""
    keeps = about.get("finalizers") or about.get("deletionGracePeriodSeconds") or at.kind is NAMESPACE
    return "deletionTimestamp" in about and not keeps


def _counted(at: Address, before: Json, after: Json) -> Json:
    """Count the generation on if anything changed that its author decides."""
    if not at.kind.counted or _decided(before) == _decided(after):
        return after
    about = after["metadata"]
    return {**after, "metadata": {**about, "generation": about["generation"] + 1}}


def _decided(content: Json) -> Json:
    return {name: each for name, each in content.items() if name not in {"metadata", "status"}}


def _as_before(before: Held, after: Json, owners: tuple[api_fields.Owner, ...]) -> bool:
    return _plain(before.content) == _plain(after) and _who(before.owners) == _who(owners)


def _plain(content: Json) -> Any:  # noqa: ANN401 - JSON
    about = {
        name: each for name, each in content["metadata"].items() if name not in {"managedFields", "resourceVersion"}
    }
    return {**content, "metadata": about}


def _who(owners: tuple[api_fields.Owner, ...]) -> set[tuple[object, ...]]:
    return {(each.manager, each.operation, each.subresource, each.fields) for each in owners}
