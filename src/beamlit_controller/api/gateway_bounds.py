"""Types and defaults of the settings that restrict gateways in a cluster: images, size, Secrets and networks."""

import ipaddress
import re
from typing import Annotated, Final

from pydantic import AfterValidator

from beamlit_controller.api import problems

MOST_REPLICAS: Final = 10
MOST_RESOURCES: Final = (("cpu", "4"), ("memory", "4Gi"))
DENIED_NETWORKS: Final = (
    "169.254.0.0/16",  # link-local: the metadata services of most clouds
    "100.100.100.200/32",  # Alibaba
    "168.63.129.16/32",  # Azure
    "192.0.0.192/32",  # Oracle
    "fe80::/10",
    "fd00:ec2::/32",  # AWS
    "fd20:ce::/64",  # Google
    "fd00:c1::/32",  # Oracle
    "fd00:42::/32",  # Scaleway
    "64:ff9b::a9fe:0/112",  # link-local through NAT64, and the same of the three clouds
    "64:ff9b::6464:64c8/128",
    "64:ff9b::a83f:8110/128",
    "64:ff9b::c000:c0/128",
)


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        raise ValueError(f"expected a network such as 10.0.0.0/8 or fd00::/8, got {problems.came(text)}") from None


def _image_pattern(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._:/@*-]+", text, re.ASCII):
        raise ValueError(
            f"expected an image or a pattern such as registry.example.com/envoy:*, got {problems.came(text)}"
        )
    return text


def _name_pattern(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9.*-]+", text, re.ASCII):
        raise ValueError(f"expected a name or a pattern such as offload-*, got {problems.came(text)}")
    return text


ImagePattern = Annotated[str, AfterValidator(_image_pattern)]
SecretPattern = Annotated[str, AfterValidator(_name_pattern)]
Network = Annotated[str, AfterValidator(_network)]
