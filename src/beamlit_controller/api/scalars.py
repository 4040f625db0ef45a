"""The scalar types of user input, each with its check, message and JSON schema."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from beamlit_controller.api import addresses, problems
from beamlit_controller.core import quantity

_SUFFIX: Final = r"(([KMGTPE]i)|[numkMGTPE]|[eE][+-]?[0-9]+)?"
QUANTITY_PATTERN: Final = rf"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+){_SUFFIX}$"  # what `quantity.parse` reads
POSITIVE_PATTERN: Final = rf"^[+]?([0-9]*[1-9][0-9]*(\.[0-9]*)?|[0-9]*\.[0-9]*[1-9][0-9]*){_SUFFIX}$"


def _quantity(given: object) -> str:
    """Accept a quantity as text or number. A number keeps its decimal value: 0.1 is one tenth."""
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        wanted = "a quantity such as 10, 0.5 or 500m"
        raise ValueError(f"expected {wanted}, got {problems.kind(given)}")  # noqa: TRY004 - pydantic reports ValueError
    text = given.strip() if isinstance(given, str) else str(given)
    quantity.parse(text)
    return text


def _positive(text: str) -> str:
    if quantity.parse(text).nano <= 0:
        raise ValueError(f"must be positive, got {text}")
    return text


def _not_negative(text: str) -> str:
    if quantity.parse(text).nano < 0:
        raise ValueError(f"must not be negative, got {text}")
    return text


_QUANTITY_SCHEMA = {
    "x-kubernetes-int-or-string": True,
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "pattern": QUANTITY_PATTERN,
}
_POSITIVE_SCHEMA = {**_QUANTITY_SCHEMA, "minimum": 1, "pattern": POSITIVE_PATTERN}
_Quantity = Annotated[str, BeforeValidator(_quantity)]
PositiveQuantity = Annotated[_Quantity, AfterValidator(_positive), WithJsonSchema(_POSITIVE_SCHEMA)]
SignedQuantity = Annotated[_Quantity, WithJsonSchema(_QUANTITY_SCHEMA)]
Quantity = Annotated[_Quantity, AfterValidator(_not_negative), WithJsonSchema(_QUANTITY_SCHEMA)]


def matching(pattern: str, wanted: str, *, longest: int = 253) -> list[Any]:
    """Return the annotations for text that fully matches a pattern; `wanted` describes what is expected."""
    compiled = re.compile(pattern, re.ASCII)

    def check(text: str) -> str:
        if not text:
            raise ValueError("required, but empty")
        if len(text) > longest:
            raise ValueError(f"expected {wanted} of at most {longest} characters")
        if not compiled.fullmatch(text):
            raise ValueError(f"expected {wanted}, got {problems.came(text)}")
        return text

    schema = {"type": "string", "minLength": 1, "maxLength": longest, "pattern": f"^(?:{pattern})$"}
    return [AfterValidator(check), WithJsonSchema(schema)]


def unique(names: list[str]) -> list[str]:
    """Return the names. Raises ValueError if one is repeated."""
    repeated = next((name for index, name in enumerate(names) if name in names[:index]), None)
    if repeated is not None:
        raise ValueError(f"expected each name once, got {repeated} twice")
    return names


_DNS_LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_A_LABEL = "a name of lower-case letters, digits and '-' (a DNS label)"
DnsLabel = Annotated[str, *matching(_DNS_LABEL, _A_LABEL, longest=63)]
DnsName = Annotated[
    str, *matching(rf"{_DNS_LABEL}(\.{_DNS_LABEL})*", "a name of lower-case letters, digits, '-' and '.'")
]
SecretKeyName = Annotated[
    str, *matching(r"([-_A-Za-z0-9]|\.[-_A-Za-z0-9])[-._A-Za-z0-9]*", "a key of letters, digits, '-', '_' and '.'")
]
Word = Annotated[str, *matching(r"[^\x00-\x1f\x7f]+", "text without control characters", longest=1024)]
QueryText = Annotated[
    str, *matching(r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]+", "text without control characters", longest=16384)
]
ApiVersion = Annotated[
    str, *matching(rf"({_DNS_LABEL}(\.{_DNS_LABEL})*/)?[a-z0-9]+", "an API version such as v1 or apps/v1")
]
Kind = Annotated[str, *matching(r"[A-Za-z][A-Za-z0-9]*", "a kind such as Deployment", longest=63)]
Token = Annotated[
    str, *matching(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", "a name as RFC 9110 allows it: letters, digits and !#$%&'*+-.^_`|~")
]
RequestPath = Annotated[
    str, *matching(r"/[!-\"$-~]*", "a path that begins with / and has no blanks and no #", longest=2048)
]


def _port(given: object) -> int | str:
    if isinstance(given, int) and not isinstance(given, bool):
        if not 1 <= given <= 65535:  # noqa: PLR2004 - the ports there are
            raise ValueError(f"expected a port from 1 to 65535, got {problems.came(given)}")
        return given
    if not isinstance(given, str):
        raise ValueError(f"expected a port or its name, got {problems.came(given)}")  # noqa: TRY004 - as above
    if given.isdigit():
        raise ValueError(f'expected a port or its name, got "{given[:9]}"; remove the quotes')
    if not _PORT_NAME.fullmatch(given) or "--" in given or not any(map(str.isalpha, given)):
        raise ValueError(
            f"expected a port or its name (at most 15 lower-case letters, digits and single '-'), got {problems.came(given)}"
        )
    return given


_PORT_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?", re.ASCII)
Port = Annotated[
    int | str,
    BeforeValidator(_port),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "minimum": 1,
            "maximum": 65535,
            "pattern": "^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$",
        }
    ),
]
Percentage = Annotated[int, Field(ge=0, le=100)]
Window = Annotated[int, Field(ge=0, le=3600)]
AtLeastOne = Annotated[int, Field(ge=1, le=2**31 - 1)]


def header_mistake(name: str, value: str) -> str | None:
    """Return why a header can't be added, or None. It never contains the value, which may be a secret."""
    if name.startswith(":"):
        return "a pseudo-header is set by host and pathPrefix, not here"
    if not _TOKEN.fullmatch(name):
        return "not a header name: letters, digits and !#$%&'*+-.^_`|~ only (RFC 9110)"
    if name.lower() in _NOT_TO_ADD or name.lower().startswith("x-envoy-"):
        return f"{_NOT_TO_ADD.get(name.lower(), 'the gateway reads it itself')}; it can't be added here"
    if _NOT_IN_VALUES.search(value):
        return "the value has a line break, a NUL or another control character"
    return "the value has a blank at its beginning or end" if value != value.strip() else None


_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_NOT_IN_VALUES = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_FRAMING = "it belongs to the connection, which the gateway makes"
_OF_CONNECTION = (
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
)
_NOT_TO_MATCH: Mapping[str, str] = {
    "host": "clients write a host with and without its port",
    "cookie": "one header carries all cookies of a client",
    **dict.fromkeys(_OF_CONNECTION, "it belongs to one connection and is not passed on"),
}
_NOT_TO_ADD: Mapping[str, str] = {
    "host": "the host is set by remoteBackend.host",
    **dict.fromkeys(_OF_CONNECTION, _FRAMING),
}


def unmatchable_header(name: str) -> str | None:
    """Return why a rule can't match this header, or None."""
    lower = name.lower()
    if "_" in lower:
        return "the gateway refuses requests with _ in the name of a header, so this would never match"
    if lower.startswith(("x-envoy-", "x-offload")):
        return "the gateway removes it from what clients send, so this would never match"
    if lower in _NOT_TO_MATCH:
        return f"{_NOT_TO_MATCH[lower]}; a rule can't rely on it"
    return None


def _remote_host(text: str) -> str:
    """Check `host[:port]`. For other common mistakes, name the field in which the value belongs."""
    scheme, found, rest = text.partition("://")
    if found:
        raise ValueError(
            f"expected host[:port]; the scheme belongs in scheme: {scheme if scheme in _SCHEMES else 'https'}"
        )
    if "@" in rest or "@" in text:
        raise ValueError(
            "expected host[:port]; user and password don't belong here: authConfig takes them from a Secret"
        )
    if "/" in text:
        raise ValueError(
            f"expected host[:port]; the path belongs in pathPrefix: {problems.came('/' + text.split('/', 1)[1])}"
        )
    if "?" in text or "#" in text:
        raise ValueError("expected host[:port] and nothing after it")
    addresses.parse(text, default_port=443)
    return text


_SCHEMES = {"http", "https"}
RemoteHost = Annotated[
    str,
    AfterValidator(_remote_host),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "maxLength": 263,
            "pattern": r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?$",
        }
    ),
]


def instant(text: str) -> datetime:
    """Parse an RFC 3339 date and time with offset. Raises ValueError."""
    try:
        moment = datetime.fromisoformat(text.upper()) if _RFC3339.fullmatch(text) else None
        _ = moment and moment.astimezone(UTC)  # near the ends of the calendar, not every time is one in UTC
    except (ValueError, OverflowError):
        moment = None
    if moment is None:
        raise ValueError(f"expected a time such as 2026-01-31T18:00:00Z (RFC 3339), got {problems.came(text)}")
    return moment


_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)

FRAMING_HEADERS: Final = frozenset({"host", *_OF_CONNECTION})
