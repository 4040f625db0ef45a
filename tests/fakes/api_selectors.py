"""Label and field selectors of lists and watches."""

import re
from collections.abc import Callable, Mapping

from fakes.api_kinds import Json, RefusedError

Test = Callable[[Json], bool]


def selecting(query: Mapping[str, str]) -> Test:
    """Return what tells whether an object is asked for. Raises RefusedError."""
    tests = [*_labels(query.get("labelSelector", "")), *_fields(query.get("fieldSelector", ""))]
    return lambda content: all(test(content) for test in tests)


def _labels(text: str) -> list[Test]:
    return [_label(part.strip()) for part in re.split(r",(?![^()]*\))", text) if part.strip()]


def _label(part: str) -> Test:
    chosen = re.fullmatch(r"(\S+)\s+(in|notin)\s+\((.*)\)", part)
    if chosen:
        name, word, listed = chosen.groups()
        values = {each.strip() for each in listed.split(",")}
        return lambda content: (_of(content).get(name) in values) == (word == "in")
    compared = re.fullmatch(r"([^=!]+?)\s*(==|=|!=)\s*(.*)", part)
    if compared:
        name, word, value = compared.groups()
        return lambda content: (_of(content).get(name) == value) == (word != "!=")
    return lambda content: (part.lstrip("!") in _of(content)) != part.startswith("!")


def _of(content: Json) -> Mapping[str, str]:
    labels: Mapping[str, str] = content["metadata"].get("labels") or {}
    return labels


def _fields(text: str) -> list[Test]:
    return [_field(part) for part in text.split(",") if part]


def _field(part: str) -> Test:
    compared = re.fullmatch(r"([\w.]+?)(==|=|!=)(.*)", part)
    if compared is None:
        raise RefusedError(400, "BadRequest", f'unable to parse requirement: "{part}"')
    path, word, value = compared.groups()
    return lambda content: (str(_value(content, path)) == value) == (word != "!=")


def _value(content: Json, path: str) -> object:
    node: object = content
    for name in path.split("."):
        node = node.get(name, "") if isinstance(node, Mapping) else ""
    return node
