r"""Matches paths the way model servers read them, by regular expressions that are valid for RE2 and Python's `re`.

Envoy resolves `/./`, `/../` and `\`, merges slashes and decodes letters, digits and `-._~`. A server may still decode
what Envoy leaves encoded, so every other character is matched in both forms.
"""

import re
from collections.abc import Sequence

PLAIN = re.compile(r"[A-Za-z0-9._~-]")

# The spellings that servers read as a slash.
_SLASH = r"(?:/|\x5c|%2f|%5c)"

# `;` begins path parameters, which many servers remove before routing.
_PARAMETER = r"(?:;|%3b)"
_PARAMETERS = rf"(?:{_PARAMETER}[^/?]*)?"
_BETWEEN = rf"(?:{_SLASH}{_PARAMETERS})+"

QUERY = r"(?:\?\C*)?"

# What some servers strip from the end of a path: dots, and any kind of blank.
_PADDING = r"(?:\.|%2e|%20|%09|%0[a-d]|%a0|%c2%a0)*"

_DOTS = r"(?:\.|%2e){1,2}"
_EDGE = rf"(?:{_SLASH}|{_PARAMETER})"
# The start of a query or fragment for servers that decode before they split.
_END = rf"(?:{_EDGE}|%3f|%23)"
# Control characters, and what some decoders take for ASCII.
_ODD = r"%[01][0-9a-f]|%7f|%25[0-9a-f]{2}|%c[01]|%e0%[89]|%f0%8|%f[5-9a-f]|%u"
# Blanks of ASCII and Unicode, and what takes no room: soft hyphens, zero-width and directional
# characters, fillers and variation selectors.
_BLANK = (
    r"%(?:20|c2%(?:[89][0-9a-f]|a0|ad)|cd%8f|d8%9c|e1%(?:85%(?:9f|a0)|9a%80|9e%b[45]|a0%8[b-f])"
    r"|e2%(?:80%(?:8[0-9a-f]|a[89a-f])|81%(?:9f|a[0-9a-f])|a0%80)|e3%(?:80%80|85%a4)|ef%(?:b8%8[0-9a-f]|bb%bf|be%a0|bf%b[0-9a-f])"
    r"|f0%(?:9b%b2%a[0-3]|9d%85%b[3-9a])|f3%a0%[89ab][0-9a-f]%[89ab][0-9a-f])"
)
# Blanks of Latin-1, which are parts of other characters in UTF-8; and what ends with one that is no such part.
_LATIN_BLANK = r"%(?:85|a0|ad)"
_LATIN_END = rf"(?:[^%?]{{3}}|(?:/|%[0-7][0-9a-f])[^%?]{{0,2}}){_LATIN_BLANK}"
_PARTED = rf"(?:(?:{_SLASH}|\.|%2e|%3f|%23)[^?]*)?"
AMBIGUOUS = (
    rf"[^?]*(?:{_SLASH}{_DOTS}(?:{_SLASH}[^?]*)?|(?:{_PARAMETER}|{_ODD})[^?]*"
    rf"|{_SLASH}(?:{_BLANK}|{_LATIN_BLANK})[^?]*|(?:{_BLANK}|{_LATIN_END}){_PARTED})"
)
"""Paths that servers parse differently: a dot segment beside an encoded slash, characters encoded oddly or twice, a segment that
begins or ends with a blank, or parameters.

Parameters can be credentials, too, such as `;jsessionid=…`.
"""

# Prefixes under which the same API is served: `/v1`, `/openai/v1`, `/api`, a proxy's `/anthropic/v1`.
_PASSED_THROUGH = "anthropic|assemblyai|azure|azure_ai|bedrock|cohere|cursor|gemini|litellm|mistral|openai_passthrough|vertex[-_]ai|vllm"
_BASE = rf"(?:(?:openai|api|v[0-9][a-z0-9._-]*|{_PASSED_THROUGH}){_PARAMETERS}{_BETWEEN})*"

_NAMING = rf"models?|deployments|engines|functions|serving[-_]endpoints|ai{_BETWEEN}run"
NAMES_A_MODEL = rf"(?i)[^?]*{_BETWEEN}(?:{_NAMING}){_PARAMETERS}{_BETWEEN}[^?]+{QUERY}"
"""Paths that name a model, as those of Azure, Gemini, Bedrock, KServe, Triton, Databricks, NVIDIA and Cloudflare, in every spelling."""


def below(prefix: str) -> str:
    """Match this path and everything below it, in every spelling; for case-insensitive use."""
    segments = _segments(prefix)
    return rf"{_BETWEEN}{segments}{_REST}" if segments else r"[^?]*"


def resources(names: Sequence[str]) -> str:
    """Match paths of a server's API, whatever its version: `files`, `models/*/config`.

    `responses/` matches only what is below, `models$` only the path itself. What has a custom method or a file extension is the same
    resource: `files:list`, `files.json`.
    """
    whole = "|".join(_segments(name, anything="*") for name in names if name[-1] not in "/$")
    below = "|".join(_segments(name) for name in names if name.endswith("/"))
    alone = "|".join(_segments(name[:-1]) for name in names if name.endswith("$"))
    rest = rf"(?:{whole}){_FORM}{_REST}|(?:{below}){_PARAMETERS}{_SLASH}[^?]*|(?:{alone}){_PADDING}{_ALONE}"
    return rf"{_BETWEEN}{_BASE}(?:{rest})"


def with_segment(regex: str) -> str:
    """Match paths one of whose segments matches this expression, at whatever depth, with any method or file extension."""
    return rf"[^?]*{_BETWEEN}(?:{regex}){_FORM}{_REST}"


def with_method(regex: str) -> str:
    """Match paths that end in a custom method that matches this expression, such as `:unload`."""
    return rf"[^?]*{_COLON}(?:{regex}){_PADDING}{_ALONE}"


def exactly(prefix: str) -> str:
    """Match this path and everything below it, spelled exactly like this: a request that may leave must be unambiguous."""
    return rf"{''.join(_as_written(each) for each in _pieces(prefix.rstrip('/')))}(?:[/?]\C*)?"


_COLON = "(?::|%3a)"
_FORM = rf"(?:(?:\.|%2e)[a-z]{{2,5}}|{_COLON}[^/?]*)?"
_REST = rf"{_PADDING}(?:{_END}[^?]*)?"
_ALONE = rf"{_PARAMETERS}(?:{_BETWEEN}{_PADDING})?(?:(?:%3f|%23)[^?]*)?"


def _segments(path: str, *, anything: str = "") -> str:
    """Match these segments; `anything` matches any one segment."""
    segments = [
        "[^/?]+" if each == anything else "".join(map(_spelled, _pieces(each))) for each in path.split("/") if each
    ]
    return rf"{_PARAMETERS}{_BETWEEN}".join(segments)


def _pieces(text: str) -> list[str]:
    """Split into characters, keeping percent-encoded ones together."""
    return re.findall(r"%[0-9A-Fa-f]{2}|.", text)


def _spelled(piece: str) -> str:
    if len(piece) > 1 or PLAIN.fullmatch(piece):
        return literal(piece)
    return rf"(?:{literal(piece)}|%{ord(piece):02x})"


# Envoy itself encodes these.
_ENCODED = '"<>^`{|}'


def _as_written(piece: str) -> str:
    if len(piece) > 1 or piece in _ENCODED:
        digits = piece[1:] if len(piece) > 1 else f"{ord(piece):02x}"
        encoded = "%" + "".join(f"[{digit.lower()}{digit.upper()}]" for digit in digits)
        return encoded if len(piece) > 1 else rf"(?:{literal(piece)}|{encoded})"
    return literal(piece)


def literal(text: str) -> str:
    """Return a regular expression that matches exactly this text, in UTF-8: Envoy matches bytes."""
    return re.sub(r"[^A-Za-z0-9_]", lambda found: "".join(rf"\x{byte:02x}" for byte in found[0].encode()), text)
