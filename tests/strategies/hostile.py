"""Objects, pages and answers as somebody hostile, or something broken, would write them.

Each begins as a valid one and has some of its parts exchanged, so that it gets past the first check it meets.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

from strategies.templates import TEMPLATES

Json = dict[str, Any]
Path = tuple[str | int, ...]

LARGE = 100_000


def _nested(depth: int) -> Any:  # noqa: ANN401 - JSON
    inner: Any = 0
    for level in range(depth):
        inner = [inner] if level % 2 else {"a": inner}
    return inner


WORDS = st.sampled_from(
    [
        *(
            "",
            " ",
            "\x00",
            "²",
            "٣",
            "é\u0301",
            "\u0085",
            "\u2028",
            "\ud800",
            "\U0010ffff",
            "\ufeff",
            "..",
            "../..",
            "%2e",
            "a\nb",
        ),
        *(
            "[" * LARGE,
            "{" * LARGE,
            '{"a":' * 20_000,
            "x" * LARGE,
            "," * LARGE,
            "(" * LARGE,
            "\u0000" * 1000,
            "😀" * 10_000,
        ),
        *("10e99", "1e-9", "1E18", "1e999999999", "-1", "9" * 5000, "NaN", "Infinity", "1e400", ".5Ki", "0x10", "1_0"),
        *("9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00", "2026-02-30T00:00:00Z", "9" * 400 + "s"),
        *("a in (b", "a" * 70, "!", "in in (in)", "None", "null", "True", "beamlit-gateway-0"),
    ]
)
NUMBERS = st.integers() | st.sampled_from([2**31, 2**63, -(2**63), 10**400, -(10**400)]) | st.floats()
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    NUMBERS,
    st.text(max_size=50),
    WORDS,
    st.just([]),
    st.just({}),
    st.sampled_from([_nested(5), _nested(300)]),
    st.recursive(
        st.none() | NUMBERS | st.text(max_size=10) | WORDS,
        lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=10), below, max_size=3),
        max_leaves=5,
    ),
)
"""Anything that can stand in JSON."""


@st.composite
def like(draw: st.DrawFn, template: Any, most: int = 4) -> Any:  # noqa: ANN401 - JSON
    """Return the template with some of its parts exchanged, added to or gone."""
    given = deepcopy(template)
    for _ in range(draw(st.integers(1, most))):
        paths = list(_paths(given))
        if not paths:
            return draw(VALUES)
        _change(given, draw(st.sampled_from(paths)), draw)
    return given


def objects(kind: str) -> st.SearchStrategy[Json]:
    """Return objects of a watched kind that are odd somewhere, each with metadata that is a mapping or is not."""
    return like(TEMPLATES[kind])


def lines(kind: str) -> st.SearchStrategy[str]:
    """Return watch events of the kind, and what is none."""
    event = like({"type": "MODIFIED", "object": TEMPLATES[kind]}).filter(lambda given: not _is_error(given))
    return event.map(json.dumps) | st.sampled_from(["", "null", "[", '{"a":' * 20_000, "x" * LARGE, '{"type": 5}'])


def pages(lines_of_page: Sequence[str]) -> st.SearchStrategy[str]:
    """Return pages of such lines, some of them odd."""
    odd = st.builds(_spliced, st.sampled_from(lines_of_page), st.integers(0, 200), WORDS | st.text(max_size=20))
    return st.lists(st.sampled_from(lines_of_page) | odd | WORDS, max_size=8).map("\n".join)


def _spliced(line: str, at: int, word: str) -> str:
    return f"{line[:at]}{word}{line[at + 1 :]}"


def _is_error(given: Any) -> bool:  # noqa: ANN401 - JSON
    return isinstance(given, Mapping) and given.get("type") == "ERROR"


def _paths(given: Any, above: Path = ()) -> Iterator[Path]:  # noqa: ANN401 - JSON
    within = given.items() if isinstance(given, dict) else enumerate(given) if isinstance(given, list) else ()
    for name, value in within:
        yield (*above, name)
        if len(above) < 12:
            yield from _paths(value, (*above, name))


def _change(given: Any, path: Path, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:  # noqa: ANN401 - JSON
    parent = given
    for step in path[:-1]:
        parent = parent[step]
    match draw(st.sampled_from(["exchange", "exchange", "remove", "add", "repeat"])):
        case "remove":
            del parent[path[-1]]
        case "add" if isinstance(parent, dict):
            parent[draw(st.text(max_size=10) | WORDS)] = deepcopy(draw(VALUES))
        case "repeat" if isinstance(parent, list):
            parent.extend(deepcopy(parent[path[-1]]) for _ in range(100))
        case _:
            # A copy: what is drawn is shared between examples, and may be changed next.
            parent[path[-1]] = deepcopy(draw(VALUES))
