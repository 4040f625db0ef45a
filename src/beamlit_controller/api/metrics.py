"""`metrics` as users write them: MetricSpec of autoscaling/v2, with the same validation and field paths.

`targets.py` translates a valid entry to a `core.metric_spec` value.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from beamlit_controller.api.histograms import HistogramQuantile, NoAggregationWithHistogram
from beamlit_controller.api.model import StrictModel
from beamlit_controller.api.rules import Cel, MemberOfType, Mistake, Rule, TargetFields, dig
from beamlit_controller.api.scalars import ApiVersion, DnsLabel, Kind, PositiveQuantity, QueryText, Word


class LabelSelectorRequirement(StrictModel):
    """One requirement of a label selector."""

    key: Word = Field(description="The label key.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(
        description="How the label is compared with the values; NotIn also matches if the label is absent."
    )
    values: list[Annotated[str, Field(max_length=1024)]] = Field(
        default=[], max_length=100, description="The values for In and NotIn; empty for Exists and DoesNotExist."
    )

    @classmethod
    def mistakes(cls, given: Mapping[Any, object]) -> Iterator[Mistake]:
        """Check the values against the operator."""
        operator, values = given.get("operator"), given.get("values")
        if operator in ("In", "NotIn") and not values:
            yield Mistake(("values",), f"required with operator {operator}")
        if operator in ("Exists", "DoesNotExist") and values:
            yield Mistake(("values",), f"may not be set with operator {operator}")


class LabelSelector(StrictModel):
    """A label selector; all requirements must match."""

    match_labels: dict[str, str] = Field(default={}, max_length=100, description="Labels and their required values.")
    match_expressions: list[LabelSelectorRequirement] = Field(
        default=[], max_length=100, description="Further label requirements."
    )


class MetricTarget(StrictModel):
    """The value above which requests are offloaded."""

    type: Literal["Utilization", "Value", "AverageValue"] = Field(
        description="The kind of target. As in the HPA, the field that is set decides, except for Object metrics."
    )
    value: PositiveQuantity | None = Field(default=None, description="The target for the value of the metric itself.")
    average_value: PositiveQuantity | None = Field(
        default=None, description="The target per pod (for Object and External: the metric divided by the replicas)."
    )
    average_utilization: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = Field(
        default=None,
        description="The target in percent of the pods' resource requests. Only for Resource and ContainerResource.",
    )


def _metric_name(name: str) -> str:
    if name in {".", ".."}:
        raise ValueError(f"may not be '{name}'")
    for character in "/%":
        if character in name:
            raise ValueError(f"may not contain '{character}'; only External metrics may have a PromQL query here")
    return name


class MetricIdentifier(StrictModel):
    """The name of a metric, and a selector for its series."""

    name: Annotated[Word, AfterValidator(_metric_name)] = Field(description="The name of the metric.")
    selector: LabelSelector | None = Field(
        default=None, description="Label selector for the series of the metric; by default all series."
    )


class PodsMetricIdentifier(MetricIdentifier):
    """The name of a metric that describes each pod, and a selector for its series."""

    rules: ClassVar[tuple[Rule, ...]] = (NoAggregationWithHistogram(),)
    aggregation: Literal["Sum", "Mean", "Max", "Min"] | None = Field(
        default=None,
        description="How several series of one server, such as one per rank, are combined. Sum by "
        "default, and Mean for the metrics of presets that are fractions. Only with `metricServiceRef`.",
    )
    histogram: HistogramQuantile | None = Field(
        default=None,
        description="If set, `name` is a histogram, and the metric is a quantile of its recent observations, such as the "
        "95th percentile of the time to first token. Only with `metricServiceRef`.",
    )


class ExternalMetricIdentifier(StrictModel):
    """The name of a metric and a selector for its series, or a PromQL query."""

    name: QueryText = Field(
        description="The name of the metric. With `metricInformer.type: prometheus` also a PromQL query."
    )
    selector: LabelSelector | None = Field(
        default=None,
        description="Label selector for the series of the metric; by default all series. Not allowed with a PromQL query.",
    )
    target: MetricTarget | None = Field(
        default=None, description="The target; may be given here instead of next to `metric`."
    )


class CrossVersionObjectReference(StrictModel):
    """An object in the model's namespace."""

    api_version: ApiVersion | None = Field(
        default=None, description="API version of the object; by default v1 (the core group)."
    )
    kind: Kind = Field(description="The object's kind.")
    name: Annotated[Word, AfterValidator(_metric_name)] = Field(description="The object's name.")


_PER_POD = TargetFields(("averageValue", "averageUtilization"), none_at="averageUtilization", both_at="averageValue")
_PER_POD_VALUE = TargetFields(("averageValue",), none_at="averageValue")
_ANY_VALUE = TargetFields(("value", "averageValue"), none_at="averageValue")
_ONE_VALUE = TargetFields(("value", "averageValue"), none_at="averageValue", both_at="value", optional=True)
_ONE_VALUE_BELOW_METRIC = TargetFields(
    ("value", "averageValue"), none_at="averageValue", both_at="value", optional=True, path=("metric", "target")
)


_ONE_VALUE_OF_GATEWAY = TargetFields(("value", "averageValue"), none_at="value", both_at="value")


class ResourceMetricSource(StrictModel):
    """A resource such as cpu, summed over all containers of each pod."""

    rules: ClassVar[tuple[Rule, ...]] = (_PER_POD,)
    name: Word = Field(description="The resource, such as cpu or memory.")
    target: MetricTarget = Field(description="averageUtilization or averageValue.")


def _container_resource(name: str) -> str:
    standard = name in {"cpu", "memory", "ephemeral-storage"} or name.startswith("hugepages-")
    if not standard and not _QUALIFIED.fullmatch(name):
        raise ValueError(
            "must be a standard resource of containers (cpu, memory, ephemeral-storage, hugepages-…) "
            f"or fully qualified such as nvidia.com/gpu, got {name}"
        )
    return name


_QUALIFIED = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII)


class ContainerResourceMetricSource(StrictModel):
    """A resource of one container in each pod."""

    rules: ClassVar[tuple[Rule, ...]] = (_PER_POD,)
    name: Annotated[Word, AfterValidator(_container_resource)] = Field(
        description="The resource: cpu, memory, or a qualified one such as nvidia.com/gpu."
    )
    container: DnsLabel = Field(description="The container's name.")
    target: MetricTarget = Field(description="averageUtilization or averageValue.")


class PodsMetricSource(StrictModel):
    """A metric that describes each pod, averaged over the pods."""

    rules: ClassVar[tuple[Rule, ...]] = (_PER_POD_VALUE,)
    metric: PodsMetricIdentifier = Field(
        description="The metric. With `metricServiceRef` it is read directly from the pods."
    )
    target: MetricTarget = Field(description="averageValue.")


class ObjectMetricSource(StrictModel):
    """A metric that describes one object in the model's namespace."""

    rules: ClassVar[tuple[Rule, ...]] = (_ANY_VALUE,)
    described_object: CrossVersionObjectReference = Field(description="The object that the metric describes.")
    metric: MetricIdentifier = Field(description="The metric.")
    target: MetricTarget = Field(description="type Value with value, or type AverageValue with averageValue.")

    @classmethod
    def mistakes(cls, given: Mapping[Any, object]) -> Iterator[Mistake]:
        """Check that `type` matches the field. The HPA accepts other types, but never computes such a metric."""
        yield from super().mistakes(given)
        target = dig(given, ("target",))
        if not isinstance(target, Mapping) or not ({"value", "averageValue"} & target.keys()):
            return
        given_type = target.get("type")
        if given_type == "Utilization":
            yield Mistake(("target", "type"), "expected Value or AverageValue for an Object metric, got Utilization")
        for kind, field in (("Value", "value"), ("AverageValue", "averageValue")):
            if given_type == kind and field not in target:
                yield Mistake(("target", field), f"required for an Object metric with target type {kind}")


class _TargetBesideOrBelow:
    """The target is given in one of two fields."""

    def mistakes(self, given: Mapping[str, object]) -> Iterator[Mistake]:
        """Report the second one if both are used."""
        beside, below = dig(given, ("target",)) is not None, dig(given, ("metric", "target")) is not None
        if beside and below:
            yield Mistake(
                ("metric", "target"), "may not be set together with external.target: write the target in one place"
            )
        if not beside and not below:
            yield Mistake(("target",), "required, here or below metric")

    def cel(self) -> Iterator[Cel]:
        """Check that not both are present."""
        yield Cel(
            "has(self.target) != has(self.metric.target)",
            "target is required, in exactly one place: next to metric or below it",
        )


class ExternalMetricSource(StrictModel):
    """A metric that is not associated with an object in the cluster, or a PromQL query."""

    rules: ClassVar[tuple[Rule, ...]] = (_TargetBesideOrBelow(), _ONE_VALUE, _ONE_VALUE_BELOW_METRIC)
    metric: ExternalMetricIdentifier = Field(description="The metric or query.")
    target: MetricTarget | None = Field(
        default=None, description="value or averageValue. Also accepted below `metric`."
    )

    @property
    def chosen_target(self) -> MetricTarget:
        """Return the target from the field in which it is given."""
        target = self.target or self.metric.target
        assert target is not None, "the rules ask for one"  # noqa: S101 - states the rule for the type checker
        return target


class GatewayMetricIdentifier(StrictModel):
    """The name of a metric that the gateways measure."""

    name: Literal["local_requests_in_flight", "local_requests_per_second", "local_time_to_first_byte_seconds"] = Field(
        description="What the gateways measure about local requests: the number in flight, the number completed per second, or the mean time to the first byte of the response body."
    )


class _NoAverageOfTimes:
    """A time can't be divided by the number of replicas."""

    def mistakes(self, given: Mapping[str, object]) -> Iterator[Mistake]:
        """Report the target field."""
        if dig(given, ("metric", "name")) == _TIME and dig(given, ("target", "averageValue")) is not None:
            yield Mistake(("target", "averageValue"), f"{_TIME} is a mean already: use type Value with value")

    def cel(self) -> Iterator[Cel]:
        """Check metric and target."""
        yield Cel(
            f"self.metric.name != '{_TIME}' || !has(self.target.averageValue)", f"{_TIME} accepts only target.value"
        )


_TIME = "local_time_to_first_byte_seconds"


class GatewayMetricSource(StrictModel):
    """A metric that the gateways measure themselves; the servers need not expose any."""

    rules: ClassVar[tuple[Rule, ...]] = (_ONE_VALUE_OF_GATEWAY, _NoAverageOfTimes())
    metric: GatewayMetricIdentifier = Field(description="The metric.")
    target: MetricTarget = Field(description="value, or averageValue per ready local replica.")


class MetricSpec(StrictModel):
    """One metric and its target."""

    rules: ClassVar[tuple[Rule, ...]] = (
        MemberOfType(
            (
                ("Resource", "resource"),
                ("ContainerResource", "containerResource"),
                ("Pods", "pods"),
                ("Object", "object"),
                ("External", "external"),
                ("Gateway", "gateway"),
            )
        ),
    )
    type: Literal["Resource", "ContainerResource", "Pods", "Object", "External", "Gateway"] = Field(
        description="The kind of metric; the field of the same name specifies it."
    )
    resource: ResourceMetricSource | None = Field(default=None, description="With type Resource.")
    container_resource: ContainerResourceMetricSource | None = Field(
        default=None, description="With type ContainerResource."
    )
    pods: PodsMetricSource | None = Field(default=None, description="With type Pods.")
    object: ObjectMetricSource | None = Field(default=None, description="With type Object.")
    external: ExternalMetricSource | None = Field(default=None, description="With type External.")
    gateway: GatewayMetricSource | None = Field(
        default=None, description="With type Gateway: measured by the gateways, so the servers need no metrics."
    )
