"""Placement, priority and pull Secrets of gateway pods, as operators write them: the fields are those of a pod."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from beamlit_controller.api import problems
from beamlit_controller.api.affinity import Affinity
from beamlit_controller.api.label_names import LabelKey, LabelValue
from beamlit_controller.api.model import StrictModel
from beamlit_controller.api.rules import Mistake
from beamlit_controller.api.scalars import DnsName, unique
from beamlit_controller.core.gateway_pods import GatewayPods


class ImagePullSecret(StrictModel):
    """A Secret with the credentials of an image registry."""

    name: DnsName = Field(description="The Secret's name.")


class Toleration(StrictModel):
    """A taint that gateways tolerate, as in a pod."""

    key: LabelKey | None = Field(default=None, description="Key of the taint; without it, any taint.")
    operator: Literal["Equal", "Exists", "Gt", "Lt"] = Field(
        default="Equal", description="How `value` is compared with the value of the taint; Exists tolerates any value."
    )
    value: LabelValue | None = Field(default=None, description="Value of the taint.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Effect of the taint; without it, any effect."
    )
    toleration_seconds: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = Field(
        default=None, description="Seconds after which a pod leaves a node with this taint; by default never."
    )

    @classmethod
    def mistakes(cls, given: Mapping[Any, object]) -> Iterator[Mistake]:
        """Report what the API server rejects, and with it the Deployment of every gateway."""
        yield from super().mistakes(given)
        operator = given.get("operator", "Equal")
        if "key" not in given and operator != "Exists":
            yield Mistake(("operator",), f"expected Exists for a toleration without key, got {problems.came(operator)}")
        if "value" in given and operator == "Exists":
            yield Mistake(("value",), "may not be set with operator Exists, which tolerates any value")
        if "tolerationSeconds" in given and given.get("effect") != "NoExecute":
            yield Mistake(("effect",), f"expected NoExecute with tolerationSeconds, got {_effect(given)}")


def _effect(given: Mapping[Any, object]) -> str:
    return problems.came(given["effect"]) if "effect" in given else "none"


def _named_once(secrets: list[ImagePullSecret]) -> list[ImagePullSecret]:
    unique([each.name for each in secrets])
    return secrets


class GatewayPodsConfig(StrictModel):
    """The pods of all gateways. The fields are those of a pod. Only used in a cluster."""

    node_selector: dict[LabelKey, LabelValue] = Field(
        default={}, max_length=100, description="Labels that a node must have to run gateways."
    )
    tolerations: list[Toleration] = Field(default=[], max_length=100, description="Taints that gateways tolerate.")
    affinity: Affinity = Field(
        default=Affinity(),
        description="Affinity of the gateways' pods. It does not replace their topology spread constraint, by which the pods of "
        "a gateway run on different nodes where possible.",
    )
    priority_class_name: DnsName | None = Field(default=None, description="PriorityClass of the gateways' pods.")
    image_pull_secrets: Annotated[list[ImagePullSecret], AfterValidator(_named_once)] = Field(
        default=[],
        max_length=20,
        description="Secrets with credentials of image registries, for gateways whose ModelDeployment names none in "
        "`gateway.imagePullSecrets`. They have to exist in the namespace of each model.",
    )

    def pods(self, *, fixed_user: bool) -> GatewayPods:
        """Return the valid, complete value."""
        return GatewayPods(
            node_selector=self.node_selector,
            tolerations=tuple(each.model_dump(by_alias=True, exclude_unset=True) for each in self.tolerations),
            affinity=self.affinity.model_dump(by_alias=True, exclude_unset=True),
            priority_class_name=self.priority_class_name or "",
            image_pull_secrets=tuple(each.name for each in self.image_pull_secrets),
            fixed_user=fixed_user,
        )
