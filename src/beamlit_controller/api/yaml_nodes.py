"""Converts YAML nodes to plain values (text, numbers, booleans, null, lists, mappings), collecting all mistakes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import yaml

from beamlit_controller.api import problems

_MAX_NODES = 200_000
_MAX_DIGITS = 100


def read(node: yaml.Node) -> tuple[object, tuple[str, ...]]:
    """Return the value of a node, and the mistakes in it, each with its line."""
    reader = _Reader()
    value = reader.read(node)
    if reader.too_large:
        return None, (f"more than {_MAX_NODES} values, with aliases expanded",)
    return value, tuple(dict.fromkeys(reader.mistakes))


@dataclass(slots=True)
class _Reader:
    """Converts nodes and collects mistakes.

    An alias yields the same value again, and counts each time towards the size.
    """

    mistakes: list[str] = field(default_factory=list)
    _values: dict[int, object] = field(default_factory=dict)
    _sizes: dict[int, int] = field(default_factory=dict)
    _open: set[int] = field(default_factory=set)
    too_large: bool = False

    def read(self, node: yaml.Node) -> object:
        """Return the value; None for a mistake."""
        key = id(node)
        if key in self._open:
            self._wrong(node, "an alias may not occur inside the node that it refers to")
            return None
        if key not in self._values:
            self._open.add(key)
            self._values[key] = self._value(node)
            self._open.discard(key)
        return self._values[key]

    def _value(self, node: yaml.Node) -> object:
        self._sizes[id(node)] = 1
        match node:
            case yaml.MappingNode(tag="tag:yaml.org,2002:map"):
                return self._mapping(node)
            case yaml.SequenceNode(tag="tag:yaml.org,2002:seq"):
                return [self._part(node, item) for item in node.value]
            case yaml.ScalarNode():
                return self._scalar(node)
            case _:
                self._wrong(node, f"the tag {node.tag[:60]} is not supported")
                return None

    def _part(self, whole: yaml.Node, part: yaml.Node) -> object:
        """Read a part and add its size; once the limit is exceeded, nothing more is read."""
        if self.too_large:
            return None
        value = self.read(part)
        size = self._sizes[id(whole)] + self._sizes.get(id(part), 1)
        self._sizes[id(whole)] = size
        self.too_large = size > _MAX_NODES
        return value

    def _mapping(self, node: yaml.MappingNode) -> dict[object, object]:
        own: dict[object, object] = {}
        merged: dict[object, object] = {}
        for key_node, value_node in node.value:
            key, value = self._part(node, key_node), self._part(node, value_node)
            if key_node.tag == _MERGE:
                merged = self._merge(value_node, value) | merged
            elif isinstance(key, dict | list):
                self._wrong(key_node, "a key must be text")
            elif key in own:
                self._wrong(key_node, _twice(key, next(each for each in own if each == key)))
            else:
                own[key] = value
        return merged | own

    def _merge(self, node: yaml.Node, value: object) -> dict[object, object]:
        sources = value if isinstance(value, list) else [value]
        if not all(isinstance(source, dict) for source in sources):
            self._wrong(node, "<< can only merge mappings")
            return {}
        return {key: each for source in reversed(sources) for key, each in source.items()}

    def _scalar(self, node: yaml.ScalarNode) -> object:
        read = _SCALARS.get(node.tag)
        if read is None:
            self._wrong(node, f"the tag {node.tag[:60]} is not supported")
            return None
        try:
            return read(node.value)
        except ValueError as error:
            self._wrong(node, str(error))
            return None

    def _wrong(self, node: yaml.Node, message: str) -> None:
        self.mistakes.append(f"line {node.start_mark.line + 1}: {message}")


def _twice(key: object, before: object) -> str:
    if type(key) is type(before):
        return f"the key {problems.came(key)} is there twice"
    # Python compares 1, 1.0 and true as equal.
    return f"the keys {problems.came(before)} and {problems.came(key)} can't stand together: quote them"


def _integer(text: str) -> int | str:
    """Parse a YAML 1.1 integer; a base-60 one, such as 8080:80, is text. Raises ValueError."""
    if ":" in text:
        return text
    plain = text.replace("_", "")
    digits = plain.lstrip("+-")
    octal = len(digits) > 1 and digits.startswith("0") and digits.isdigit()
    try:
        return int(plain if len(plain) <= _MAX_DIGITS else "", 8 if octal else 0)
    except ValueError:
        raise ValueError(f"expected a whole number, got {problems.came(text)}") from None


def _float(text: str) -> float | str:
    if ":" in text:
        return text
    try:
        return float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        raise ValueError(f"expected a number, got {problems.came(text)}") from None


def _boolean(text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise ValueError(f"expected true or false, got {problems.came(text)}")
    return _BOOLEANS[text.lower()]


def _null(_: str) -> None:
    return None


_BOOLEANS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_SCALARS: Mapping[str, Callable[[str], object]] = {
    f"{_TAG}str": str,
    f"{_TAG}null": _null,
    f"{_TAG}bool": _boolean,
    f"{_TAG}int": _integer,
    f"{_TAG}float": _float,
    f"{_TAG}value": str,
    _MERGE: str,
}
