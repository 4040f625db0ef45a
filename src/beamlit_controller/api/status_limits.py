"""Cuts values to what a schema allows, so that the API server accepts them."""

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

Schema = Mapping[str, Any]

INT64: Final = 2**63 - 1


class _Unfit:
    """Marks a value that can't be made to fit."""


UNFIT: Final = _Unfit()


def fit(value: object, schema: Schema) -> object:
    """Return the value with long texts cut and numbers clamped; what can't be made to fit is left out.

    A mapping without one of its required fields is left out entirely; the result is `UNFIT` if nothing remains.
    """
    if not _is_of(value, schema):
        return UNFIT
    match value:
        case str():
            return _text(value, schema)
        case int() if not isinstance(value, bool):
            return max(schema.get("minimum", -INT64), min(schema.get("maximum", INT64), value))
        case list() | tuple():
            return _some(value, schema)
        case Mapping():
            return _fields(value, schema)
        case _:
            return value


def _is_of(value: object, schema: Schema) -> bool:
    """Return whether the value has the schema's type; null never has, and a bool is not an integer."""
    wanted = _TYPES.get(schema.get("type", ""), object)
    return value is not None and isinstance(value, wanted) and not (wanted is int and isinstance(value, bool))


_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    "string": str,
    "integer": int,
    "boolean": bool,
    "array": (list, tuple),
    "object": Mapping,
}


def _text(value: str, schema: Schema) -> object:
    cut = value[: schema.get("maxLength")]
    if len(cut) < schema.get("minLength", 0) or cut not in schema.get("enum", (cut,)):
        return UNFIT
    pattern = schema.get("pattern")
    return cut if pattern is None or re.search(pattern, cut) else UNFIT


def _some(values: list[object] | tuple[object, ...], schema: Schema) -> list[object]:
    fitting = (fit(each, schema.get("items", {})) for each in values)
    return list(islice((each for each in fitting if each is not UNFIT), schema.get("maxItems")))


def _fields(value: Mapping[str, object], schema: Schema) -> object:
    known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
    fitting = ((name, fit(each, known.get(name, others))) for name, each in value.items())
    kept = dict(islice(((name, each) for name, each in fitting if each is not UNFIT), schema.get("maxProperties")))
    return kept if all(name in kept for name in schema.get("required", ())) else UNFIT
