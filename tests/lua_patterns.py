"""Lua's pattern matching, which counts its steps: how the time of a pattern grows with a text can be read from that."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

_CLASSES: dict[str, Callable[[str], bool]] = {
    "a": str.isalpha,
    "c": lambda char: ord(char) < 32 or ord(char) == 127,
    "d": str.isdigit,
    "l": str.islower,
    "p": lambda char: 32 < ord(char) < 127 and not char.isalnum(),
    "s": lambda char: char in " \t\n\v\f\r",
    "u": str.isupper,
    "w": str.isalnum,
    "x": lambda char: char in "0123456789abcdefABCDEF",
    "z": lambda char: char == "\0",
}
_REPEATED = "*+-?"


@dataclass(frozen=True, slots=True)
class _Item:
    """A set of characters, and how often one of them has to come."""

    accepts: Callable[[str], bool]
    times: str = ""


class Pattern:
    """A pattern without back references and balances. `steps` is the number of characters that were compared so far."""

    def __init__(self, text: str) -> None:
        self.begins = text.startswith("^")
        self.ends = text.endswith("$") and not text.endswith("%$")
        self.steps = 0
        self._items = _parsed(text[self.begins : len(text) - self.ends])

    def run(self, text: str, *, everywhere: bool) -> None:
        """Look for the first match as `find` does, or for all of them as `gsub` does."""
        at = 0
        while at <= len(text):
            end = self._end(text, at, 0)
            if self.begins or (end is not None and not everywhere):
                return
            at = max(at + 1, end or 0)

    def _end(self, text: str, at: int, number: int) -> int | None:
        """Return the end of a match of the items from this one on."""
        while number < len(self._items):
            item = self._items[number]
            if item.times in {"*", "+"}:
                return self._longest(text, at, number)
            if item.times == "-":
                return self._shortest(text, at, number)
            is_one = self._is_one(item, text, at)
            if item.times == "?" and is_one and (end := self._end(text, at + 1, number + 1)) is not None:
                return end
            if item.times != "?" and not is_one:
                return None
            at, number = at + (item.times != "?"), number + 1
        return at if not self.ends or at == len(text) else None

    def _longest(self, text: str, at: int, number: int) -> int | None:
        item, last = self._items[number], at
        while self._is_one(item, text, last):
            last += 1
        first = at + (item.times == "+")
        for each in range(last, first - 1, -1):
            if (end := self._end(text, each, number + 1)) is not None:
                return end
        return None

    def _shortest(self, text: str, at: int, number: int) -> int | None:
        while (end := self._end(text, at, number + 1)) is None:
            if not self._is_one(self._items[number], text, at):
                return None
            at += 1
        return end

    def _is_one(self, item: _Item, text: str, at: int) -> bool:
        self.steps += 1
        return at < len(text) and item.accepts(text[at])


def _parsed(text: str) -> list[_Item]:
    items: list[_Item] = []
    at = 0
    while at < len(text):
        if text[at] in "()":
            at += 1
            continue
        end = _set_end(text, at)
        times = text[end] if end < len(text) and text[end] in _REPEATED else ""
        items.append(_Item(_accepting(text[at:end]), times))
        at = end + len(times)
    return items


def _set_end(text: str, at: int) -> int:
    if text[at] == "%":
        return at + 2
    if text[at] != "[":
        return at + 1
    at += 2 if text[at + 1] == "^" else 1
    at += 2 if text[at] == "%" else 1
    while text[at] != "]":
        at += 2 if text[at] == "%" else 1
    return at + 1


def _accepting(text: str) -> Callable[[str], bool]:
    if text == ".":
        return lambda _: True
    if text[0] == "%":
        return _class(text[1])
    if text[0] != "[":
        return lambda char: char == text
    negated = text[1] == "^"
    members = list(_members(text[2 if negated else 1 : -1]))
    return lambda char: any(member(char) for member in members) != negated


def _members(text: str) -> list[Callable[[str], bool]]:
    found: list[Callable[[str], bool]] = []
    at = 0
    while at < len(text):
        if text[at] == "%":
            found.append(_class(text[at + 1]))
            at += 2
        elif text[at + 1 : at + 2] == "-" and at + 2 < len(text):
            found.append(lambda char, low=text[at], high=text[at + 2]: low <= char <= high)  # type: ignore[misc]
            at += 3
        else:
            found.append(lambda char, only=text[at]: char == only)  # type: ignore[misc]
            at += 1
    return found


def _class(letter: str) -> Callable[[str], bool]:
    known = _CLASSES.get(letter.lower())
    if known is None:
        return lambda char: char == letter
    return known if letter.islower() else lambda char: not known(char)


def is_linear(text: str, hostile: Callable[[int], str], *, everywhere: bool) -> bool:
    """Return whether twice the text takes about twice the steps; four times as many would be quadratic."""
    steps = []
    for length in (50, 100, 200):
        pattern = Pattern(text)
        pattern.run(hostile(length), everywhere=everywhere)
        steps.append(pattern.steps)
    return all(more <= 2.8 * few + 60 for few, more in pairwise(steps))
