"""Parses YAML text to plain values, one per document, and describes every error in terms that users understand.

Values are read as by Kubernetes' own tools: YAML 1.1 without timestamps, base-60 numbers and custom tags, and without
duplicate keys. Size, depth and alias expansion are limited.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from beamlit_controller.api import yaml_nodes

MAX_BYTES = 2**20
_MAX_DEPTH = 100


@dataclass(frozen=True, slots=True)
class Document:
    """One document: its number in the text, from 1, and its value."""

    number: int
    content: object


@dataclass(frozen=True, slots=True)
class Malformed:
    """A document that can't be parsed, and why."""

    number: int
    message: str


def load(text: str) -> Iterator[Document | Malformed]:
    """Parse the documents in order, up to the first syntax error. Empty documents are left out."""
    unfit = _unfit(text)
    if unfit:
        yield Malformed(1, unfit)
        return
    number = 0
    try:
        loader = _Loader(text)
        while loader.check_node():
            node = loader.get_node()
            number += 1
            yield from _document(number, node)
    except (yaml.YAMLError, UnicodeError) as error:
        yield Malformed(number + 1, _syntax(error, text))


class _Loader(yaml.CSafeLoader):
    """PyYAML's loader, used only for its nodes."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML looks it up on the class
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


def _document(number: int, node: yaml.Node | None) -> Iterator[Document | Malformed]:
    """Yield the value, or all mistakes in it."""
    if node is None:
        return
    content, mistakes = yaml_nodes.read(node)
    yield from (Malformed(number, mistake) for mistake in mistakes)
    if content is not None and not mistakes:
        yield Document(number, content)


def _unfit(text: str) -> str | None:
    """Return why the text must not be composed (composing recurses as deeply as the text is nested); None if it may be."""
    try:
        size = len(text.encode())
    except UnicodeError:
        return "the text contains lone surrogates, which are not valid Unicode"
    if size > MAX_BYTES:
        return f"the text is larger than {MAX_BYTES} bytes"
    depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                return f"nested deeper than {_MAX_DEPTH} levels"
    except yaml.YAMLError:
        return None  # reported later, in the order of the documents
    return None


def _syntax(error: Exception, text: str) -> str:
    tabbed = _tabbed_lines(text)
    if tabbed:
        return (
            f"line {tabbed[0]}: YAML does not allow tabs for indentation; replace them with spaces "
            f"({_ranges(tabbed)} begin{'s' if len(tabbed) == 1 else ''} with tabs)"
        )
    left_out = next((number for number, line in enumerate(text.splitlines(), 1) if line.strip() == "..." != line), None)
    if left_out:
        return f"line {left_out}: `...` stands for what an example leaves out; remove the line"
    mark = getattr(error, "problem_mark", None)
    position = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return f"{position}not YAML: {getattr(error, 'problem', None) or getattr(error, 'reason', None) or 'unreadable'}"


def _tabbed_lines(text: str) -> list[int]:
    return [number for number, line in enumerate(text.split("\n"), 1) if _TAB_INDENT.match(line)]


_TAB_INDENT = re.compile(r" *\t[ \t]*[^ \t\r#]")


def _ranges(numbers: list[int]) -> str:
    """Format line numbers: `lines 2-3 and 7`."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    named = [f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts]
    listed = ", ".join(named[:-1]) + " and " + named[-1] if len(named) > 1 else named[0]
    return f"line{'s' if len(numbers) > 1 else ''} {listed}"
