"""Schemas of the chart's values: the models' own, closed, with the rules that a resource can't have but a JSON schema can."""

from collections.abc import Mapping
from typing import Any, Final

Schema = dict[str, Any]


def closed(node: Any) -> Any:  # noqa: ANN401 - any part of a schema
    """Refuse unknown fields everywhere, and leave out what only Kubernetes understands."""
    if isinstance(node, list):
        return [closed(each) for each in node]
    if not isinstance(node, Mapping):
        return node
    plain = {key: closed(value) for key, value in node.items() if not key.startswith("x-kubernetes-")}
    if not any(isinstance(plain.get(key), Mapping) for key in ("properties", "patternProperties")):
        return plain
    rules = _rules(set(plain.get("properties") or ()))
    return {**plain, "additionalProperties": False, **({"allOf": rules} if rules else {})}


def _rules(names: set[str]) -> list[Schema]:
    """Return the rules between the fields of a requirement of an affinity, or of a toleration."""
    if {"key", "operator", "values"} <= names:
        return _OF_A_REQUIREMENT
    return _OF_A_TOLERATION if {"key", "operator", "tolerationSeconds"} <= names else []


def _has(**properties: Schema) -> Schema:
    return {"required": list(properties), "properties": properties}


_ANY: Final[Schema] = {}
_EXISTS: Final = _has(operator={"const": "Exists"})
_OF_A_REQUIREMENT: Final[list[Schema]] = [
    {"if": _has(operator={"enum": ["In", "NotIn"]}), "then": _has(values={"minItems": 1})},
    {"if": _has(operator={"enum": ["Exists", "DoesNotExist"]}), "then": {"properties": {"values": {"maxItems": 0}}}},
    {"if": _has(operator={"enum": ["Gt", "Lt"]}), "then": _has(values={"minItems": 1, "maxItems": 1})},
]
_OF_A_TOLERATION: Final[list[Schema]] = [
    {"if": _EXISTS, "then": {"not": _has(value=_ANY)}, "else": _has(key=_ANY)},
    {"if": _has(tolerationSeconds=_ANY), "then": _has(effect={"const": "NoExecute"})},
]
