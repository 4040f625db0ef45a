"""The gateway's deployment settings: replicas, resources, image, and how long it drains."""

from dataclasses import dataclass
from datetime import timedelta

from beamlit_controller.core import quantity

DEFAULT_MEMORY_LIMIT = "512Mi"
"""The memory limit of a gateway's container in a cluster, unless the spec has one or requests more."""
LEAST_MEMORY_LIMIT = "64Mi"
"""With less, Envoy's heap would be too small to serve."""


@dataclass(frozen=True, slots=True)
class GatewaySpec:
    """The gateway's deployment settings: `resources` as (requests or limits, resource, quantity)."""

    replicas: int = 2
    resources: tuple[tuple[str, str, str], ...] = ()
    image: str = ""
    image_pull_secrets: tuple[str, ...] = ()
    drain: timedelta = timedelta(seconds=300)

    def amount(self, which: str, resource: str) -> str | None:
        """Return the quantity that the spec requests or limits of a resource, None if it says nothing of it."""
        return next((amount for *place, amount in self.resources if place == [which, resource]), None)

    @property
    def container_memory_limit(self) -> str:
        """The memory limit of the gateway's container in a cluster: the spec's own, or the default."""
        own, requested = self.amount("limits", "memory"), self.amount("requests", "memory")
        return own or max(DEFAULT_MEMORY_LIMIT, requested or "0", key=quantity.parse)


DEFAULT_GATEWAY = GatewaySpec()
