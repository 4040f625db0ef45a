"""The read-only page at `/`: static files that show `/models`. It loads nothing from other hosts."""

import ipaddress
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.resources import files
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {"html": "text/html; charset=utf-8", "js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}
)
INDEX: Final = "index.html"
FILES: Final = ("page.css", "page.js", "model.js", "chart.js", "dom.js")
HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "cache-control": "no-cache",
        "vary": "accept",
    }
)
NOT_PUBLIC: Final = (
    *("localhost", "*.localhost", "*.local", "*.lan", "*.internal", "*.home.arpa"),
    *("*.svc", "*.svc.cluster.local"),
)
"""Names that are not in public DNS, so no foreign page can have one."""

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class PageAccess:
    """Whether the page is served, and the host names it is served under, besides IP addresses and non-public names."""

    page: bool = True
    hosts: tuple[str, ...] = ()

    def allows(self, host: str) -> bool:
        """Return whether a Host header is allowed.

        A foreign page can let its own name resolve to our address (DNS rebinding); the browser then lets it read our
        responses. Its Host header reveals it.
        """
        name = _name(host)
        if name is None:
            return False
        patterns = (*NOT_PUBLIC, socket.gethostname().lower(), *(each.lower() for each in self.hosts))
        return _is_address(name) or "." not in name or any(fnmatchcase(name, pattern) for pattern in patterns)


def wants_html(request: Request) -> bool:
    """Return whether the client is a browser, which accepts HTML, rather than curl."""
    return "text/html" in request.headers.get("accept", "")


def index() -> Response:
    """Return the page."""
    return _file(INDEX)


def static(name: str) -> Handler:
    """Return the handler of one of the page's files."""

    async def answer(_: Request) -> Response:
        return _file(name)

    return answer


def _file(name: str) -> Response:
    content = (files("beamlit_controller.telemetry") / "static" / name).read_bytes()
    return Response(content, media_type=TYPES[name.rpartition(".")[2]], headers=dict(HEADERS))


def _name(host: str) -> str | None:
    """Return the name in a Host header, in lower case and without port; None if it is invalid."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".") or None
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
