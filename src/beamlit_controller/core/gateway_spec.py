"""The gateway's deployment settings: replicas, resources, image, and how long it drains."""

from dataclasses import dataclass
from datetime import timedelta

DEFAULT_MEMORY_LIMIT = "512Mi"
"""The memory limit of a gateway's container in a cluster where the spec gives none."""


@dataclass(frozen=True, slots=True)
class GatewaySpec:
    """The gateway's deployment settings: `resources` as (requests or limits, resource, quantity)."""

    replicas: int = 2
    resources: tuple[tuple[str, str, str], ...] = ()
    image: str = ""
    image_pull_secrets: tuple[str, ...] = ()
    drain: timedelta = timedelta(seconds=300)


DEFAULT_GATEWAY = GatewaySpec()
