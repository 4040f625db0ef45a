"""The options of the cluster mode, from flags and settings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from beamlit_controller.api.settings import Settings
from beamlit_controller.kubernetes.gateway_objects import Image

LEASE: Final = "beamlit-controller"
"""The default name of the Lease."""
CERTIFICATE: Final = "tls.crt"
KEY: Final = "tls.key"
AUTHORITY: Final = "ca.crt"
TOKEN_KEY: Final = "token.key"  # noqa: S105 - a file's name
"""The files of the RTDS server's Secret."""


@dataclass(frozen=True, slots=True)
class RtdsAddress:
    """The RTDS server: listen address, address for gateways, and folder with its certificate, CA and token key."""

    listen: str
    reached_at: str
    secrets: Path


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """The options of the cluster mode. `identity` is the pod's name, `domain` the cluster's DNS domain.

    `lease` is the name of the Lease in `namespace`.
    """

    settings: Settings
    identity: str
    namespace: str
    image: Image
    shares: RtdsAddress
    web_listen: str = ":8081"
    kubeconfig: Path | None = None
    domain: str = "cluster.local"
    lease: str = LEASE
