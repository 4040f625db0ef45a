"""`ModelDeployment` of deployment.beamlit.com/v1alpha1, as users write it.

Each class is an object of the manifest and each field one of its fields, in snake_case. `crd.py` renders the CRD from
types, defaults, descriptions and `rules`; `translate.py` translates a valid manifest to `core.spec.OffloadSpec`.
"""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from beamlit_controller.api import presets
from beamlit_controller.api.container_resources import Resources
from beamlit_controller.api.gateway_pods import ImagePullSecret
from beamlit_controller.api.metadata import ObjectMeta
from beamlit_controller.api.metric_service import MetricServiceRef
from beamlit_controller.api.model import StrictModel
from beamlit_controller.api.offloading import OffloadingConfig
from beamlit_controller.api.rules import Immutable, RequiresSibling
from beamlit_controller.api.scalars import ApiVersion, DnsLabel, DnsName, Kind, Port, Word

GROUP: Final = "deployment.beamlit.com"
API_VERSION: Final = f"{GROUP}/v1alpha1"
KIND: Final = "ModelDeployment"


class ModelSourceRef(StrictModel):
    """The workload that serves the model: anything with a scale subresource."""

    api_version: ApiVersion = Field(description="API version of the workload, such as apps/v1.")
    kind: Kind = Field(description="Kind of the workload, such as Deployment.")
    name: DnsName = Field(description="Name of the workload.")


class ServiceRef(StrictModel):
    """The Service that clients use. Its name is immutable, because a takeover has to be reverted on the same Service."""

    rules = (Immutable("name"),)

    name: DnsLabel = Field(description="The Service's name.")
    target_port: Port = Field(description="Port of the Service's pods, as a number or by name.")


class Routing(StrictModel):
    """How clients reach the gateway in a cluster."""

    mode: Literal["Takeover", "Service"] = Field(
        default="Takeover",
        description="Takeover: the Service of serviceRef is pointed at the gateway, and restored when the takeover ends. "
        "Service: that Service stays unchanged, and clients use a new Service, NAME-gateway.",
    )


class GatewayConfig(StrictModel):
    """Replicas, resources and image of the gateway."""

    replicas: Annotated[int, Field(ge=1, le=100)] = Field(default=2, description="Number of gateway pods.")
    resources: Resources = Field(default=Resources(), description="Requests and limits of the gateway's container.")
    image: Annotated[str, Field(max_length=1024)] = Field(
        default="", description="Image of the gateway; by default the controller's."
    )
    image_pull_secrets: list[ImagePullSecret] = Field(
        default=[],
        max_length=20,
        description="Secrets with credentials of image registries, in the namespace of the ModelDeployment; by default those of "
        "the controller's `config.gateway.imagePullSecrets`.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    drain_seconds: Annotated[int, Field(ge=0, le=86400)] = Field(
        default=300, description="Maximum seconds that a terminating gateway pod waits for requests in flight."
    )


def _model(text: str) -> str:
    if {".", ".."} & set(text.split("/")):
        raise ValueError("may not have . or .. between slashes: it stands in paths")
    return text


class Spec(StrictModel):
    """The model, its workload and Services, and when its requests are offloaded."""

    rules = (
        RequiresSibling(
            "offloadingConfig",
            "preset",
            "metricServiceRef",
            "its metrics are read from the servers",
            unless=presets.WITHOUT_METRICS,
        ),
    )

    model: Annotated[Word, AfterValidator(_model)] | None = Field(
        default=None, description="Name of the model; by default `metadata.name`."
    )
    environment: Annotated[str, Field(max_length=253)] = Field(
        default="", description="Environment that the model belongs to; informational only."
    )
    enabled: bool = Field(
        default=True,
        description="Whether requests may go to the remote at all; if false, everything is served locally.",
    )
    model_source_ref: ModelSourceRef | None = Field(
        default=None, description="The workload that serves the model: anything with a scale subresource."
    )
    service_ref: ServiceRef | None = Field(default=None, description="The Service that clients use.")
    metric_service_ref: MetricServiceRef | None = Field(
        default=None,
        description="Read Pods metrics directly from the servers behind this Service; by default from custom.metrics.k8s.io.",
    )
    routing: Routing = Field(default=Routing(), description="How clients reach the gateway in a cluster.")
    offloading_config: OffloadingConfig = Field(
        default=OffloadingConfig(), description="When to offload, how much, and where to."
    )
    gateway: GatewayConfig = Field(default=GatewayConfig(), description="Replicas, resources and image of the gateway.")


class ModelDeployment(StrictModel):
    """A model that is served locally first, and by a remote while a metric is above its target."""

    api_version: Literal["deployment.beamlit.com/v1alpha1"]
    kind: Literal["ModelDeployment"]
    metadata: ObjectMeta
    spec: Spec
