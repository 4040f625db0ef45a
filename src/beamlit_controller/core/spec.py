"""The spec of a `ModelDeployment` as complete, valid values.

`api` has parsed and validated everything and filled in the defaults. Secrets are references.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from beamlit_controller.core.gateway_spec import DEFAULT_GATEWAY, GatewaySpec
from beamlit_controller.core.metric_spec import MetricSpec, ObjectReference
from beamlit_controller.core.named_address import NamedAddress
from beamlit_controller.core.price import Budget, Price, UsageMode
from beamlit_controller.core.remote_auth import ApiKey, AwsSignature, GoogleToken, OAuth, RemoteAuth, SecretKey
from beamlit_controller.core.stickiness import CookieStickiness, HeaderStickiness

__all__ = ["ApiKey", "AwsSignature", "GoogleToken", "OAuth", "SecretKey"]


@dataclass(frozen=True, slots=True, order=True)
class ModelKey:
    """The namespace and name of one `ModelDeployment`."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Mode(StrEnum):
    """What is adjusted by the metric: the share of requests (Fixed, Proportional), or the cap on local requests in flight (Adaptive)."""

    FIXED = "Fixed"
    PROPORTIONAL = "Proportional"
    ADAPTIVE = "Adaptive"


class OnMetricsLoss(StrEnum):
    """What to do once no metric could be read for `metrics_loss`."""

    HOLD = "Hold"
    RELEASE = "Release"
    OFFLOAD = "Offload"


@dataclass(frozen=True, slots=True)
class Ramp:
    """How the share changes in one direction: stabilization window, tolerance, and steps."""

    stabilization_window: timedelta
    tolerance: Decimal
    step_percentage: int
    period: timedelta


MOST_RISE = 20


@dataclass(frozen=True, slots=True)
class Behavior:
    """The percentage to offload, and the rules for engaging and releasing."""

    percentage: int = 100
    mode: Mode = Mode.FIXED
    engage: Ramp = Ramp(timedelta(0), Decimal(0), 100, timedelta(seconds=15))
    release: Ramp = Ramp(timedelta(seconds=60), Decimal("0.1"), 100, timedelta(seconds=15))
    most_rise: int = MOST_RISE
    """Maximum percentage points per step up in Proportional mode if `engage.step_percentage` is 100."""
    on_metrics_loss: OnMetricsLoss = OnMetricsLoss.HOLD
    metrics_loss: timedelta = timedelta(seconds=60)
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Override:
    """A percentage set by a person, until a time or until it is cleared, with author and reason."""

    percentage: int
    until: datetime | None = None
    author: str = ""
    reason: str = ""


class Scheme(StrEnum):
    """Protocol of the remote."""

    HTTP = "http"
    HTTPS = "https"


@dataclass(frozen=True, slots=True)
class RemoteTls:
    """How the remote's certificate is verified: the CA (None: the system's), and the name (None: the host).

    `cert` and `key` are the client certificate, if any, from one Secret.
    """

    ca: SecretKey | None = None
    server_name: str | None = None
    cert: SecretKey | None = field(default=None, repr=False)
    key: SecretKey | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """An active probe of the remote."""

    path: str
    period: timedelta


REMOTE_FAILURES = (401, 402, 403, 408, 429, *range(500, 600))
"""Status codes of a remote that count as failures by default."""


@dataclass(frozen=True, slots=True)
class RemoteBackend:
    """Where offloaded requests go.

    `name` distinguishes the remotes of a model; it is "" for the only one of `remoteBackend`. `path_prefix` replaces
    `replaced_prefix`; both are "" or start with "/". `model_names` maps each model name that a request may have to the
    name at the remote; None means that requests for any model leave unchanged. Adjacent remotes with a `weight` share
    requests.
    """

    scheme: Scheme
    host: str
    port: int
    path_prefix: str = ""
    replaced_prefix: str = ""
    query_to_add: tuple[tuple[str, str], ...] = ()
    by_model: tuple[NamedAddress, ...] = ()
    headers_to_add: tuple[tuple[str, str], ...] = ()
    model_names: tuple[tuple[str, str], ...] | None = None
    keep_remote_model_name: bool = False
    auth: RemoteAuth | None = None
    tls: RemoteTls = RemoteTls()
    health_check: HealthCheck | None = None
    max_in_flight: int | None = None
    forward_client_authorization: bool = False
    headers_to_remove: tuple[str, ...] = ()
    query_to_remove: tuple[str, ...] = ()
    on_status: tuple[int, ...] = REMOTE_FAILURES
    usage: UsageMode = UsageMode.READ
    # These are not part of a remote's identity (`envoy/identity.py`), so changing them replaces nothing in Envoy.
    price: Price | None = field(default=None, repr=False)
    budget: Budget | None = field(default=None, repr=False)
    weight: int | None = field(default=None, repr=False)
    name: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class LocalService:
    """The Service that clients use, and the port of its pods."""

    name: str
    target_port: int | str


@dataclass(frozen=True, slots=True)
class BasicCredential:
    """A user name, and the key of the Secret that has the password."""

    username: str
    password: SecretKey


@dataclass(frozen=True, slots=True)
class MetricServiceTls:
    """How the servers' certificates are verified (as for the remote), and the client certificate, if any."""

    ca: SecretKey | None = None
    server_name: str | None = None
    cert: SecretKey | None = None
    key: SecretKey | None = None

    @property
    def secrets(self) -> tuple[SecretKey, ...]:
        """Return the Secret keys that are needed."""
        return tuple(each for each in (self.ca, self.cert, self.key) if each)


@dataclass(frozen=True, slots=True)
class MetricService:
    """Where and how the servers' own metrics are read; `credential` is a bearer token, or a user name with a password."""

    name: str
    target_port: int | str
    path: str = "/metrics"
    query: tuple[tuple[str, str], ...] = ()
    scheme: Scheme = Scheme.HTTP
    tls: MetricServiceTls = MetricServiceTls()
    credential: SecretKey | BasicCredential | None = None


class RoutingMode(StrEnum):
    """How clients reach the gateway in a cluster."""

    TAKEOVER = "Takeover"
    SERVICE = "Service"


@dataclass(frozen=True, slots=True)
class Overflow:
    """When single requests that local can't serve go to the remote; `after` is how long to wait for local's first byte."""

    on_status: tuple[int, ...] = ()
    on_unavailable: bool = True
    on_reset: bool = True
    max_in_flight_per_replica: int | None = None
    after: timedelta | None = None
    max_request_bytes: int = 1024 * 1024


class OnRemoteFailure(StrEnum):
    """What happens to a request that fails at the remote."""

    LOCAL = "Local"
    FAIL = "Fail"


@dataclass(frozen=True, slots=True)
class HeaderMatch:
    """A request header and its value."""

    header: str
    value: str


@dataclass(frozen=True, slots=True)
class PathPrefix:
    """The prefix of a request's path; with methods, only of requests with one of them."""

    prefix: str
    methods: tuple[str, ...] = ()


RequestMatch = HeaderMatch | PathPrefix


@dataclass(frozen=True, slots=True)
class OffloadSpec:
    """One complete `ModelDeployment`. `next_remotes` are tried, in order, after `remote`."""

    key: ModelKey
    model: str
    metrics: tuple[MetricSpec, ...] = ()
    behavior: Behavior = Behavior()
    remote: RemoteBackend | None = None
    next_remotes: tuple[RemoteBackend, ...] = ()
    service: LocalService | None = None
    metric_service: MetricService | None = None
    source: ObjectReference | None = None
    environment: str = ""
    enabled: bool = True
    generation: int = 0
    routing: RoutingMode = RoutingMode.TAKEOVER
    overflow: Overflow = Overflow()
    on_remote_failure: OnRemoteFailure = OnRemoteFailure.LOCAL
    keep_local: tuple[RequestMatch, ...] = ()
    may_leave: tuple[RequestMatch, ...] = ()
    stickiness: HeaderStickiness | CookieStickiness | None = None
    allow_override: bool = False
    gateway: GatewaySpec = DEFAULT_GATEWAY
    override: Override | None = None

    @property
    def remotes(self) -> tuple[RemoteBackend, ...]:
        """Return the remotes in the order in which a request tries them."""
        return (self.remote, *self.next_remotes) if self.remote is not None else ()


@dataclass(frozen=True, slots=True)
class Rejected:
    """One mistake in a user's input: the field, and what was expected and given."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message
