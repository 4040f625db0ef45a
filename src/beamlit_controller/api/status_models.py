"""`status` of a ModelDeployment: the schema in the CRD, and the bounds that `status.bounded` holds a status to."""

from typing import Final, Literal

from pydantic import Field

from beamlit_controller.api.metrics import CrossVersionObjectReference, GatewayMetricIdentifier, MetricIdentifier
from beamlit_controller.api.model import StrictModel
from beamlit_controller.api.scalars import SignedQuantity

LONGEST_MESSAGE: Final = 32_768
LONGEST_RECORD: Final = 65_536
IN_FLIGHT: Final = r"^[0-9]{1,9}([.][0-9]{1,3})?$"


class Offloading(StrictModel):
    """The decision in force."""

    in_force: str = Field(
        default="",
        max_length=32,
        description="Summary: a percentage such as `50%`, or in Adaptive mode the limit of local requests in flight per ready replica, such as `cap 12.5`.",
    )
    percentage: int = Field(
        ge=0,
        le=100,
        description="Percentage of requests that go to the remote; with inFlightPerReplica, its upper limit.",
    )
    at_most: int | None = Field(
        default=None,
        ge=0,
        le=100,
        description="Upper limit of the percentage while the remote answers 429.",
    )
    reason: str = Field(max_length=1024, description="Machine-readable reason, as listed in docs/reasons.md.")
    message: str = Field(
        max_length=LONGEST_MESSAGE, description="Human-readable explanation with the numbers involved."
    )
    in_flight_per_replica: str | None = Field(
        default=None,
        pattern=IN_FLIGHT,
        max_length=32,
        description="In Adaptive mode: maximum local requests in flight per ready replica; excess requests go to the remote.",
    )
    since: str = Field(description="When the percentage last changed.", json_schema_extra={"format": "date-time"})


class RecentRequests(StrictModel):
    """The latest requests, as counted by the gateways: since the way in which they are answered changed, at most of a minute."""

    remote_percentage: int = Field(
        ge=0, le=100, description="Percentage of the requests that the remote answered, for any reason."
    )
    in_flight: int = Field(ge=0, description="Local requests in flight.")
    message: str = Field(
        max_length=1024,
        description="Requests per second to local and to the remote, and why requests went to the remote.",
    )


class RemoteSpending(StrictModel):
    """Requests, tokens and cost of one remote since it was first seen."""

    name: str = Field(max_length=63, description="Name of the remote; empty for the only one of remoteBackend.")
    requests: int = Field(ge=0, description="Answered requests.")
    input_tokens: int = Field(ge=0, description="Input tokens, as reported by the remote.")
    output_tokens: int = Field(ge=0, description="Output tokens, as reported by the remote.")
    cost: str | None = Field(default=None, max_length=64, description="Cost by the remote's price.")
    currency: str | None = Field(default=None, max_length=3, description="Currency of the cost.")
    budget_percentage: int | None = Field(
        default=None, ge=0, description="Used part of the budget in the current period, in percent."
    )
    budget_spent: bool | None = Field(
        default=None, description="Whether the budget is spent; the remote then gets no requests until the period ends."
    )
    message: str = Field(max_length=1024, description="Human-readable summary.")


class MetricValueStatus(StrictModel):
    """A current value."""

    value: SignedQuantity | None = Field(default=None, description="The value of the metric itself.")
    average_value: SignedQuantity | None = Field(default=None, description="The average over the pods.")
    average_utilization: int | None = Field(
        default=None, description="The average over the pods, in percent of their resource requests."
    )


class ResourceMetricStatus(StrictModel):
    """A resource over all containers."""

    name: str = Field(description="Name of the resource, such as cpu.")
    current: MetricValueStatus = Field(description="Its current value.")


class ContainerResourceMetricStatus(StrictModel):
    """A resource of one container."""

    name: str = Field(description="Name of the resource, such as cpu.")
    container: str = Field(description="Name of the container.")
    current: MetricValueStatus = Field(description="Its current value.")


class PodsMetricStatus(StrictModel):
    """A metric that describes each pod."""

    metric: MetricIdentifier = Field(description="The metric.")
    current: MetricValueStatus = Field(description="Its current value.")


class ObjectMetricStatus(StrictModel):
    """A metric of one other object."""

    described_object: CrossVersionObjectReference = Field(description="The object.")
    metric: MetricIdentifier = Field(description="The metric.")
    current: MetricValueStatus = Field(description="Its current value.")


class ExternalIdentifier(MetricIdentifier):
    """A metric's name or a PromQL query, and which of its series."""

    name: str = Field(description="The metric or query.")


class ExternalMetricStatus(StrictModel):
    """A metric of no object in the cluster, or a query."""

    metric: ExternalIdentifier = Field(description="The metric.")
    current: MetricValueStatus = Field(description="Its current value.")


class GatewayMetricStatus(StrictModel):
    """Current value of a metric measured by the gateways."""

    metric: GatewayMetricIdentifier = Field(description="The metric.")
    current: MetricValueStatus = Field(description="Its current value.")


class MetricStatus(StrictModel):
    """The current value of one metric, as in autoscaling/v2."""

    type: Literal["Resource", "ContainerResource", "Pods", "Object", "External", "Gateway"] = Field(
        description="The kind of metric; the field of the same name has its value."
    )
    resource: ResourceMetricStatus | None = Field(default=None, description="With type Resource.")
    container_resource: ContainerResourceMetricStatus | None = Field(
        default=None, description="With type ContainerResource."
    )
    pods: PodsMetricStatus | None = Field(default=None, description="With type Pods.")
    object: ObjectMetricStatus | None = Field(default=None, description="With type Object.")
    external: ExternalMetricStatus | None = Field(default=None, description="With type External.")
    gateway: GatewayMetricStatus | None = Field(default=None, description="With type Gateway.")


class StatusCondition(StrictModel):
    """One aspect of the observed state, as in metav1.Condition."""

    type: str = Field(max_length=316, description="Type of the condition.")
    status: Literal["True", "False", "Unknown"] = Field(description="Status of the condition: True, False or Unknown.")
    reason: str = Field(max_length=1024, description="Machine-readable reason, as listed in docs/reasons.md.")
    message: str = Field(
        max_length=LONGEST_MESSAGE, description="Human-readable explanation with the numbers involved."
    )
    observed_generation: int = Field(default=0, ge=0, description="metadata.generation that the condition was set for.")
    last_transition_time: str | None = Field(
        default=None, description="When the status last changed.", json_schema_extra={"format": "date-time"}
    )


class Status(StrictModel):
    """The observed state and the decision in force."""

    observed_generation: int = Field(
        default=0, ge=0, description="metadata.generation that the status was written for."
    )
    model: str | None = Field(default=None, max_length=1024, description="Name of the model.")
    offloading: Offloading | None = Field(default=None, description="The decision in force.")
    requests: RecentRequests | None = Field(
        default=None,
        description="The latest requests: since the way in which they are answered changed, at most of a minute. Written every 30 s at most.",
    )
    remotes: list[RemoteSpending] = Field(
        default=[], max_length=8, description="Requests, tokens and cost of each remote."
    )
    current_metrics: list[MetricStatus] = Field(
        default=[], description="The current values of the metrics that can be read."
    )
    record: str | None = Field(
        default=None,
        max_length=LONGEST_RECORD,
        description="State that a new leader continues from; internal to the controller.",
    )
    conditions: list[StatusCondition] = Field(
        default=[],
        description="Conditions: Ready, Offloading, MetricsAvailable, TriggerReachable, LocalReady, RemoteReady, "
        "GatewayReady, ServiceTaken, OverrideValid, AutoscalerInterference, OffloadingSufficient, BudgetSpent.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
