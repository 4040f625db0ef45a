"""Which listen addresses are in each other's way, and which lead back to the gateway itself. Nothing is resolved here."""

import ipaddress

from beamlit_controller.api import addresses, problems
from beamlit_controller.api.addresses import Address
from beamlit_controller.api.near_hosts import IPAddress

_ANY = ipaddress.ip_address("0.0.0.0")  # noqa: S104 - compared, not bound
_ANY_OF_BOTH = ipaddress.ip_address("::")
_LOCALHOST = frozenset({ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")})


def parse(text: str) -> Address:
    """Parse the address of one of Envoy's listeners, an IP address with a port or 0. Raises ValueError."""
    address = addresses.parse(text, lowest_port=0)
    if not _ips(address.host) or address.host == "localhost":
        raise ValueError(f"expected an IP address and a port, such as 127.0.0.1:8000, got {problems.came(text)}")
    return address


def overlap(one: Address, other: Address) -> bool:
    """Return whether two listeners of this machine can't both be bound."""
    if one.port != other.port or one.port == 0:
        return False
    some, others = _ips(one.host), _ips(other.host)
    if _ANY_OF_BOTH in some | others:
        return True
    if _ANY in some | others:
        return any(ip.version == 4 for ip in (some | others) - {_ANY}) or some == others or not (some and others)  # noqa: PLR2004 - IPv4
    return bool(some & others) or one.host == other.host


def leads_to(server: Address, listener: Address) -> bool:
    """Return whether a connection to the server certainly reaches the listener."""
    if server.port != listener.port or server.port == 0:
        return False
    at, ips = _ips(listener.host), _ips(server.host)
    if _ANY_OF_BOTH in at:
        return any(ip.is_loopback or ip.is_unspecified for ip in ips)
    if _ANY in at:
        return any(ip.version == 4 and (ip.is_loopback or ip.is_unspecified) for ip in ips)  # noqa: PLR2004 - IPv4
    return bool(ips) and ips <= at


def _ips(host: str) -> frozenset[IPAddress]:
    """Return the addresses of a host, if they are known without resolving it."""
    if host == "localhost":
        return _LOCALHOST
    try:
        return frozenset({ipaddress.ip_address(host)})
    except ValueError:
        return frozenset()
