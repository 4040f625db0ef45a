"""The IP addresses of pods and endpoints, in one spelling, so that they can be compared. Pure.

A pod of a dual-stack cluster has two: `status.podIP` is the first of `status.podIPs`. Each EndpointSlice has addresses of
one family.
"""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from beamlit_controller.kubernetes import fields

IPV4, IPV6 = "IPv4", "IPv6"
"""The families as in a Service's `ipFamilies`."""
_MOST: Final = 2


def parse(status: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the addresses in the status of a pod, the primary one first; at most one of each family."""
    listed = (fields.text(each.get("ip")) for each in fields.mappings(status.get("podIPs")))
    found = dict.fromkeys(canonical(each) for each in (fields.text(status.get("podIP")), *listed) if each)
    return tuple(found)[:_MOST]


def canonical(address: str) -> str:
    """Return an IP address as RFC 5952 spells it; other text, such as a host name, as it is."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address


def family(address: str) -> str:
    """Return the family of an IP address."""
    return IPV6 if ":" in address else IPV4


def preferred(addresses: Sequence[str], families: Iterable[str]) -> str:
    """Return the address of the first of a Service's families that a pod has, otherwise its primary one; "" if it has none."""
    of_family = {family(each): each for each in addresses}
    return next((of_family[each] for each in families if each in of_family), addresses[0] if addresses else "")
