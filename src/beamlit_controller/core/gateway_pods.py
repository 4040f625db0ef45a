"""What the operator sets for the pods of all gateways in a cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class GatewayPods:
    """Placement, priority, pull Secrets and user of the pods of all gateways.

    `tolerations` and `affinity` are written as in a pod. Without `fixed_user` the cluster assigns the user and the groups.
    """

    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, object], ...] = ()
    affinity: Mapping[str, object] = field(default_factory=dict)
    priority_class_name: str = ""
    image_pull_secrets: tuple[str, ...] = ()
    fixed_user: bool = True
