"""Field sets of server-side apply: paths, values and owners.

A path consists of FieldsV1 elements: `f:name` for a field, `k:{…}` for a list item by its keys, `v:…` for a set item.
"""

import json
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

from fakes.api_kinds import Json

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Owner:
    """Who owns fields: a manager that applied or updated, by way of a subresource or not."""

    manager: str
    operation: str
    fields: frozenset[Path]
    subresource: str = ""
    time: str = ""

    def is_same(self, manager: str, operation: str, subresource: str) -> bool:
        """Return whether this is that owner."""
        return (self.manager, self.operation, self.subresource) == (manager, operation, subresource)


MISSING: Final = object()
SET: Final = ("",)
_ITEMS: Final = {
    "conditions": ("type",),
    "ownerReferences": ("uid",),
    "finalizers": SET,
    "containers": ("name",),
    "initContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "imagePullSecrets": ("name",),
    "volumeMounts": ("mountPath",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "ports": ("port", "protocol"),
}
_CUSTOM: Final = {"conditions", "ownerReferences", "finalizers"}
_ATOMIC: Final[frozenset[Path]] = frozenset({("f:spec", "f:selector"), ("f:endpoints",)})
_IDENTITY: Final = {
    ("f:apiVersion",),
    ("f:kind",),
    *(
        ("f:metadata", f"f:{name}")
        for name in (
            "name",
            "generateName",
            "namespace",
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "managedFields",
        )
    ),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """Which lists of a kind have items of their own, and which mappings are one value."""

    custom: bool
    atomic: frozenset[Path]

    def keys(self, path: Path) -> tuple[str, ...] | None:
        """Return by what the items of the list at a path are told apart; None for a list that is one value."""
        name = path[-1].removeprefix("f:") if path else ""
        if self.custom and name not in _CUSTOM:
            return None
        if name == "ports" and any(element.startswith("k:") for element in path):
            return ("containerPort", "protocol")
        return _ITEMS.get(name)


def shape(content: Json) -> Shape:
    """Return the shape of an object as the API server has it."""
    return Shape(_is_custom(content), _ATOMIC)


def client_shape(content: Json) -> Shape:
    """Return the shape of an object as kubectl has it when it applies by itself."""
    return Shape(_is_custom(content), frozenset())


def owned(content: Json, of: Shape | None = None) -> frozenset[Path]:
    """Return the paths of all fields that somebody can own."""
    found = _paths(content, of or shape(content))
    return frozenset(path for path in found if path[:2] not in _IDENTITY and path[:1] not in _IDENTITY)


def changed(before: Json, after: Json) -> frozenset[Path]:
    """Return the paths of the fields that are new or different."""
    touched = {f"f:{name}": each for name, each in after.items() if before.get(name, MISSING) != each}
    return frozenset(path for path in owned(after) if path[0] in touched and at(after, path) != at(before, path))


def at(content: Json, path: Path) -> Any:  # noqa: ANN401 - any value
    """Return what is at a path; the mere presence of an item of a list."""
    of, node = shape(content), content
    for number, element in enumerate(path):
        node = _step(node, element, of.keys(path[:number]))
        if node is MISSING:
            return MISSING
    return True if path and path[-1].startswith("k:") else node


def merged(live: Any, applied: Any, of: Shape, path: Path = ()) -> Any:  # noqa: ANN401 - any values
    """Lay what is applied over what is there."""
    if isinstance(live, dict) and isinstance(applied, dict) and path not in of.atomic:
        over = {name: merged(live.get(name), each, of, (*path, f"f:{name}")) for name, each in applied.items()}
        return {**live, **over}
    names = of.keys(path)
    if names is None or not isinstance(live, list) or not isinstance(applied, list):
        return deepcopy(applied)
    if names is SET:
        return [*live, *(each for each in applied if each not in live)]
    there = {_element(each, names): each for each in live}
    for each in applied:
        element = _element(each, names)
        there[element] = merged(there.get(element), each, of, (*path, element))
    return list(there.values())


def without(content: Json, path: Path, of: Shape | None = None) -> Json:
    """Return the object without what is at a path, and without the mappings and lists that this leaves empty."""
    whole = deepcopy(content)
    _remove(whole, path, of or shape(content))
    return whole


def rendered(owners: Iterable[Owner], api_version: str) -> list[Json]:
    """Write owners as `metadata.managedFields`."""
    return [
        {
            "manager": owner.manager,
            "operation": owner.operation,
            "apiVersion": api_version,
            "time": owner.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": _tree(owner.fields),
            **({"subresource": owner.subresource} if owner.subresource else {}),
        }
        for owner in owners
    ]


def shown(path: Path) -> str:
    """Write a path as messages have it."""
    return "".join(f".{each[2:]}" if each.startswith("f:") else _bracket(each) for each in path)


def _bracket(element: str) -> str:
    if element.startswith("v:"):
        return f"[={element[2:]}]"
    return "[" + ",".join(f"{name}={json.dumps(value)}" for name, value in json.loads(element[2:]).items()) + "]"


def _is_custom(content: Json) -> bool:
    return str(content.get("apiVersion", "")).startswith("deployment.beamlit.com/")


def _paths(node: Any, of: Shape, path: Path = ()) -> Iterator[Path]:  # noqa: ANN401 - any value
    names = of.keys(path)
    if isinstance(node, dict) and node and path not in of.atomic:
        for name, each in node.items():
            yield from _paths(each, of, (*path, f"f:{name}"))
    elif isinstance(node, list) and node and names is not None:
        for each in node:
            item = (*path, _element(each, names))
            yield item
            if isinstance(each, dict):
                yield from _paths(each, of, item)
    elif path:
        yield path


def _element(item: Any, names: tuple[str, ...]) -> str:  # noqa: ANN401 - any value
    if names is SET:
        return f"v:{json.dumps(item)}"
    return f"k:{json.dumps({name: item.get(name, _DEFAULTS.get(name)) for name in names}, separators=(',', ':'))}"


_DEFAULTS: Final = {"protocol": "TCP"}


def _step(node: Any, element: str, names: tuple[str, ...] | None) -> Any:  # noqa: ANN401 - any value
    if element.startswith("f:"):
        return node.get(element[2:], MISSING) if isinstance(node, dict) else MISSING
    if not isinstance(node, list) or names is None:
        return MISSING
    return next((each for each in node if _element(each, names) == element), MISSING)


def _remove(node: Any, path: Path, of: Shape, walked: Path = ()) -> None:  # noqa: ANN401 - any value
    element = path[0]
    child = _step(node, element, of.keys(walked))
    if child is MISSING:
        return
    if len(path) > 1:
        _remove(child, path[1:], of, (*walked, element))
        if child not in ({}, []):
            return
    if element.startswith("f:"):
        del node[element[2:]]
    else:
        node.remove(child)


def _tree(fields: Iterable[Path]) -> Json:
    tree: Json = {}
    for path in sorted(fields):
        node = tree
        for element in path:
            node = node.setdefault(element, {})
        if path[-1].startswith("k:"):
            node["."] = {}
    return tree
