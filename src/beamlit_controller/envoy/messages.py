"""Builds Envoy's messages as proto3 JSON: plain dictionaries with the field names of its API."""

import json
from collections.abc import Iterable

Message = dict[str, object]


def typed(name: str, /, **fields: object) -> Message:
    """Return a `google.protobuf.Any`: the type's full name, and its fields."""
    return {"@type": f"type.googleapis.com/{name}", **fields}


def extension(name: str, kind: str, /, **fields: object) -> Message:
    """Return a TypedExtensionConfig: Envoy's name for the extension, the full name of its type, and its fields."""
    return {"name": name, "typed_config": typed(kind, **fields)}


def headers_to_set(headers: Iterable[tuple[str, str]]) -> list[Message]:
    """Return HeaderValueOptions that set each header to exactly this text, replacing existing values."""
    return [_set(name, literal(value)) for name, value in headers]


def formatted_header(name: str, template: str) -> list[Message]:
    """Return HeaderValueOptions that set the header to a template with Envoy's command operators."""
    return [_set(name, template)]


def coalesced(*operators: tuple[str, str]) -> str:
    """Return the template of the first of these command operators, each with its parameter, that has a value."""
    named = [{"command": command, "param": param} for command, param in operators]
    return f"%COALESCE({json.dumps({'operators': named}, separators=(',', ':'))})%"


def literal(value: str) -> str:
    """Escape the text so that Envoy, which reads `%…%` as command operators, sends it unchanged."""
    return value.replace("%", "%%")


def _set(name: str, value: str) -> Message:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
