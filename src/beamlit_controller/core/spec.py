"""What a user asked for, complete and valid: the inside of a `ModelDeployment`.

Every value here has been parsed and checked by `api`; nothing means "default" any more. Secrets are references.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum


@dataclass(frozen=True, slots=True, order=True)
class ModelKey:
    """The namespace and name of one `ModelDeployment`."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


# Metrics, as autoscaling/v2 has them.


class Operator(StrEnum):
    """The operators of a label selector requirement."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One entry of `matchExpressions`."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether the labels meet this requirement; `NotIn` is met by an absent label, as in Kubernetes."""
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
        """Tell whether all labels and all expressions match."""
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
    """What the series that one server has of a metric are together: its ranks, engines, models."""

    SUM = "Sum"
    MEAN = "Mean"
    MAX = "Max"
    MIN = "Min"


@dataclass(frozen=True, slots=True)
class PodsMetric:
    """A custom metric that every pod has.

    Read from the servers, `alternatives` are its names in other versions of a server: the first that is on the page counts.
    An `optional` one that is on no page leaves the decision to the other metrics.
    """

    metric: SeriesSelector
    target: AverageValue
    aggregation: Aggregation = Aggregation.SUM
    alternatives: tuple[SeriesSelector, ...] = ()
    optional: bool = False


@dataclass(frozen=True, slots=True)
class ObjectMetric:
    """A custom metric of one other object."""

    metric: SeriesSelector
    described_object: ObjectReference
    target: Value | AverageValue


@dataclass(frozen=True, slots=True)
class ExternalMetric:
    """A metric of no Kubernetes object: asked of Prometheus, or of the external metrics API."""

    metric: SeriesSelector
    target: Value | AverageValue


MetricSpec = ResourceMetric | ContainerResourceMetric | PodsMetric | ObjectMetric | ExternalMetric


# When to offload, and how much.


class Mode(StrEnum):
    """What follows the metric: the share of the requests, or how many local may have in flight."""

    FIXED = "Fixed"
    PROPORTIONAL = "Proportional"
    ADAPTIVE = "Adaptive"


class OnMetricsLoss(StrEnum):
    """What to do when no metric can be read for `metrics_loss`."""

    HOLD = "Hold"
    RELEASE = "Release"
    OFFLOAD = "Offload"


@dataclass(frozen=True, slots=True)
class Ramp:
    """How fast the share may go one way: a window to wait, a tolerance to ignore, steps to take."""

    stabilization_window: timedelta
    tolerance: Decimal
    step_percentage: int
    period: timedelta


@dataclass(frozen=True, slots=True)
class Behavior:
    """The percentage to offload, and the rules for going there and back."""

    percentage: int = 100
    mode: Mode = Mode.FIXED
    engage: Ramp = Ramp(timedelta(0), Decimal(0), 100, timedelta(seconds=15))
    release: Ramp = Ramp(timedelta(seconds=60), Decimal("0.1"), 100, timedelta(seconds=15))
    on_metrics_loss: OnMetricsLoss = OnMetricsLoss.HOLD
    metrics_loss: timedelta = timedelta(seconds=60)
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Override:
    """A percentage set by a person, until a time or until it is taken away; who it was, and why."""

    percentage: int
    until: datetime | None = None
    author: str = ""
    reason: str = ""


# Where requests go.


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A key of a Secret in the model's namespace. Never its value."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class OAuth:
    """OAuth2 client credentials."""

    client_id: str
    client_secret: SecretKey
    token_url: str
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key sent in a header, behind a prefix."""

    secret: SecretKey
    header: str = "authorization"
    prefix: str = "Bearer "


class Scheme(StrEnum):
    """How the remote is spoken to."""

    HTTP = "http"
    HTTPS = "https"


@dataclass(frozen=True, slots=True)
class RemoteTls:
    """How the remote's certificate is verified: against this CA (the system's without one), for this name (else the host)."""

    ca: SecretKey | None = None
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """An active probe of the remote."""

    path: str
    period: timedelta


REMOTE_FAILURES = (401, 402, 403, 408, 429, *range(500, 600))
"""The answers of a remote after which local is asked by default."""


@dataclass(frozen=True, slots=True)
class RemoteBackend:
    """Where the share of requests goes. `path_prefix` has its `$workspace` and `$model` filled in; it is "" or starts with "/"."""

    scheme: Scheme
    host: str
    port: int
    path_prefix: str = ""
    headers_to_add: tuple[tuple[str, str], ...] = ()
    model_name: str | None = None
    auth: OAuth | ApiKey | None = None
    tls: RemoteTls = RemoteTls()
    health_check: HealthCheck | None = None
    max_in_flight: int | None = None
    forward_client_authorization: bool = False
    headers_to_remove: tuple[str, ...] = ()
    query_to_remove: tuple[str, ...] = ()
    on_status: tuple[int, ...] = REMOTE_FAILURES


@dataclass(frozen=True, slots=True)
class LocalService:
    """The Service that clients use, and the port of its pods."""

    name: str
    target_port: int | str


@dataclass(frozen=True, slots=True)
class BasicCredential:
    """A user, and the key of the Secret that has the password."""

    username: str
    password: SecretKey


@dataclass(frozen=True, slots=True)
class MetricService:
    """Where the servers' own metrics are read, and how; `credential` is a bearer token, or a user with a password."""

    name: str
    target_port: int | str
    path: str = "/metrics"
    query: tuple[tuple[str, str], ...] = ()
    scheme: Scheme = Scheme.HTTP
    tls: RemoteTls = RemoteTls()
    credential: SecretKey | BasicCredential | None = None


class RoutingMode(StrEnum):
    """How clients reach the gateway in a cluster."""

    TAKEOVER = "Takeover"
    SERVICE = "Service"


@dataclass(frozen=True, slots=True)
class Overflow:
    """When a single request that local could not take goes to the remote; `after` is how long local may be silent."""

    on_status: tuple[int, ...] = ()
    on_unavailable: bool = True
    on_reset: bool = True
    max_in_flight_per_replica: int | None = None
    after: timedelta | None = None
    max_request_bytes: int = 1024 * 1024


class OnRemoteFailure(StrEnum):
    """What happens to a request that the remote failed."""

    LOCAL = "Local"
    FAIL = "Fail"


@dataclass(frozen=True, slots=True)
class HeaderMatch:
    """A request header and its value."""

    header: str
    value: str


@dataclass(frozen=True, slots=True)
class PathPrefix:
    """The beginning of a request's path; with methods, only of requests with one of them."""

    prefix: str
    methods: tuple[str, ...] = ()


KeepLocal = HeaderMatch | PathPrefix


@dataclass(frozen=True, slots=True)
class HeaderStickiness:
    """Sessions are told apart by a request header."""

    header: str


@dataclass(frozen=True, slots=True)
class CookieStickiness:
    """Sessions are told apart by a cookie."""

    cookie: str


DEFAULT_MEMORY_LIMIT = "512Mi"
"""The memory limit of a gateway's container in a cluster where the spec gives none."""


@dataclass(frozen=True, slots=True)
class GatewaySpec:
    """The gateway's own shape: `resources` as (requests or limits, resource, quantity)."""

    replicas: int = 2
    resources: tuple[tuple[str, str, str], ...] = ()
    image: str = ""
    image_pull_secrets: tuple[str, ...] = ()
    drain: timedelta = timedelta(seconds=300)


@dataclass(frozen=True, slots=True)
class OffloadSpec:
    """One `ModelDeployment`, complete."""

    key: ModelKey
    model: str
    metrics: tuple[MetricSpec, ...] = ()
    behavior: Behavior = Behavior()
    remote: RemoteBackend | None = None
    service: LocalService | None = None
    metric_service: MetricService | None = None
    source: ObjectReference | None = None
    environment: str = ""
    enabled: bool = True
    generation: int = 0
    routing: RoutingMode = RoutingMode.TAKEOVER
    overflow: Overflow = Overflow()
    on_remote_failure: OnRemoteFailure = OnRemoteFailure.LOCAL
    keep_local: tuple[KeepLocal, ...] = ()
    may_leave: tuple[KeepLocal, ...] = ()
    stickiness: HeaderStickiness | CookieStickiness | None = None
    allow_override: bool = False
    gateway: GatewaySpec = GatewaySpec()
    override: Override | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """One mistake in what a user wrote: where, and what was expected and what came."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message
