"""Metrics and their targets, as in autoscaling/v2, as complete and valid values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from fractions import Fraction


class Operator(StrEnum):
    """The operators of a label selector requirement."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement of a label selector's `matchExpressions`."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The requirement in the query syntax of Kubernetes: `tier in (a,b)`, `!spot`. Values are sorted."""
        values = ",".join(sorted(self.values))
        match self.operator:
            case Operator.IN:
                return f"{self.key} in ({values})"
            case Operator.NOT_IN:
                return f"{self.key} notin ({values})"
            case Operator.EXISTS:
                return self.key
            case Operator.DOES_NOT_EXIST:
                return f"!{self.key}"

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether the labels meet this requirement; `NotIn` is met by an absent label, as in Kubernetes."""
        match self.operator:
            case Operator.IN:
                return labels.get(self.key) in self.values
            case Operator.NOT_IN:
                return labels.get(self.key) not in self.values
            case Operator.EXISTS:
                return self.key in labels
            case Operator.DOES_NOT_EXIST:
                return self.key not in labels


@dataclass(frozen=True, slots=True)
class Selector:
    """A LabelSelector; empty, it selects everything."""

    match_labels: tuple[tuple[str, str], ...] = ()
    match_expressions: tuple[Requirement, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.match_labels or self.match_expressions)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether all labels and all expressions match."""
        return all(labels.get(key) == value for key, value in self.match_labels) and all(
            requirement.matches(labels) for requirement in self.match_expressions
        )


@dataclass(frozen=True, slots=True)
class Utilization:
    """Average usage of the pods as a percentage of what they request."""

    percent: int


@dataclass(frozen=True, slots=True)
class AverageValue:
    """A value per pod (or replica), in thousandths."""

    milli: int


@dataclass(frozen=True, slots=True)
class Value:
    """A value as it is, in thousandths."""

    milli: int


Target = Utilization | AverageValue | Value


@dataclass(frozen=True, slots=True)
class SeriesSelector:
    """A metric's name (in Prometheus mode also a PromQL query) and the selector of its series."""

    name: str
    selector: Selector = Selector()


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """An object in the model's namespace, by kind and name."""

    api_version: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class ResourceMetric:
    """A resource such as cpu over all containers of each pod."""

    name: str
    target: Utilization | AverageValue


@dataclass(frozen=True, slots=True)
class ContainerResourceMetric:
    """A resource of one container in each pod."""

    name: str
    container: str
    target: Utilization | AverageValue


class Aggregation(StrEnum):
    """How the series of one server (ranks, engines, models) are aggregated."""

    SUM = "Sum"
    MEAN = "Mean"
    MAX = "Max"
    MIN = "Min"


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile, in thousandths, of what a histogram observed within a window."""

    milli: int
    window: timedelta


@dataclass(frozen=True, slots=True)
class FirstByte:
    """A time to the first token or byte: the seconds of one unit, and which quantile it is, between 0 and 1; None for a mean."""

    unit: Fraction
    quantile: Fraction | None = None


@dataclass(frozen=True, slots=True)
class SlotsPage:
    """Where a server reports how many requests it processes concurrently: a member of the JSON object at a path beside its metrics."""

    path: str
    member: str


@dataclass(frozen=True, slots=True)
class PodsMetric:
    """A custom metric that every pod has.

    If it is read from the servers, `alternatives` are its names in other versions of a server, and the first one on the
    page is used. An `optional` metric that no page has is ignored. With a `quantile` the name is that of a histogram,
    whose series are summed by bucket. A `waiting` metric counts the requests waiting in a server, and `slots` is where
    that server reports its number of slots. `first_byte` is set if it is known to be a time to the first token or byte.
    """

    metric: SeriesSelector
    target: AverageValue
    aggregation: Aggregation = Aggregation.SUM
    alternatives: tuple[SeriesSelector, ...] = ()
    optional: bool = False
    quantile: Quantile | None = None
    waiting: bool = False
    slots: SlotsPage | None = None
    first_byte: FirstByte | None = None


@dataclass(frozen=True, slots=True)
class ObjectMetric:
    """A custom metric of one other object. `first_byte` is as in a `PodsMetric`."""

    metric: SeriesSelector
    described_object: ObjectReference
    target: Value | AverageValue
    first_byte: FirstByte | None = None


@dataclass(frozen=True, slots=True)
class ExternalMetric:
    """A metric without a Kubernetes object: read from Prometheus or the external metrics API.

    `first_byte` is as in a `PodsMetric`.
    """

    metric: SeriesSelector
    target: Value | AverageValue
    first_byte: FirstByte | None = None


class GatewayFigure(StrEnum):
    """What a gateway measures of local requests. All of these fall while requests are offloaded."""

    IN_FLIGHT = "local_requests_in_flight"
    RATE = "local_requests_per_second"
    FIRST_BYTE = "local_time_to_first_byte_seconds"


@dataclass(frozen=True, slots=True)
class GatewayMetric:
    """A metric measured by the model's own gateways. An `AverageValue` is per ready local replica."""

    name: GatewayFigure
    target: Value | AverageValue


MetricSpec = ResourceMetric | ContainerResourceMetric | PodsMetric | ObjectMetric | ExternalMetric | GatewayMetric
