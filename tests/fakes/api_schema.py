"""The schema of ModelDeployment as the API server applies it: defaults, pruning, validation.

It is the schema that the CRD is rendered from. Cross-field rules (CEL) are not evaluated.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from beamlit_controller.api import crd
from fakes.api_kinds import Json

SCHEMA: Final[Json] = crd.definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def filled(schema: Json, value: Any, *, root: bool = True) -> Any:  # noqa: ANN401 - any value
    """Return the value without unknown fields and with defaults."""
    if isinstance(value, list) and "items" in schema:
        return [filled(schema["items"], each, root=False) for each in value]
    if isinstance(value, Mapping) and isinstance(schema.get("additionalProperties"), Mapping):
        return {name: filled(schema["additionalProperties"], each, root=False) for name, each in value.items()}
    if not isinstance(value, Mapping) or "properties" not in schema:
        return value
    known = schema["properties"]
    defaults = {name: each["default"] for name, each in known.items() if "default" in each and name not in value}
    kept = {name: each for name, each in {**value, **defaults}.items() if name in known}
    whole = {name: filled(known[name], each, root=False) for name, each in kept.items()}
    return {**whole, "metadata": value["metadata"]} if root else whole


def refused(content: Json) -> list[str]:
    """Return what the API server refuses of an object, in its words."""
    found = list(mistakes(SCHEMA, content))
    return [*found, _UNCHECKED] if any(word in each for each in found for word in _BLOCKING) else found


_BLOCKING: Final = ("Too long", "Too many", "Unsupported value", "Required value", "must be of type")
_UNCHECKED: Final = (
    "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)


def mistakes(schema: Json, value: Any, at: str = "") -> Iterator[str]:  # noqa: ANN401 - any value
    """Yield what the API server would refuse, in its words."""
    wrong = _type(schema, value)
    if wrong:
        told = f'{_inside(at)} must be of type {schema["type"]}: "{wrong}"'
        yield f'{at or "<nil>"}: Invalid value: "{wrong}": {told}'
        return
    inside = _inside(at)
    yield from (
        f"{at}: {each}"
        for each in (*_text(schema, value, inside), *_size(schema, value, inside), *_enum(schema, value))
    )
    yield from _below(schema, value, at)


def _inside(at: str) -> str:
    return f"{at.removeprefix('status.')} in body"


def _type(schema: Json, value: Any) -> str:  # noqa: ANN401 - any value
    kind = schema.get("type")
    types = _TYPES.get(str(kind))
    if types is None or (isinstance(value, types) and not (isinstance(value, bool) and kind != "boolean")):
        return ""
    return next((name for name, each in _TYPES.items() if isinstance(value, each)), "null")


_TYPES: Final[Mapping[str, Any]] = {
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "string": str,
    "object": Mapping,
    "array": list,
}


def _text(schema: Json, value: Any, inside: str) -> Iterator[str]:  # noqa: ANN401 - any value
    if not isinstance(value, str):
        return
    if len(value) > schema.get("maxLength", len(value)):
        yield f"Too long: may not be more than {schema['maxLength']} bytes"
    if len(value) < schema.get("minLength", 0):
        yield f'Invalid value: "{value}": {inside} should be at least {schema["minLength"]} chars long'
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"Invalid value: \"{value}\": should match '{schema['pattern']}'"
    if schema.get("format") == "date-time" and not _is_instant(value):
        yield f'Invalid value: "{value}": {inside} must be of type date-time: "{value}"'


def _is_instant(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _size(schema: Json, value: Any, inside: str) -> Iterator[str]:  # noqa: ANN401 - any value
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value < schema.get("minimum", value):
            yield f"Invalid value: {value}: {inside} should be greater than or equal to {schema['minimum']}"
        if value > schema.get("maximum", value):
            yield f"Invalid value: {value}: {inside} should be less than or equal to {schema['maximum']}"
    if isinstance(value, list) and len(value) > schema.get("maxItems", len(value)):
        yield f"Too many: {len(value)}: must have at most {schema['maxItems']} items"
    if isinstance(value, list) and len(value) < schema.get("minItems", 0):
        yield f"Invalid value: {len(value)}: {inside} should have at least {schema['minItems']} items"
    if isinstance(value, Mapping) and len(value) > schema.get("maxProperties", len(value)):
        yield f"Too many: {len(value)}: must have at most {schema['maxProperties']} items"


def _enum(schema: Json, value: Any) -> Iterator[str]:  # noqa: ANN401 - any value
    if "enum" in schema and value not in schema["enum"]:
        listed = ", ".join(f'"{each}"' for each in schema["enum"])
        yield f'Unsupported value: "{value}": supported values: {listed}'


def _below(schema: Json, value: Any, at: str) -> Iterator[str]:  # noqa: ANN401 - any value
    if isinstance(value, list):
        for number, each in enumerate(value):
            yield from mistakes(schema.get("items") or {}, each, f"{at}[{number}]")
        yield from _twice(schema, value, at)
    if not isinstance(value, Mapping):
        return
    known, others = schema.get("properties") or {}, schema.get("additionalProperties")
    prefix = f"{at}." if at else ""
    for name in schema.get("required") or ():
        if name not in value:
            yield f"{prefix}{name}: Required value"
    for name, each in value.items():
        inner = known.get(name, others)
        if isinstance(inner, Mapping):
            yield from mistakes(dict(inner), each, f"{prefix}{name}")


def _twice(schema: Json, value: list[Any], at: str) -> Iterator[str]:
    names = schema.get("x-kubernetes-list-map-keys") or ()
    seen: list[object] = []
    for number, each in enumerate(value if names else ()):
        key = {name: each.get(name) for name in names}
        if key in seen:
            yield f"{at}[{number}]: Duplicate value: {json.dumps(key, separators=(',', ':'))}"
        seen.append(key)
