"""The NetworkPolicy that restricts the addresses a gateway can connect to. Pure.

It allows everything except the denied networks; DNS, pods in the model's namespace and the controller are always
allowed.
"""

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from beamlit_controller.core.spec import OffloadSpec
from beamlit_controller.kubernetes import gateway_objects
from beamlit_controller.kubernetes.gateway_objects import DesiredObject
from beamlit_controller.kubernetes.paths import NETWORK_POLICIES

Json = dict[str, Any]

CONTROLLER: Final = {"app.kubernetes.io/name": "beamlit-controller"}
"""The label of the controller's pods in the chart."""
DNS: Final = 53


@dataclass(frozen=True, slots=True)
class Egress:
    """The denied networks (empty: everything is allowed), and the controller's namespace."""

    denied: tuple[str, ...] = ()
    controller: str = ""


def network_policy(spec: OffloadSpec, owner: str, *, egress: Egress) -> DesiredObject:
    """Render the NetworkPolicy. Policies are additive: another one may allow more."""
    content = {
        "podSelector": {"matchLabels": gateway_objects.pod_selector(spec.key)},
        "policyTypes": ["Egress"],
        "egress": _rules(egress) if egress.denied else [{}],
    }
    name = gateway_objects.gateway_name(spec.key)
    return gateway_objects.desired_object(NETWORK_POLICIES, spec, name, owner, {"spec": content})


def _rules(egress: Egress) -> list[Json]:
    blocks = [{"ipBlock": block} for block in _blocks(egress.denied)]
    return [
        # To any resolver: node-local DNS caches have link-local addresses.
        {"ports": [{"protocol": protocol, "port": DNS} for protocol in ("UDP", "TCP")]},
        # Some network plugins match pods by selectors only, never by address.
        {"to": [{"podSelector": {}}, _controller(egress.controller), *blocks]},
    ]


def _controller(namespace: str) -> Json:
    return {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "podSelector": {"matchLabels": CONTROLLER},
    }


def _blocks(denied: Iterable[str]) -> Iterator[Json]:
    """Yield the allowed blocks: everything except the denied networks. An exception must be smaller than its block."""
    networks = [ipaddress.ip_network(each) for each in denied]
    for everything in (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")):
        excepted = [each for each in networks if each.version == everything.version]
        if everything not in excepted:
            yield {"cidr": str(everything), **({"except": list(map(str, excepted))} if excepted else {})}
