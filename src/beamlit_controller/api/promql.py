"""Checks PromQL queries without a server: mistakes that every server rejects, and notices about surprising results.

The parser implements Prometheus' grammar. VictoriaMetrics accepts more, so a query that the parser rejects only causes
a notice: the server decides.
"""

import re
from collections.abc import Iterator
from typing import Final

import promql_parser
from promql_parser import Expr, SubqueryExpr, VectorSelector

from beamlit_controller.api import promql_filters, promql_functions
from beamlit_controller.api import promql_tree as tree
from beamlit_controller.core import printable


def mistakes(query: str) -> Iterator[str]:
    """Yield what no Prometheus can parse: unfilled variables, unclosed brackets and quotes. Each once, up to a limit."""
    found: set[str] = set()
    for mistake in _mistakes(query):
        if mistake not in found:
            yield mistake
        found.add(mistake)
        if len(found) == _MOST_MISTAKES:
            return


def _mistakes(query: str) -> Iterator[str]:
    plain = _STRING.sub(_blank, query)
    for position in _STRING.finditer(query):
        before = query[max(0, position.start() - _NEAR) : position.start()]
        if before.rstrip().endswith(("=", "~")) and (variable := _IN_STRING.search(position[0])):
            yield _VARIABLE.format(variable[0])
    for variable in _VARIABLES.finditer(plain):
        yield _VARIABLE.format(variable[0])
    if unclosed := _unclosed(plain):
        yield f"{unclosed}, so this is not valid PromQL"


def notices(query: str) -> Iterator[str]:
    """Yield what a valid query may do that its author did not intend."""
    if not is_small(query):
        return
    try:
        parsed = parse(query)
    except ValueError as error:
        yield f"can't be parsed as PromQL ({error}); `check --prometheus ADDRESS` asks the server itself{_if_name(query)}"
        return
    if _DASHES.fullmatch(query.strip()):
        yield f"is read as a subtraction{_if_name(query)}"
    yield from _remarks(parsed)
    yield from promql_functions.remarks(parsed)


def is_small(query: str) -> bool:
    """Return whether a query may be parsed: the parser is recursive, and a stack overflow would end the process."""
    return len(query) <= _LONGEST and len(_STRUCTURE.findall(_STRING.sub(_blank, query))) <= _MOST_STRUCTURE


def parse(query: str) -> Expr:
    """Parse a small query, with each regular expression as an equality. Raises ValueError.

    The parser is written in Rust, and panics where a duration is out of range, as in `x[1e400]`: that is no `Exception`, would
    end more than what concerns this query, and writes a stack trace to the log. It compiles the regular expressions, which
    takes megabytes for each, and ends the process when there is no more memory. Prometheus checks them.
    """
    for duration in _DURATIONS.finditer(_STRING.sub(_blank, query)):
        for number in _NUMBERS.finditer(duration[0]):
            if not float(number[0]) < _LONGEST_SECONDS:
                raise ValueError(f"the duration {printable.short(number[0], _NEAR)} is out of range")
    try:
        # Also within strings and comments, so that nothing depends on where the parser sees their ends.
        return _parsed(query)
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError(f"the parser failed: {error}") from None


def _parsed(query: str) -> Expr:
    equal = query.replace("=~", "= ")
    try:
        return promql_parser.parse(equal.replace("!~", "!="))
    except ValueError:
        # A selector needs a matcher that does not match "". As an inequality this may be none, as in {job!~"|x"}.
        if "!~" not in query:
            raise
        return promql_parser.parse(equal.replace("!~", "= "))


def _if_name(query: str) -> str:
    """Explain how to write a name that is not a classic Prometheus name."""
    name = query.strip()
    return f'. A metric with this name is written {{"{name}"}}' if _NAME_OF_OTHERS.fullmatch(name) else ""


def _remarks(parsed: Expr) -> Iterator[str]:
    if empty := promql_filters.sometimes_empty(parsed):
        yield empty
    if promql_filters.never_changes(parsed):
        yield "reads no series, so the value never changes: offloading never starts, or never ends. Write a query of a series"
    if any(each.offset for each in tree.walk(parsed) if isinstance(each, VectorSelector | SubqueryExpr)):
        yield "`offset` reads the past, so a change is seen only after that time"
    if any(each.at for each in tree.walk(parsed) if isinstance(each, VectorSelector | SubqueryExpr)):
        yield "`@` reads a fixed time, so the value never changes"
    if tree.labels(parsed) != frozenset():
        yield "may return several series, which are summed; make the aggregation explicit with sum(…), max(…) or avg(…)"


# Checks of the text.


def _blank(found: re.Match[str]) -> str:
    """Replace a string or comment by blanks; of an unclosed string, keep the quote."""
    opened, closed = found[1] or found[3], found[2] or found[4]
    return " " * len(found[0]) if closed or not opened else opened.ljust(len(found[0]))


def _unclosed(plain: str) -> str | None:
    """Return the first bracket or quote without a partner; in `plain`, strings and comments are blanks."""
    opened: list[tuple[str, int]] = []
    for position, character in enumerate(plain, start=1):
        if character in "\"'`":
            return f"the string that begins at character {position} is not closed"
        if character in _CLOSING:
            opened.append((character, position))
        elif character in _CLOSING.values() and (not opened or _CLOSING[opened.pop()[0]] != character):
            return f"the {character} at character {position} closes nothing"
    return f"the {opened[-1][0]} at character {opened[-1][1]} is not closed" if opened else None


_MOST_MISTAKES: Final = 5
_NEAR: Final = 20
_CLOSING: Final = {"(": ")", "[": "]", "{": "}"}

# Names as in other products: OpenTelemetry, Google, Datadog, Amazon. Prometheus 3 accepts any name in quotes.
_NAME_OF_OTHERS: Final = re.compile(r"[A-Za-z_][\w:.|/@-]*\w")
_DASHES: Final = re.compile(r"[A-Za-z_][\w:]*(?:-[A-Za-z_][\w:]*)+")

_VARIABLE: Final = "{} is a variable of a dashboard or template, which is not replaced here: write its value"
# An unclosed string extends to the end; otherwise each quote in it would be tried as the start of another (quadratic time).
_STRING: Final = re.compile(r"""(["'])(?:\\.|(?!\1)[^\\])*+(\1)?|(`)[^`]*+(`)?|#[^\n]*+""", re.DOTALL)
_VARIABLES: Final = re.compile(r"\$\{?\w*\}?|\[\[|\{\{|<<")
# In brackets and after `offset`. A number without a unit is in seconds.
# Both in linear time: a repetition gives nothing back, and a number is tried only at its beginning.
_DURATIONS: Final = re.compile(r"\[[^\[\]]*+\]|\boffset\b\s*+[-+]?\s*+[\w.]++(?:\+\d++)?", re.IGNORECASE)
_NUMBERS: Final = re.compile(r"(?<![\w.])\.?(?:\d[\d.]*+e\+?\d++|\d{15,}+|inf|nan)\b", re.IGNORECASE)
_LONGEST_SECONDS: Final = 1e15
_IN_STRING: Final = re.compile(r"\$\{?[A-Za-z_]\w*\}?|\[\[\w+\]\]|\{\{|<<")

# A stack of 512 KiB allows more than twice this depth.
_STRUCTURE: Final = re.compile(r"[-+*/%^(\[<>@]|[=!]=|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)
_MOST_STRUCTURE: Final = 100
_LONGEST: Final = 16_384
