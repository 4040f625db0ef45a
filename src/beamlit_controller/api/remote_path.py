"""Paths, headers and query parameters of the remote as users write them, with variables such as `$model`."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Final
from urllib.parse import quote

from pydantic import AfterValidator, Field

from beamlit_controller.api import problems
from beamlit_controller.api.model import StrictModel
from beamlit_controller.api.rules import Cel, Mistake, dig

REMOTE_MODEL: Final = "$remoteModel"

_VARIABLES = ("workspace", "model", "remoteModel")
_VARIABLE = re.compile(rf"\$({'|'.join(_VARIABLES)})(?!\w)")
_LISTED = "$workspace (the namespace), $model and $remoteModel are replaced"


def _path_prefix(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError(f"must begin with /, got {problems.came(text)}")
    if re.search(r"[\x00-\x20\x7f?#\\]", text):
        raise ValueError("expected a path: no blanks, no control characters, no ?, # or \\")
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise ValueError("a % must be followed by two hexadecimal digits")
    for name in re.findall(r"\$(\{?\w*)", text):
        if name not in _VARIABLES:
            raise ValueError(f"unknown variable ${name}; {_LISTED}")
    if {".", ".."} & set(text.split("/")):
        raise ValueError("may not have . or .. between slashes")
    return text


def _replaced(text: str) -> str:
    if not re.fullmatch(r"(?:/[A-Za-z0-9._~-]+)+/?", text):
        raise ValueError(
            f"expected the beginning of a path such as /v1, of letters, digits and -._~, got {problems.came(text)}"
        )
    return _path_prefix(text)


AddedPrefix = Annotated[str, AfterValidator(_path_prefix), Field(max_length=1024)]


class PathConfig(StrictModel):
    """Replaces a prefix of the path of each request to the remote."""

    replace_prefix: Annotated[str, AfterValidator(_replaced), Field(max_length=1024)] = Field(
        description="Prefix that clients use, such as /v1. Requests with other paths stay local."
    )
    with_: AddedPrefix = Field(
        alias="with",
        description="Replacement of the prefix, such as /v1beta/openai. `$workspace`, `$model` and `$remoteModel` are replaced.",
    )


class OnePath:
    """`path` and `pathPrefix` are alternatives; the API server fills in `/` for the latter."""

    def mistakes(self, given: Mapping[str, object]) -> Iterator[Mistake]:
        """Report `pathPrefix`."""
        if "path" in given and given.get("pathPrefix", "/") != "/":
            yield Mistake(("pathPrefix",), "may not be set together with path: path.with has the whole prefix")

    def cel(self) -> Iterator[Cel]:
        """Compare it with its default."""
        yield Cel("!has(self.path) || self.pathPrefix == '/'", "pathPrefix may not be set together with path")


def in_path(prefix: str, values: Mapping[str, str]) -> str:
    """Replace the variables in a prefix, percent-encode what a path can't contain, and drop the trailing slash."""
    parts = _VARIABLE.split(prefix)
    filled = "".join(
        quote(values[part], safe="/:@!&'()*+,;=") if index % 2 else quote(part, safe="/:@!&'()*+,;=%")
        for index, part in enumerate(parts)
    )
    return filled.rstrip("/")


def in_headers(headers: Mapping[str, str], values: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Replace the variables in the values of headers; a name that is not printable ASCII is percent-encoded."""
    return tuple(
        (name, _VARIABLE.sub(lambda found: _printable(values[found[1]]), text)) for name, text in headers.items()
    )


def query_mistakes(query: Mapping[object, object]) -> Iterator[Mistake]:
    """Yield the mistakes in the names of query parameters, each reported under its name."""
    seen = set[str]()
    for name in filter(_is_text, query):
        plain = _plain(str(name))
        if not name:
            yield Mistake(("query",), "a parameter can't have an empty name")
        elif plain == "model":
            yield Mistake(("query", str(name)), "the model's name is set by modelName and modelNames")
        elif plain in seen:
            yield Mistake(("query", str(name)), "given twice: names are compared regardless of case, - and _")
        seen.add(plain)


def name_mistakes(given: Mapping[Any, object]) -> Iterator[Mistake]:
    """Yield the names of models that can't be part of a path, if a path contains them."""
    prefix = dig(given, ("path", "with")) or dig(given, ("pathPrefix",))
    if not isinstance(prefix, str) or not depends_on_model((prefix,)):
        return
    named = dig(given, ("modelNames",))
    yield from _dotted(("modelName",), dig(given, ("modelName",)))
    for here, there in named.items() if isinstance(named, Mapping) else ():
        yield from _dotted(("modelNames", str(here)), there)


def _dotted(at: tuple[str, ...], name: object) -> Iterator[Mistake]:
    if isinstance(name, str) and {".", ".."} & set(name.split("/")):
        yield Mistake(at, f"may not have . or .. between slashes: {REMOTE_MODEL} stands in the path")


def depends_on_model(texts: Iterable[str]) -> bool:
    """Return whether any of the texts contains `$remoteModel`."""
    return any(found == REMOTE_MODEL[1:] for text in texts for found in _VARIABLE.findall(text))


def _is_text(name: object) -> bool:
    return isinstance(name, str)


def _plain(name: str) -> str:
    return name.lower().translate({ord(each): None for each in "-_+[] "})


_PRINTABLE = "".join(chr(number) for number in range(0x21, 0x7F) if chr(number) != "%")


def _printable(value: str) -> str:
    return value if all(0x21 <= ord(each) < 0x7F for each in value) else quote(value, safe=_PRINTABLE)  # noqa: PLR2004 - printable ASCII
