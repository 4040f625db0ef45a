"""Parses hosts, ports and URLs, and checks hosts against the allow-list. Nothing is resolved here."""

import ipaddress
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from beamlit_controller.api import problems

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


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

    Loopback and link-local hosts need an entry without `*`.
    """
    patterns = tuple(allowed)
    if any(_same(host, pattern) for pattern in patterns if "*" not in pattern):
        return None
    near = _nearby(host)
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


def _nearby(host: str) -> str | None:
    """Return whether a host is loopback or link-local."""
    address = _address(host)
    if address is None:
        return _near_name(host.lower())
    return _near_address(address)


def _near_address(address: IPAddress) -> str | None:
    for each in (address, *_embedded(address)):
        if each.is_loopback or each.is_unspecified:
            return "a loopback address"
        if each.is_link_local:
            return "a link-local address, such as those of cloud metadata services"
        if any(each in network for network in _METADATA):
            return "an address of a cloud's metadata service"
        if each.is_multicast or any(each in network for network in _NOBODYS):
            return "not the address of a single host"
    return None


def _near_name(host: str) -> str | None:
    """Return whether a name is this machine, or one that only this network or cluster resolves."""
    labels = host.split(".")
    if labels[-1] in _LOCAL_NAMES or labels[-1].startswith("localdomain"):
        return "the name of this machine"
    if len(labels) == 1:
        return "a name without a domain, which depends on this machine's resolver"
    if "svc" in labels[2:] or labels[-2:] == ["cluster", "local"]:
        return "the name of a Service in this cluster"
    if labels[-1] == "internal" or labels[-2:] == ["home", "arpa"] or host in _METADATA_NAMES:
        return "a name in this network, such as those of cloud metadata services"
    if any(labels[-len(domain) :] == domain for domain in _ANY_ADDRESS):
        return "a wildcard DNS name, which resolves to the address that is written in it"
    near = next(filter(None, map(_near_address, _written_in(host))), None)
    return f"a name that contains {near}" if near else None


def _written_in(host: str) -> Iterator[IPAddress]:
    """Yield the IPv4 addresses contained in a name, with dots or dashes: wildcard DNS resolves to them."""
    for found in _QUAD.finditer(host):
        with suppress(ValueError):
            yield ipaddress.IPv4Address(".".join(found.groups()))


def _embedded(address: IPAddress) -> Iterable[IPAddress]:
    """Yield the IPv4 addresses embedded in an IPv6 address: mapped, translated, compatible, 6to4, Teredo, ISATAP, NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return
    yield from (inner for inner in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())) if inner)
    if int(address) >> 32 & 0xFDFF_FFFF == _ISATAP or any(address in network for network in _WITH_IPV4_AT_THE_END):
        yield ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    if address in _LOCAL_NAT64:
        # Behind a prefix of 48, 56 or 64 bits, without the byte that is left out (RFC 6052, section 2.2).
        packed = address.packed
        yield from (ipaddress.IPv4Address((packed[:8] + packed[9:])[at : at + 4]) for at in (6, 7, 8))


def _address(host: str) -> IPAddress | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


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
_LOCAL_NAMES = {"localhost", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback"}
_METADATA = frozenset(
    map(
        ipaddress.ip_network,
        (
            "fd00:ec2::/32",
            "fd20:ce::/64",
            "fd00:c1::/32",
            "fd00:42::/32",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
        ),
    )
)
_METADATA_NAMES = {
    "metadata.tencentyun.com",
    "metadata.packet.net",
    "metadata.platformequinix.com",
    "api.metadata.cloud.ibm.com",
}
_NOBODYS = tuple(map(ipaddress.ip_network, ("0.0.0.0/8", "240.0.0.0/4", "fec0::/10", "100::/64")))
_ANY_ADDRESS = tuple(
    each.split(".")
    for each in (
        "nip.io",
        "sslip.io",
        "xip.io",
        "traefik.me",
        "localtest.me",
        "lvh.me",
        "vcap.me",
        "lacolhost.com",
        "local.gd",
        "localho.st",
        "1u.ms",
        "rbndr.us",
    )
)
_QUAD = re.compile(r"(?<![0-9])([0-9]{1,3})[.-]([0-9]{1,3})[.-]([0-9]{1,3})[.-]([0-9]{1,3})(?![0-9])", re.ASCII)
_ISATAP = 0x0000_5EFE
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
_WITH_IPV4_AT_THE_END = (*map(ipaddress.IPv6Network, ("::/96", "::ffff:0:0:0/96", "64:ff9b::/96")), _LOCAL_NAT64)
