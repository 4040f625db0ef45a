"""Converts the models to a plain schema tree for the CRD, with references inlined, null and titles removed."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]


def of(model: type[BaseModel]) -> Schema:
    """Return the schema of a model. An optional field may be absent, but never null."""
    given = model.model_json_schema(by_alias=True)
    return _plain(given, given.get("$defs", {}))


def _plain(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """Convert a node and everything below it."""
    node = _resolved(node, definitions)
    first = {key: node[key] for key in ("description", "type") if key in node}
    schema = first | {key: value for key, value in node.items() if key not in _LEFT_OUT}
    for key in _BY_NAME.intersection(node):
        schema[key] = {name: _plain(each, definitions) for name, each in node[key].items()}
    # False would forbid other fields; Kubernetes prunes them anyway, from every mapping with properties.
    if isinstance(node.get("additionalProperties"), Mapping):
        schema["additionalProperties"] = _plain(node["additionalProperties"], definitions)
    if "items" in node:
        schema["items"] = _plain(node["items"], definitions)
    if "anyOf" in node:
        schema["anyOf"] = [_plain(each, definitions) for each in node["anyOf"]]
    default = _default(node)
    return schema if default is None else {**schema, "default": default}


def _resolved(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """Inline a reference, and the single alternative to null; fields next to it take precedence."""
    if "$ref" in node:
        beside = {key: value for key, value in node.items() if key != "$ref"}
        return _resolved({**definitions[node["$ref"].removeprefix("#/$defs/")], **beside}, definitions)
    alternatives = [each for each in node.get("anyOf", ()) if each.get("type") != "null"]
    if len(alternatives) == 1:
        beside = {key: value for key, value in node.items() if key != "anyOf"}
        return _resolved({**alternatives[0], **beside}, definitions)
    return {**node, "anyOf": alternatives} if alternatives else node


def _default(node: Mapping[str, Any]) -> object:
    """Return a default worth showing: not for a mapping, whose fields have their own, and not an empty one."""
    default = node.get("default")
    if isinstance(default, list):
        return [_without_null(each) for each in default] or None
    return None if isinstance(default, Mapping) or default is None else default


def _without_null(value: object) -> object:
    return {key: each for key, each in value.items() if each is not None} if isinstance(value, Mapping) else value


_BY_NAME = frozenset({"properties", "patternProperties"})
_LEFT_OUT = _BY_NAME | {"$defs", "title", "default", "additionalProperties", "items", "anyOf"}
