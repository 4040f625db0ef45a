"""What lists and watches of the API server are made of: events, items, places and versions. Pure."""

import json
from collections.abc import Sequence
from typing import Any

from beamlit_controller.kubernetes import fields

Json = dict[str, Any]
Place = tuple[str, str]
"""Namespace (empty for what has none) and name."""


class MalformedError(Exception):
    """The server said what is no list, or nothing but what is no event."""


def event(line: str) -> tuple[str, Json] | None:
    """Read a watch event: its type and its object. None for what is none."""
    try:
        read = json.loads(line)
    except (ValueError, RecursionError):
        return None
    kind, content = fields.mapping(read).get("type"), fields.mapping(read).get("object")
    return (kind, content) if isinstance(kind, str) and isinstance(content, dict) else None


def items(answer: Json) -> Sequence[object]:
    """Give the items of a list. Raises MalformedError."""
    found = answer.get("items")
    if found is None:
        return []
    if not isinstance(found, list):
        raise MalformedError("expected a list with items")
    return found


def following(answer: Json) -> str:
    """Give the token that continues a list, empty after the last chunk."""
    return fields.text(_about(answer).get("continue"))


def place(content: Json) -> Place | None:
    """Give where an object is, None if it has no name."""
    name = fields.text(_about(content).get("name"))
    return (fields.text(_about(content).get("namespace")), name) if name else None


def version(content: Json) -> str:
    """Give the resourceVersion, empty if there is none."""
    return fields.text(_about(content).get("resourceVersion"))


def _about(content: Json) -> Json:
    return fields.mapping(content.get("metadata"))
