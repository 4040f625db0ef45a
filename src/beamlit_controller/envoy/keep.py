"""Requests that must stay, as matches that err on the side of staying."""

import re
from collections.abc import Iterable, Sequence

from beamlit_controller.core.spec import HeaderMatch, KeepLocal, PathPrefix
from beamlit_controller.envoy.messages import Message, extension

# What says something about these very servers, or belongs to state that only they have.
DEFAULTS = tuple(PathPrefix(path) for path in ("/metrics", "/health", "/healthz", "/ready", "/v1/files"))

# A slash as it may be spelled so that a server still takes it for one.
SLASH = "(?:/|%2f)+"

# A `..` that is left once Envoy has resolved the path stands behind an encoded slash: it leads anywhere, so it stays.
CLIMBING = r".*(?:%2f|%5c)\.\.?(?:(?:/|%2f|%5c).*)?"

# Any bytes at all, and those that can be read for sure: printable ASCII without quotes, not only blanks and commas.
ANYTHING = r"\C*"
READABLE = r"[ \t!#-~]*[!#-+\--~][ \t!#-~]*"


def path(rules: Sequence[KeepLocal]) -> Message | None:
    """Give the RouteMatch of paths that must stay: `/metrics` and `/metrics/a`, not `/metricsfoo`; in any letters."""
    below = [_below(rule.prefix) for rule in rules or DEFAULTS if isinstance(rule, PathPrefix)]
    if not below:
        return None
    return {"safe_regex": {"regex": f"(?i)(?:{'|'.join((*below, CLIMBING))})"}}


def predicate(rules: Sequence[KeepLocal], may_leave: Sequence[KeepLocal]) -> Message | None:
    """Give the Matcher.Predicate of requests that must stay for what is in them, or for not being allowed to leave."""
    kept = _kept(rules)
    if may_leave:
        kept.append({"not_matcher": _allowed(may_leave)})
    return _any(kept) if kept else None


def _kept(rules: Sequence[KeepLocal]) -> list[Message]:
    """Match a header by any of its values, or by being unreadable."""
    wanted = _by_header(rules)
    return [predicate for name, values in wanted.items() for predicate in (has(name, values), _unreadable(name))]


def _allowed(rules: Sequence[KeepLocal]) -> Message:
    """Match what may leave: a header all of whose values are allowed, or a path as it stands in the rule."""
    headers = [_has_only(name, values) for name, values in _by_header(rules).items()]
    paths = [_literal(rule.prefix.rstrip("/")) for rule in rules if isinstance(rule, PathPrefix)]
    straight = {"not_matcher": _header(":path", f"(?i){CLIMBING}")}
    below = [_header(":path", rf"(?:{'|'.join(paths)})(?:[/?]\C*)?")] if paths else []
    return {"and_matcher": {"predicate": [straight, _any([*headers, *below])]}}


def _by_header(rules: Sequence[KeepLocal]) -> dict[str, list[str]]:
    wanted: dict[str, list[str]] = {}
    for rule in rules:
        if isinstance(rule, HeaderMatch):
            wanted.setdefault(rule.header.lower(), []).append(rule.value.strip())
    return wanted


def _any(predicates: list[Message]) -> Message:
    """Match any of them; Envoy wants two for an `or`."""
    return predicates[0] if len(predicates) == 1 else {"or_matcher": {"predicate": predicates}}


def _below(prefix: str) -> str:
    segments = [_literal(segment) for segment in prefix.split("/") if segment]
    if not segments:
        return ".*"
    # `;` begins path parameters, which many servers take off before they route.
    return f"{SLASH}{SLASH.join(segments)}(?:(?:/|%2f|;).*)?"


def has(header: str, values: Iterable[str]) -> Message:
    """Match a header with any of the values among its comma-separated ones, sent once or several times."""
    return _header(header, rf"(?i)(?:\C*,)?[ \t]*(?:{'|'.join(_literal(value) for value in values)})[ \t]*(?:,\C*)?")


def _has_only(header: str, values: Iterable[str]) -> Message:
    """Match a header all of whose comma-separated values are among these."""
    one = rf"[ \t]*(?:{'|'.join(_literal(value) for value in values)})[ \t]*"
    return _header(header, rf"(?i){one}(?:,{one})*")


def _unreadable(header: str) -> Message:
    """Match a header that is there but can't be read: empty, quoted, or with bytes that are not printable ASCII."""
    return {
        "and_matcher": {"predicate": [_header(header, ANYTHING), {"not_matcher": _header(header, READABLE)}]},
    }


def _header(name: str, regex: str) -> Message:
    """Match all values of a header at once, as one text with commas: a RouteMatch would look at each by itself."""
    value = extension("header", "envoy.type.matcher.v3.HttpRequestHeaderMatchInput", header_name=name)
    matched: Message = {"safe_regex": {"google_re2": {}, "regex": regex}}
    return {"single_predicate": {"input": value, "value_match": matched}}


def _literal(text: str) -> str:
    """Give a regular expression that matches exactly this text, in RE2's syntax."""
    return re.sub(r"[^A-Za-z0-9_]", lambda found: f"\\x{{{ord(found.group()):x}}}", text)
