"""Patches as the API server applies them: merge patch, JSON patch, and kubectl's three-way apply."""

from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from typing import Any

from fakes import api_fields
from fakes.api_fields import Path
from fakes.api_kinds import Json, RefusedError


def merge(content: Any, patch: Any) -> Any:  # noqa: ANN401 - any values
    """Carry out a merge patch: null removes, mappings are merged, all else is replaced."""
    if not isinstance(patch, Mapping):
        return deepcopy(patch)
    whole = dict(content) if isinstance(content, Mapping) else {}
    for name, each in patch.items():
        if each is None:
            whole.pop(name, None)
        else:
            whole[name] = merge(whole.get(name), each)
    return whole


def operate(content: Json, operations: Sequence[Json]) -> Json:
    """Carry out a JSON patch, all of it or nothing. Raises RefusedError."""
    whole = deepcopy(content)
    for operation in operations:
        try:
            whole = _operated(whole, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise _unprocessable(operation, f"error in remove or replace for path: {error!r}") from error
    return whole


def three_way(last: Json, wanted: Json, live: Json) -> Json:
    """Lay what is wanted over what is there, without what was wanted last and is not any more."""
    of = api_fields.client_shape(wanted)
    kept = api_fields.owned(wanted, of)
    whole = live
    for path in {_topmost(each, kept) for each in api_fields.owned(last, of) - kept}:
        whole = api_fields.without(whole, path, of) if path else whole
    laid: Json = api_fields.merged(whole, wanted, of)
    return laid


def _topmost(path: Path, kept: Collection[Path]) -> Path:
    """Return the shortest beginning of a path below which nothing is kept, empty if there is none."""
    beginnings = (path[: number + 1] for number in range(len(path)))
    return next((each for each in beginnings if not any(other[: len(each)] == each for other in kept)), ())


def _operated(whole: Json, operation: Json) -> Json:
    name, parts = operation["op"], _parts(operation["path"])
    if name == "test":
        _test(whole, parts, operation)
        return whole
    if name in {"move", "copy"}:
        value = deepcopy(_at(whole, _parts(operation["from"])))
        if name == "move":
            _drop(whole, _parts(operation["from"]))
        return _put(whole, parts, value, insert=True)
    if name == "remove":
        _drop(whole, parts)
        return whole
    if name not in {"add", "replace"}:
        raise ValueError(f"unexpected operation {name}")
    return _put(whole, parts, deepcopy(operation["value"]), insert=name == "add")


def _test(whole: Json, parts: list[str], operation: Json) -> None:
    try:
        found = _at(whole, parts)
    except (KeyError, IndexError):
        found = None
    if found != operation.get("value"):
        raise _unprocessable(operation, f"testing path {operation['path']} failed: test failed")


def _unprocessable(operation: Json, why: str) -> RefusedError:
    return RefusedError(422, "Invalid", "the server rejected our request due to an error in our request")


def _parts(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _at(node: Any, parts: list[str]) -> Any:  # noqa: ANN401 - any value
    for part in parts:
        node = node[int(part)] if isinstance(node, list) else node[part]
    return node


def _put(whole: Json, parts: list[str], value: Any, *, insert: bool) -> Json:  # noqa: ANN401 - any value
    if not parts:
        replaced: Json = value
        return replaced
    node, last = _at(whole, parts[:-1]), parts[-1]
    if not isinstance(node, list):
        node[last] = value
    elif last == "-":
        node.append(value)
    elif insert:
        node.insert(int(last), value)
    else:
        node[int(last)] = value
    return whole


def _drop(whole: Json, parts: list[str]) -> None:
    node, last = _at(whole, parts[:-1]), parts[-1]
    if isinstance(node, list):
        del node[int(last)]
    else:
        del node[last]
