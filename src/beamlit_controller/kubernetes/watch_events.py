"""The parts of list and watch responses: events, items, names and versions. Pure."""

import json
from collections.abc import Sequence
from typing import Any

from beamlit_controller.kubernetes import fields

Json = dict[str, Any]
NamespacedName = tuple[str, str]
"""Namespace ("" for cluster-scoped objects) and name."""


class MalformedError(Exception):
    """The response is not a list, or a stream contains nothing but malformed events."""


def event(line: str) -> tuple[str, Json] | None:
    """Parse a watch event: its type and its object. None if it is not one."""
    try:
        read = json.loads(line)
    except (ValueError, RecursionError):
        return None
    kind, content = fields.mapping(read).get("type"), fields.mapping(read).get("object")
    return (kind, content) if isinstance(kind, str) and isinstance(content, dict) else None


def items(answer: Json) -> Sequence[object]:
    """Return the items of a list. Raises MalformedError."""
    found = answer.get("items")
    if found is None:
        return []
    if not isinstance(found, list):
        raise MalformedError("expected a list with items")
    return found


def following(answer: Json) -> str:
    """Return the continue token, "" after the last chunk."""
    return fields.text(_about(answer).get("continue"))


def namespaced_name(content: Json) -> NamespacedName | None:
    """Return namespace and name of an object, None if it has no name."""
    name = fields.text(_about(content).get("name"))
    return (fields.text(_about(content).get("namespace")), name) if name else None


def version(content: Json) -> str:
    """Return the resourceVersion, "" if there is none."""
    return fields.text(_about(content).get("resourceVersion"))


def _about(content: Json) -> Json:
    return fields.mapping(content.get("metadata"))
