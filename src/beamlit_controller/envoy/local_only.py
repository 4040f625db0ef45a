"""Matches local-only requests, by the built-in paths (`local_paths`) and the rules of the spec. If in doubt, a request stays local."""

from collections.abc import Iterable, Sequence

from beamlit_controller.core.spec import HeaderMatch, PathPrefix, RequestMatch
from beamlit_controller.envoy import local_paths, paths
from beamlit_controller.envoy.messages import Message, extension
from beamlit_controller.envoy.paths import literal

# Any bytes, and readable ones: printable ASCII without quotes, and not only blanks and commas.
ANYTHING = r"\C*"
READABLE = r"[ \t!#-~]*[!#-+\--~][ \t!#-~]*"

OFFLOADED = "x-offload-hops"
"""Set on requests to a remote. If that is one of our gateways, too, it keeps the request, so that there are no loops."""


def predicate(rules: Sequence[RequestMatch], may_leave: Sequence[RequestMatch]) -> Message:
    """Return the Matcher.Predicate of local-only requests: by a rule, by default, or because they are not allowed to leave."""
    # Anything else is rejected by Envoy, or parsed differently by different servers.
    odd = _not(_header(":path", "[!-~]*"))
    own = [paths.below(rule.prefix) for rule in rules if isinstance(rule, PathPrefix)]
    allowed = _any([*_allowed(may_leave)]) if may_leave else _inference()
    return _any(
        [
            _not(allowed),
            odd,
            _header(OFFLOADED, ANYTHING),
            *_kept(rules),
            *_kept_paths((*own, paths.AMBIGUOUS), may_leave),
        ]
    )


def _kept(rules: Sequence[RequestMatch]) -> list[Message]:
    """Match requests that have one of these headers with any of its values, or unreadable."""
    wanted = _by_header(rules)
    return [predicate for name, values in wanted.items() for predicate in (has(name, values), _unreadable(name))]


def _kept_paths(kept: Sequence[str], may_leave: Sequence[RequestMatch]) -> list[Message]:
    """Match these paths, and the default ones except those that a rule lets leave; a single expression if there is no such rule."""
    named = [
        paths.exactly(rule.prefix)
        for rule in may_leave
        if isinstance(rule, PathPrefix) and local_paths.holds(rule.prefix)
    ]
    if not named:
        return [_paths(*kept, local_paths.PATHS)]
    return [_paths(*kept), _all([_paths(local_paths.PATHS), _not(_header(":path", "|".join(named)))])]


def _allowed(rules: Sequence[RequestMatch]) -> Iterable[Message]:
    """Match what may leave: a header all of whose values are allowed, or a path spelled exactly as in the rule."""
    for name, values in _by_header(rules).items():
        yield _all([_has_only(name, values), _inference()])
    for rule in rules:
        if isinstance(rule, PathPrefix):
            method = _method(rule.methods) if rule.methods else _inference()
            yield _all([_header(":path", paths.exactly(rule.prefix)), method])


def _inference() -> Message:
    """Match POST and WebSocket upgrades, the only requests that are inference."""
    upgrade = _header("upgrade", r"(?i)[ \t]*websocket[ \t]*")
    return _any([_method(("POST",)), _all([_method(("GET",)), upgrade])])


def _method(methods: Sequence[str]) -> Message:
    return _header(":method", "|".join(methods))


def _by_header(rules: Sequence[RequestMatch]) -> dict[str, list[str]]:
    wanted: dict[str, list[str]] = {}
    for rule in rules:
        if isinstance(rule, HeaderMatch):
            wanted.setdefault(rule.header.lower(), []).append(rule.value.strip())
    return wanted


def _any(predicates: list[Message]) -> Message:
    """Match if any predicate does; Envoy requires at least two for `or`."""
    return predicates[0] if len(predicates) == 1 else {"or_matcher": {"predicate": predicates}}


def _all(predicates: list[Message]) -> Message:
    return {"and_matcher": {"predicate": predicates}}


def _not(predicate: Message) -> Message:
    return {"not_matcher": predicate}


def has(header: str, values: Iterable[str]) -> Message:
    """Match a header with any of these values in its comma-separated list, sent once or several times, also beside `;`."""
    return _header(
        header, rf"(?i)(?:\C*[,;])?[ \t]*(?:{'|'.join(literal(value) for value in values)})[ \t]*(?:[,;]\C*)?"
    )


def _has_only(header: str, values: Iterable[str]) -> Message:
    """Match a header whose comma-separated values are all among these."""
    one = rf"[ \t]*(?:{'|'.join(literal(value) for value in values)})[ \t]*"
    return _header(header, rf"(?i){one}(?:,{one})*")


def _unreadable(header: str) -> Message:
    """Match a header that is present but unreadable: empty, quoted, or with bytes other than printable ASCII."""
    return _all([_header(header, ANYTHING), _not(_header(header, READABLE))])


def _paths(*regexes: str) -> Message:
    """Match any of these paths, case-insensitively and with any query."""
    return _header(":path", f"(?i)(?:{'|'.join(regexes)}){paths.QUERY}")


def _header(name: str, regex: str) -> Message:
    """Match all values of a header at once, joined by commas; a RouteMatch would match each by itself."""
    value = extension("header", "envoy.type.matcher.v3.HttpRequestHeaderMatchInput", header_name=name)
    matched: Message = {"safe_regex": {"google_re2": {}, "regex": regex}}
    return {"single_predicate": {"input": value, "value_match": matched}}
