"""How sessions are identified, so that all requests of one stay on the same side."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HeaderStickiness:
    """Sessions are identified by a request header."""

    header: str


@dataclass(frozen=True, slots=True)
class CookieStickiness:
    """Sessions are identified by a cookie."""

    cookie: str
