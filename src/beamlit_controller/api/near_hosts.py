"""Recognizes hosts near this machine: itself, its link, metadata services, and names that only this network knows.

Nothing is resolved: a name is judged by how it is written. For names that the public DNS resolves to loopback or to
the address written in them there is no rule, only a list of those that are known.
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def described(host: str) -> str | None:
    """Return what a host near this machine is, as in "a loopback address"; None for any other host."""
    address = _address(host)
    return _near_name(host.lower()) if address is None else _near_address(address)


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
    labels = host.split(".")
    return _own_name(labels) or _name_in_this_network(labels) or _public_name(host, labels)


def _own_name(labels: list[str]) -> str | None:
    if labels[-1] in _LOCAL_NAMES or labels[-1].startswith("localdomain"):
        return "the name of this machine"
    if len(labels) == 1:
        return "a name without a domain, which depends on this machine's resolver"
    return None


def _name_in_this_network(labels: list[str]) -> str | None:
    if "svc" in labels[2:] or labels[-2:] == ["cluster", "local"]:
        return "the name of a Service in this cluster"
    if labels[-1] == "internal" or _METADATA_LABELS & {*labels}:
        return "a name in this network, such as those of cloud metadata services"
    if labels[-1] in _PRIVATE_DOMAINS:
        return f"a name in this network: .{labels[-1]} is no domain of the public DNS"
    return None


def _public_name(host: str, labels: list[str]) -> str | None:
    if any(labels[-len(domain) :] == domain for domain in _LOOPBACK) or _CALLED_LOOPBACK.search(labels[-2]):
        return "a public name of the loopback address"
    if any(labels[-len(domain) :] == domain for domain in _ANY_ADDRESS):
        return "a wildcard DNS name, which resolves to the address that is written in it"
    near = next(filter(None, map(_near_address, _written_in(host))), None)
    return f"a name that contains {near}" if near else None


def _written_in(host: str) -> Iterator[IPAddress]:
    """Yield the IPv4 addresses contained in a name, with dots or dashes: wildcard DNS resolves to them.

    Hexadecimal ones only if they are near, because names of releases look like the others.
    """
    for found in _QUAD.finditer(host):
        with suppress(ValueError):
            yield ipaddress.IPv4Address(".".join(found.groups()))
    for digits in _HEX.findall(host):
        address = ipaddress.IPv4Address(int(digits, 16))
        if any(address in network for network in (*_NEAR_IN_HEX, *_METADATA)):
            yield address


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


def _domains(names: str) -> tuple[list[str], ...]:
    return tuple(name.split(".") for name in names.split())


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
# `metadata.goog`, `metadata.tencentyun.com`, `api.metadata.cloud.ibm.com`, `instance-data.ec2.internal`.
_METADATA_LABELS = {"metadata", "instance-data"}
# Special-use domains (RFC 6761, 6762, 7686, 8375), those that ICANN does not delegate because networks use them, and what routers and
# service registries use. Those for documentation and tests are not among them: no resolver knows them.
_PRIVATE_DOMAINS = frozenset(
    (
        *("alt", "arpa", "local", "onion", "corp", "home", "mail", "intranet", "private", "lan", "belkin", "router"),
        *("intern", "intra", "loc", "localnet", "priv", "homelab", "workgroup", "zeroconf", "dhcp", "consul", "docker"),
        *("kube", "marathon", "mesos", "nomad"),
    )
)
_NOBODYS = tuple(map(ipaddress.ip_network, ("0.0.0.0/8", "240.0.0.0/4", "fec0::/10", "100::/64")))
_LOOPBACK = _domains(
    "lvh.me vcap.me fuf.me yoogle.com 42foo.com ulh.us smackaho.st domaincontrol.com cefgo.com beweb.com colasloth.com "
    "lndo.site ddev.site docksal.site localstack.cloud localho.st localhst.co.uk local.sisteminha.com localfabriek.nl "
    "127-0-0-1.org.uk local.gd bugbounty.click spoofed.burpcollaborator.net mouse-potato.com"
)
# `localhost.direct`, `loopback.jp`, `localtest.me`, `lacolhost.com`.
_CALLED_LOOPBACK = re.compile(r"l[ao]c[ao]lhost|loopback|local-?(?:test|machine|dev(?![a-z])|tls|cert|ip(?![a-z]))")
_ANY_ADDRESS = _domains(
    "nip.io sslip.io xip.io traefik.me 1u.ms rbndr.us backname.io xip.name ip6.name nip.lol local-ip.medicmobile.org plex.direct"
)
_QUAD = re.compile(r"(?<![0-9])([0-9]{1,3})[.-]([0-9]{1,3})[.-]([0-9]{1,3})[.-]([0-9]{1,3})(?![0-9])", re.ASCII)
_HEX = re.compile(r"(?<![a-z0-9])(?:0x)?([0-9a-f]{8})(?![a-z0-9])", re.ASCII)
_NEAR_IN_HEX = tuple(map(ipaddress.IPv4Network, ("127.0.0.0/23", "169.254.0.0/16")))
_ISATAP = 0x0000_5EFE
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
_WITH_IPV4_AT_THE_END = (*map(ipaddress.IPv6Network, ("::/96", "::ffff:0:0:0/96", "64:ff9b::/96")), _LOCAL_NAT64)
