"""Label selectors in the query syntax of Kubernetes: `a=1,q in (y,z),!k`. Pure."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from beamlit_controller.core.metric_spec import Operator, Requirement, Selector


@dataclass(frozen=True, slots=True)
class PodSelector:
    """A pod selector: as the query text, and as a value that can be matched here."""

    text: str
    selector: Selector


def write(selector: Selector) -> str:
    """Format a selector, sorted by key; an empty one is ""."""
    equal = [(key, f"{key}={value}") for key, value in selector.match_labels]
    others = [(each.key, each.text) for each in selector.match_expressions]
    return _joined([*equal, *others])


def of_labels(labels: Iterable[tuple[str, str]]) -> PodSelector:
    """Return the selector for these labels."""
    selector = Selector(match_labels=tuple(sorted(labels)))
    return PodSelector(write(selector), selector)


def parse(text: str) -> PodSelector:
    """Parse the selector text of a Scale object. Raises ValueError with a description.

    Its author may have written text of any size, so parsing takes linear time, and a text too long for a query is
    rejected.
    """
    if len(text) > LONGEST:
        raise ValueError(f"expected a label selector of at most {LONGEST} characters, got {len(text)}")
    terms = [_term(each) for each in _split(text) if each.strip()]
    selector = Selector(match_expressions=tuple(requirement for requirement, _ in terms))
    return PodSelector(_joined((requirement.key, written) for requirement, written in terms), selector)


def _split(text: str) -> Iterator[str]:
    """Split at commas outside of parentheses."""
    begin, inside = 0, False
    for found in _MARKS.finditer(text):
        if found[0] == "," and not inside:
            yield text[begin : found.start()]
            begin = found.end()
        inside = found[0] == "(" or (inside and found[0] == ",")
    yield text[begin:]


LONGEST = 8 * 1024
"""Maximum length: selectors are part of a URL, whose length API servers and proxies limit."""
_MARKS = re.compile(r"[(),]")
_TERM = re.compile(
    r"(?P<absent>!)?\s*(?P<key>[A-Za-z0-9]([\w./-]*\w)?)\s*"
    r"(?:(?P<equal>==?|!=)\s*(?P<value>[\w.-]*)|(?P<set>in|notin)\s*\((?P<values>[\w.,\s-]*)\))?",
    re.ASCII,
)


def _term(text: str) -> tuple[Requirement, str]:
    term = _TERM.fullmatch(text.strip())
    if term is None or (term["absent"] and (term["equal"] or term["set"])):
        raise ValueError(f"expected a label selector such as app=llama, got {_shown(text.strip())!r}")
    key = term["key"]
    if term["equal"]:
        operator = Operator.NOT_IN if term["equal"] == "!=" else Operator.IN
        return Requirement(key, operator, (term["value"],)), f"{key}{term['equal']}{term['value']}"
    if term["set"]:
        operator = Operator.IN if term["set"] == "in" else Operator.NOT_IN
        requirement = Requirement(key, operator, tuple(value.strip() for value in term["values"].split(",")))
    else:
        requirement = Requirement(key, Operator.DOES_NOT_EXIST if term["absent"] else Operator.EXISTS)
    return requirement, requirement.text


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


_SHOWN = 100


def _joined(terms: Iterable[tuple[str, str]]) -> str:
    return ",".join(written for _, written in sorted(terms, key=lambda term: term[0]))
