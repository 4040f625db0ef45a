"""How requests of one session are told from those of others."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HeaderStickiness:
    """Sessions are told apart by a request header."""

    header: str


@dataclass(frozen=True, slots=True)
class CookieStickiness:
    """Sessions are told apart by a cookie."""

    cookie: str
