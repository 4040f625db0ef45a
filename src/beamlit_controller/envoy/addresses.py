"""Parses addresses: `host:port`, `[v6]:port`, `unix:path`."""

import ipaddress

from beamlit_controller.envoy.messages import Message

UNIX = "unix:"
LONGEST_UNIX_PATH = 107  # sun_path of unix(7) holds 108 bytes including the terminating NUL


def message(text: str) -> Message:
    """Convert an address to Envoy's Address. A relative path is relative to Envoy's directory. Raises ValueError."""
    if is_unix(text):
        return {"pipe": {"path": _unix_path(text)}}
    host, port = split(text)
    both: Message = {"ipv4_compat": True} if host == "::" else {}
    return {"socket_address": {"address": host, "port_value": port, **both}}


def split(text: str) -> tuple[str, int]:
    """Parse `host:port` or `[v6]:port`. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not bare or host != bracketed(bare):
        raise ValueError(f"expected host:port or [v6]:port, got {text!r}")
    if not port.isascii() or not port.isdigit() or int(port) >= 2**16:
        raise ValueError(f"expected a port from 0 to 65535, got {text!r}")
    return bare, int(port)


def join(host: str, port: int) -> str:
    """Format `host:port`, with brackets around an IPv6 address."""
    return f"{bracketed(host)}:{port}"


def bracketed(host: str) -> str:
    """Format a host as in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def is_unix(text: str) -> bool:
    """Return whether the address is a Unix socket."""
    return text.startswith(UNIX)


def is_ip(host: str) -> bool:
    """Return whether the host is an IP address, which needs no DNS."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_private(text: str) -> bool:
    """Return whether only this machine can reach the address."""
    if is_unix(text):
        return True
    host, _ = split(text)
    return is_ip(host) and ipaddress.ip_address(host).is_loopback


def _unix_path(text: str) -> str:
    path = text.removeprefix(UNIX)
    if not 0 < len(path.encode()) <= LONGEST_UNIX_PATH:
        raise ValueError(f"expected from 1 to {LONGEST_UNIX_PATH} bytes in the path of a unix socket, got {path!r}")
    return path
