"""`keepLocal` and `mayLeave` as users write them: rules by header or path prefix."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from beamlit_controller.api import problems, scalars
from beamlit_controller.api.model import StrictModel
from beamlit_controller.api.rules import AllOrNone, Cel, ExactlyOne, Mistake, Rule
from beamlit_controller.api.scalars import RequestPath, Token, Word

Method = Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]


def _comparable(value: str) -> str:
    if "," in value or value != value.strip():
        raise ValueError(
            "expected one value: no comma, no blank at its beginning or end (each value is compared by itself)"
        )
    return value


def matchable_header(name: str) -> str:
    """Check that the gateway sees this header as clients send it; reject what it removes or refuses."""
    reason = scalars.unmatchable_header(name)
    if reason:
        raise ValueError(reason)
    return name


def matchable_path(text: str) -> str:
    """Check that normalized request paths can match; reject what never would."""
    if "?" in text:
        raise ValueError("a rule can't contain a query: it would never match")
    if "\\" in text or "//" in text:
        raise ValueError(
            "write single slashes: the gateway turns \\ into / and merges slashes, so this would never match"
        )
    if {".", ".."} & set(text.split("/")):
        raise ValueError("may not have . or .. between slashes: the gateway resolves them, so this would never match")
    for encoded in re.findall(r"%(?![0-9A-Fa-f]{2})|%[0-9A-Fa-f]{2}", text):
        if encoded == "%":
            raise ValueError("a % must be followed by two hexadecimal digits")
        if "!" <= chr(int(encoded[1:], 16)) <= "~":
            raise ValueError(
                f"write the character itself, not {problems.came(encoded)}: a rule matches it in either form"
            )
    return text


class _MethodsNeedPath:
    """`methods` need a path: a rule by header never allows more methods."""

    def mistakes(self, given: Mapping[str, object]) -> Iterator[Mistake]:
        """Report `methods`."""
        if "methods" in given and "pathPrefix" not in given:
            yield Mistake(("methods",), "only allowed with pathPrefix: a header rule never allows more requests")

    def cel(self) -> Iterator[Cel]:
        """Check that the path is present."""
        yield Cel("!has(self.methods) || self.methods.size() == 0 || has(self.pathPrefix)", "methods need pathPrefix")


class Requests(StrictModel):
    """Requests that match a header or the beginning of their path."""

    rules: ClassVar[tuple[Rule, ...]] = (ExactlyOne(("header", "pathPrefix")), AllOrNone("header", "value"))
    header: Annotated[Token, AfterValidator(matchable_header)] | None = Field(
        default=None, description="Name of a request header."
    )
    value: Annotated[Word, AfterValidator(_comparable)] | None = Field(
        default=None, description="Value of the header. Compared case-insensitively with each comma-separated value."
    )
    path_prefix: Annotated[RequestPath, AfterValidator(matchable_path)] | None = Field(
        default=None, description="Prefix of the request's path; matches whole path segments."
    )

    @classmethod
    def mistakes(cls, given: Mapping[Any, object]) -> Iterator[Mistake]:
        """Report a lone `value` once: it lacks a header, so don't also ask for one of header and pathPrefix."""
        found = tuple(super().mistakes(given))
        lone_value = "value" in given and "header" not in given and "pathPrefix" not in given
        yield from (mistake for mistake in found if not (lone_value and mistake.at == ()))


class LeavingRequests(Requests):
    """Requests that may go to the remote. A rule with a path may also list methods."""

    rules: ClassVar[tuple[Rule, ...]] = (*Requests.rules, _MethodsNeedPath())
    methods: list[Method] = Field(
        default=[],
        max_length=7,
        description="Methods of requests for this path that may go to the remote; by default POST, and WebSocket upgrades.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )


LONGEST_RULES = 8192
"""Maximum total length of the rules of a list: Envoy rejects regular expressions that are too large."""


def too_long(given: Mapping[Any, object], field: str) -> Iterator[Mistake]:
    """Report a list whose rules are too long in total for an Envoy regular expression."""
    rules = given.get(field)
    length = sum(_length(rule) for rule in rules) if isinstance(rules, list) else 0
    if length > LONGEST_RULES:
        yield Mistake((field,), f"expected rules of at most {LONGEST_RULES} characters in all, got {length}")


def _length(rule: object) -> int:
    texts = (rule.get("value"), rule.get("pathPrefix")) if isinstance(rule, Mapping) else ()
    return sum(len(text) for text in texts if isinstance(text, str))
