"""Route matches for local-only requests; in doubt a request stays local."""

from collections.abc import Iterable, Sequence

from beamlit_controller.core.spec import HeaderMatch, PathPrefix, RequestMatch
from beamlit_controller.envoy import paths, stateful
from beamlit_controller.envoy.messages import Message, extension
from beamlit_controller.envoy.paths import literal

# Any bytes at all, and those that can be read for sure: printable ASCII without quotes, not only blanks and commas.
ANYTHING = r"\C*"
READABLE = r"[ \t!#-~]*[!#-+\--~][ \t!#-~]*"

OFFLOADED = "x-offload-hops"
"""Set on what goes to a remote. If that is a gateway of ours too, it sends the request no further: no loops."""


def predicate(rules: Sequence[RequestMatch], may_leave: Sequence[RequestMatch]) -> Message:
    """Return the Matcher.Predicate of requests that must stay: by a rule, by default, or for not being allowed to leave."""
    # Anything else is refused by Envoy, or read in different ways.
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
    """Match a header by any of its values, or by being unreadable."""
    wanted = _by_header(rules)
    return [predicate for name, values in wanted.items() for predicate in (has(name, values), _unreadable(name))]


def _kept_paths(kept: Sequence[str], may_leave: Sequence[RequestMatch]) -> list[Message]:
    """Match these paths, and what stays by default but for those paths of it that a rule names: all at once where none does."""
    named = [
        paths.exactly(rule.prefix) for rule in may_leave if isinstance(rule, PathPrefix) and stateful.holds(rule.prefix)
    ]
    if not named:
        return [_paths(*kept, stateful.PATHS)]
    return [_paths(*kept), _all([_paths(stateful.PATHS), _not(_header(":path", "|".join(named)))])]


def _allowed(rules: Sequence[RequestMatch]) -> Iterable[Message]:
    """Match what may leave: a header all of whose values are allowed, or a path as it stands in the rule."""
    for name, values in _by_header(rules).items():
        yield _all([_has_only(name, values), _inference()])
    for rule in rules:
        if isinstance(rule, PathPrefix):
            method = _method(rule.methods) if rule.methods else _inference()
            yield _all([_header(":path", paths.exactly(rule.prefix)), method])


def _inference() -> Message:
    """Match POST and WebSocket upgrades: inference is nothing else."""
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
    """Match any of them; Envoy wants two for an `or`."""
    return predicates[0] if len(predicates) == 1 else {"or_matcher": {"predicate": predicates}}


def _all(predicates: list[Message]) -> Message:
    return {"and_matcher": {"predicate": predicates}}


def _not(predicate: Message) -> Message:
    return {"not_matcher": predicate}


def has(header: str, values: Iterable[str]) -> Message:
    """Match a header with any of the values among its comma-separated ones, sent once or several times; also behind or before `;`."""
    return _header(
        header, rf"(?i)(?:\C*[,;])?[ \t]*(?:{'|'.join(literal(value) for value in values)})[ \t]*(?:[,;]\C*)?"
    )


def _has_only(header: str, values: Iterable[str]) -> Message:
    """Match a header all of whose comma-separated values are among these."""
    one = rf"[ \t]*(?:{'|'.join(literal(value) for value in values)})[ \t]*"
    return _header(header, rf"(?i){one}(?:,{one})*")


def _unreadable(header: str) -> Message:
    """Match a header that is there but can't be read: empty, quoted, or with bytes that are not printable ASCII."""
    return _all([_header(header, ANYTHING), _not(_header(header, READABLE))])


def _paths(*regexes: str) -> Message:
    """Match any of these paths, in any case and with any query."""
    return _header(":path", f"(?i)(?:{'|'.join(regexes)}){paths.QUERY}")


def _header(name: str, regex: str) -> Message:
    """Match all values of a header at once, as one text with commas: a RouteMatch would look at each by itself."""
    value = extension("header", "envoy.type.matcher.v3.HttpRequestHeaderMatchInput", header_name=name)
    matched: Message = {"safe_regex": {"google_re2": {}, "regex": regex}}
    return {"single_predicate": {"input": value, "value_match": matched}}
