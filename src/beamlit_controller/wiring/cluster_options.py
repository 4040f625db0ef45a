"""What the controller is given in a cluster."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from beamlit_controller.api.settings import Settings
from beamlit_controller.kubernetes.gateway_objects import Image

LEASE: Final = "beamlit-controller"
CERTIFICATE: Final = "tls.crt"
KEY: Final = "tls.key"
AUTHORITY: Final = "ca.crt"
TOKEN_KEY: Final = "token.key"  # noqa: S105 - a file's name
"""The files of the RTDS server's Secret."""


@dataclass(frozen=True, slots=True)
class RtdsAddress:
    """Where the RTDS server listens, where gateways find it, and the folder with its certificate, CA and token key."""

    listen: str
    reached_at: str
    secrets: Path


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """What the controller is given in a cluster. `identity` is the pod's name, `domain` that of the cluster's DNS."""

    settings: Settings
    identity: str
    namespace: str
    image: Image
    shares: RtdsAddress
    web_listen: str = ":8081"
    kubeconfig: Path | None = None
    domain: str = "cluster.local"
