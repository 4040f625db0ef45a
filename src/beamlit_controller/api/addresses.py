"""Parses hosts, ports and URLs, and checks hosts against the allow-list. Nothing is resolved here."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from beamlit_controller.api import near_hosts, problems


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A host and a port; an IPv6 address has no brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(text: str, *, default_port: int | None = None, lowest_port: int = 1) -> Address:
    """Parse `host:port`; the port is required unless there is a default. Raises ValueError."""
    host, colon, port = _split(text)
    if colon:
        return Address(_host(host), _port(port, lowest_port))
    if default_port is None:
        raise ValueError(f"expected host:port, got {problems.came(text)}: the port is missing")
    return Address(_host(host), default_port)


def parse_host(text: str) -> str:
    """Parse a host without a port; an IPv6 address may have brackets. Raises ValueError."""
    if "://" in text or text.count(":") == 1 or "]:" in text:
        raise ValueError(f"expected a host alone, without scheme and port, got {problems.came(text)}")
    return _host(text if text.startswith("[") or ":" not in text else f"[{text}]")


def parse_url(text: str, *, example: str) -> SplitResult:
    """Parse an absolute http(s) URL without credentials and fragment.

    Raises ValueError, which never contains the URL.
    """
    try:
        url = urlsplit(text)
    except ValueError:
        raise ValueError(f"expected a URL such as {example}") from None
    if url.scheme not in {"http", "https"}:
        raise ValueError(f"expected a URL that begins with http:// or https://, such as {example}")
    if not _URL_TEXT.fullmatch(text):
        raise ValueError("a URL can't contain blanks or non-ASCII characters; percent-encode them")
    if url.fragment:
        raise ValueError("a fragment is not allowed here: remove everything from # on")
    if "@" not in url.netloc:
        parse(url.netloc, default_port=port_of(url.scheme))
    return url


def port_of(scheme: str) -> int:
    """Return the default port of a scheme."""
    return 443 if scheme == "https" else 80


def refusal(host: str, allowed: Iterable[str]) -> str | None:
    """Return the reason why a remote host is not allowed, or None.

    Hosts near this machine, such as loopback and link-local ones, need an entry without `*`.
    """
    patterns = tuple(allowed)
    if any(_same(host, pattern) for pattern in patterns if "*" not in pattern):
        return None
    near = near_hosts.described(host)
    if near:
        return f"{host} is {near}; config.allowedRemoteHosts must list it without *"
    if any(_globs(host, pattern) for pattern in patterns if "*" in pattern):
        return None
    return f"{host} is not among config.allowedRemoteHosts ({', '.join(patterns) or 'which is empty'})"


def _split(text: str) -> tuple[str, str, str]:
    match = _HOST_PORT.fullmatch(text)
    if not match:
        hint = "; an IPv6 address needs brackets, such as [::1]:8000" if text.count(":") > 1 else ""
        raise ValueError(f"expected host:port, got {problems.came(text)}{hint}")
    return match["host"], match["colon"] or "", match["port"] or ""


def _host(text: str) -> str:
    if text.startswith("["):
        return _ipv6(text)
    if not _HOSTNAME.fullmatch(text) or len(text) > _LONGEST_HOST:
        raise ValueError(f"expected a host name or an IP address, got {problems.came(text)}{_host_hint(text)}")
    if _NUMERIC_END.search(text):
        return _ipv4(text)
    return text.lower()


def _host_hint(text: str) -> str:
    if not text.isascii():
        return "; write an international name in its ASCII form (xn--…)"
    return "; remove the trailing dot" if text.endswith(".") else ""


def _ipv4(text: str) -> str:
    """Parse an IPv4 address. Other spellings that resolvers accept are rejected rather than interpreted."""
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise ValueError(f"expected an IPv4 address as four decimal numbers, got {problems.came(text)}") from None


def _ipv6(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text[1:-1])
    except ValueError:
        raise ValueError(f"expected an IPv6 address in brackets, got {problems.came(text)}") from None
    if address.scope_id is not None:
        raise ValueError(f"an IPv6 address can't have a zone here, got {problems.came(text)}")
    return str(address)


def _port(text: str, lowest: int) -> int:
    if not _PORT.fullmatch(text) or not lowest <= int(text) <= _HIGHEST_PORT:
        raise ValueError(f"expected a port from {lowest} to {_HIGHEST_PORT}, got {problems.came(text)}")
    return int(text)


def _same(host: str, pattern: str) -> bool:
    try:
        return host == parse_host(pattern)
    except ValueError:
        return False


def _globs(host: str, pattern: str) -> bool:
    expression = ".*".join(re.escape(part) for part in re.split(r"\*+", pattern.lower()))
    return re.fullmatch(expression, host) is not None


_HOST_PORT = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?:(?P<colon>:)(?P<port>[^:]*))?")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOSTNAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_NUMERIC_END = re.compile(r"(?:^|\.)(?:[0-9]+|0[xX][0-9A-Fa-f]*)$", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_URL_TEXT = re.compile(r"[!-~]+")
_HIGHEST_PORT = 65535
_LONGEST_HOST = 253
