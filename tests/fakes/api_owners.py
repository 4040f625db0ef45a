"""Field ownership: what an update takes over, and what an apply requests, drops and conflicts with."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fakes import api_fields
from fakes.api_fields import MISSING, Owner, Path
from fakes.api_kinds import Address, Json, RefusedError
from fakes.api_store import Held


@dataclass(frozen=True, slots=True)
class Manager:
    """Who writes: its name, by way of which subresource, and when."""

    name: str
    subresource: str = ""
    time: str = ""


def updated(before: Held | None, after: Json, manager: Manager) -> tuple[Owner, ...]:
    """Return the owners once a manager has written the object: what it changed is its own, and nobody else's."""
    there = before or Held({"apiVersion": after["apiVersion"]})
    changed = api_fields.changed(there.content, after)
    mine = _of(there, manager, "Update") | changed
    others = _others(there, manager, "Update", without=changed)
    return _living((*others, _owner(there, manager, "Update", mine)), after)


def collisions(live: Held, wanted: Json, manager: Manager) -> tuple[tuple[Owner, Path], ...]:
    """Return the fields that somebody else owns with another value."""
    asked = api_fields.owned(wanted)
    return tuple(
        (owner, path)
        for owner in live.owners
        if not owner.is_same(manager.name, "Apply", manager.subresource)
        for path in sorted(owner.fields & asked)
        if api_fields.at(live.content, path) != api_fields.at(wanted, path)
    )


def refusal(at: Address, found: tuple[tuple[Owner, Path], ...]) -> RefusedError:
    """Say with whom an apply collides."""
    if len(found) == 1:
        owner, path = found[0]
        said = f"1 conflict: conflict with {_named(owner, at)}: {api_fields.shown(path)}"
        return RefusedError(409, "Conflict", f"Apply failed with {said}")
    names = sorted({_named(owner, at) for owner, _ in found})
    listed = (
        "\n".join([f"conflicts with {name}:", *(f"- {api_fields.shown(p)}" for o, p in found if _named(o, at) == name)])
        for name in names
    )
    return RefusedError(409, "Conflict", f"Apply failed with {len(found)} conflicts: {chr(10).join(listed)}")


def _named(owner: Owner, at: Address) -> str:
    by = f' with subresource "{owner.subresource}"' if owner.subresource else ""
    using = "" if owner.operation == "Apply" else f" using {at.kind.api_version}"
    return f'"{owner.manager}"{by}{using}'


def dropped(live: Held, wanted: Json, manager: Manager) -> tuple[Path, ...]:
    """Return the fields that were applied formerly, are not any more, and that nobody else owns."""
    others = {
        path
        for each in live.owners
        if not each.is_same(manager.name, "Apply", manager.subresource)
        for path in each.fields
    }
    asked = api_fields.owned(wanted)
    gone = _of(live, manager, "Apply") - asked - others
    # An item of a list goes only with all that others own of it.
    kept = {path for path in gone if any(other[: len(path)] == path for other in others | asked)}
    return tuple(sorted(gone - kept, key=len))


def applied(live: Held | None, after: Json, wanted: Json, manager: Manager) -> tuple[Owner, ...]:
    """Return the owners once an object was applied: all that is asked for is owned, and what was another's is not any more."""
    there = live or Held({"apiVersion": after["apiVersion"]})
    asked = api_fields.owned(wanted)
    changed = api_fields.changed(there.content, after) & asked
    others = _others(there, manager, "Apply", without=changed)
    return _living((*others, _owner(there, manager, "Apply", asked)), after)


def _of(held: Held, manager: Manager, operation: str) -> frozenset[Path]:
    same = (each.fields for each in held.owners if each.is_same(manager.name, operation, manager.subresource))
    return next(same, frozenset())


def _others(held: Held, manager: Manager, operation: str, *, without: frozenset[Path]) -> Iterator[Owner]:
    for each in held.owners:
        if not each.is_same(manager.name, operation, manager.subresource):
            left = each.fields - without
            yield each if left == each.fields else replace(each, fields=left, time=manager.time)


def _owner(held: Held, manager: Manager, operation: str, fields: frozenset[Path]) -> Owner:
    before = next((each for each in held.owners if each.is_same(manager.name, operation, manager.subresource)), None)
    if before is not None and before.fields == fields:
        return before
    return Owner(manager.name, operation, fields, manager.subresource, manager.time)


def _living(owners: tuple[Owner, ...], after: Json) -> tuple[Owner, ...]:
    """Leave out fields that are not there any more, and owners that have none."""
    there = ((each, frozenset(p for p in each.fields if api_fields.at(after, p) is not MISSING)) for each in owners)
    return tuple(each if left == each.fields else replace(each, fields=left) for each, left in there if left)
