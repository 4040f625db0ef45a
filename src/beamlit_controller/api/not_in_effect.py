"""The fields that have no effect outside a cluster, and what happens instead; `run` and `check` report them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from beamlit_controller.api.problems import Notice
from beamlit_controller.core.gateway_spec import GatewaySpec
from beamlit_controller.core.spec import (
    OffloadSpec,
    RoutingMode,
)


@dataclass(frozen=True, slots=True)
class Pending:
    """A field that has an effect only in a cluster; `set_by_user` tells whether it differs from its default."""

    field: str
    instead: str
    set_by_user: Callable[[OffloadSpec], bool]


def not_in_effect(spec: OffloadSpec) -> tuple[Notice, ...]:
    """Return the fields that were set and have no effect outside a cluster."""
    return tuple(
        Notice(pending.field, f"has no effect without a cluster: {pending.instead}")
        for pending in PENDING
        if pending.set_by_user(spec)
    )


_GATEWAY = GatewaySpec()

PENDING: Final = (
    Pending(
        "spec.environment",
        "it is informational only",
        lambda spec: bool(spec.environment),
    ),
    Pending(
        "spec.modelSourceRef",
        "the workload is not read; the servers are those of serviceRef",
        lambda spec: spec.source is not None,
    ),
    Pending(
        "spec.routing.mode",
        "there are no Services; clients use the address that the gateway listens on",
        lambda spec: spec.routing is RoutingMode.SERVICE,
    ),
    Pending(
        "spec.gateway.replicas",
        "there is one gateway process",
        lambda spec: spec.gateway.replicas != _GATEWAY.replicas,
    ),
    Pending(
        "spec.gateway.resources",
        "only the gateway's heap is limited, to 80 % of the memory limit",
        lambda spec: spec.gateway.resources != _GATEWAY.resources,
    ),
    Pending(
        "spec.gateway.image",
        "the gateway is the Envoy that is installed with the controller",
        lambda spec: spec.gateway.image != _GATEWAY.image,
    ),
    Pending(
        "spec.gateway.imagePullSecrets",
        "no image is pulled",
        lambda spec: spec.gateway.image_pull_secrets != _GATEWAY.image_pull_secrets,
    ),
)
