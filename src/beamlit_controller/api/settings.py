"""The settings as complete, valid values, and what follows from them for one model.

`settings_models.py` is what users write; `parse` validates it and fills in the defaults.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from pydantic import ValidationError

from beamlit_controller.api import (
    addresses,
    cloud_models,
    gateway_bounds,
    informer_models,
    problems,
    settings_models,
    yaml_documents,
)
from beamlit_controller.api.addresses import Address
from beamlit_controller.api.problems import Notice
from beamlit_controller.api.remote import RemoteBackendConfig
from beamlit_controller.api.shared_listener_models import SharedRouteConfig
from beamlit_controller.api.yaml_documents import Malformed
from beamlit_controller.core import readable
from beamlit_controller.core.cloud_identity import CloudIdentity
from beamlit_controller.core.gateway_pods import GatewayPods
from beamlit_controller.core.spec import ModelKey, OffloadSpec, Rejected, SecretKey


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """A user name, and the file that holds the password."""

    username: str
    password_file: str


@dataclass(frozen=True, slots=True)
class ClientTls:
    """PEM files to verify a server and for a client certificate; None means the system's CAs, or no certificate."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class PrometheusSettings:
    """How to connect to Prometheus; `url` is http(s), with its path prefix, without a trailing slash."""

    url: str
    bearer_token_file: str | None = None
    basic_auth: BasicAuth | None = None
    identity: CloudIdentity | None = None
    tls: ClientTls = ClientTls()
    headers: tuple[tuple[str, str], ...] = ()
    timeout: timedelta = timedelta(seconds=4)
    stale_after: timedelta = timedelta(seconds=90)
    query_parameters: tuple[tuple[str, str], ...] = ()
    allow_queries: bool = True
    namespace_label: str | None = None


@dataclass(frozen=True, slots=True)
class OtlpSettings:
    """The OpenTelemetry collector (`host:port`), the percentage of new traces to sample, and `service.name`."""

    address: str
    sample_percentage: float
    service_name: str


_ANY_PORT = Address("127.0.0.1", 0)
_WEB = Address("127.0.0.1", 8081)


@dataclass(frozen=True, slots=True)
class SharedRoute:
    """Which requests of a shared listener go to a model; None matches any request."""

    to: ModelKey
    model: str | None = None
    path_prefix: str | None = None
    strip_prefix: bool = False
    host: str | None = None
    header: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class SharedListener:
    """An address that several models share, and its routes, of which the first match applies."""

    address: Address
    routes: tuple[SharedRoute, ...]


@dataclass(frozen=True, slots=True)
class StandaloneSettings:
    """Services and listeners outside a cluster, by `namespace/name`; a single listener applies to any model."""

    services: Mapping[str, tuple[Address, ...]] = field(default_factory=dict)
    listen: Address | Mapping[str, Address] = field(default_factory=dict)
    stats_listen: Address | Mapping[str, Address] = _ANY_PORT
    web_listen: Address = _WEB
    secrets_directory: str | None = None
    access_log: str = ""
    shared_listeners: Mapping[str, SharedListener] = field(default_factory=dict)

    def endpoints(self, namespace: str, service: str) -> tuple[Address, ...] | None:
        """Return the servers of a Service; None if it is not listed."""
        return self.services.get(f"{namespace}/{service}")

    def listener(self, key: ModelKey) -> Address | None:
        """Return the listen address of the model's gateway; None if there is none. Port 0 is any free port."""
        return self.listen if isinstance(self.listen, Address) else self.listen.get(str(key))

    def stats_listener(self, key: ModelKey) -> Address:
        """Return the stats address of the model's gateway. Port 0 is any free port."""
        if isinstance(self.stats_listen, Address):
            return self.stats_listen
        return self.stats_listen.get(str(key), _ANY_PORT)


@dataclass(frozen=True, slots=True)
class GatewayBounds:
    """What ModelDeployments may request for gateways in a cluster, and which networks are denied.

    `images` and `secrets` are patterns. `replicas` is the maximum number; `resources` are the maximum amounts by
    resource. None means unlimited.
    """

    images: tuple[str, ...] = ()
    replicas: int | None = gateway_bounds.MOST_REPLICAS
    resources: tuple[tuple[str, str], ...] | None = gateway_bounds.MOST_RESOURCES
    secrets: tuple[str, ...] = ("*",)
    denied_networks: tuple[str, ...] = gateway_bounds.DENIED_NETWORKS


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. `prometheus` is None if External metrics come from the Kubernetes metrics APIs.

    `notices` are the settings without effect.
    """

    prometheus: PrometheusSettings | None = None
    period: timedelta = timedelta(seconds=informer_models.DEFAULT_PERIOD_SECONDS)
    direct_period: timedelta = timedelta(seconds=informer_models.DIRECT_PERIOD_SECONDS)
    default_remotes: tuple[RemoteBackendConfig, ...] = ()
    namespaces: tuple[str, ...] = ()
    enable_leader_election: bool = True
    allowed_remote_hosts: tuple[str, ...] = ("*",)
    gateways: GatewayBounds = GatewayBounds()
    gateway_pods: GatewayPods = field(default_factory=GatewayPods)
    standalone: StandaloneSettings = StandaloneSettings()
    metric_secrets: str | None = None
    page: bool = True
    page_hosts: tuple[str, ...] = ()
    otlp: OtlpSettings | None = None
    notices: tuple[Notice, ...] = ()

    def secret_file(self, key: ModelKey, secret: SecretKey) -> Path | None:
        """Return the file of a Secret key for reading metrics; None if no directory is configured."""
        if self.metric_secrets is not None:
            return Path(self.metric_secrets) / key.namespace / secret.name / secret.key
        directory = self.standalone.secrets_directory
        return Path(directory) / secret.name / secret.key if directory is not None else None


def parse(text: str) -> Settings | tuple[Rejected, ...]:
    """Parse a settings file, or return all its mistakes. An empty file means all defaults."""
    loaded = list(yaml_documents.load(text))
    unreadable = tuple(Rejected("", each.message) for each in loaded if isinstance(each, Malformed))
    if unreadable:
        return unreadable
    if len(loaded) > 1:
        return (Rejected("", f"expected one YAML document, got {len(loaded)}"),)
    contents = [each.content for each in loaded if not isinstance(each, Malformed)] or [{}]
    return read(contents[0])


def read(content: object) -> Settings | tuple[Rejected, ...]:
    """Validate settings parsed from YAML or JSON, or return all their mistakes."""
    if isinstance(content, Mapping) and content.get("kind") == "ModelDeployment":
        return (Rejected("", "this is a ModelDeployment; a settings file begins with `config:`"),)
    try:
        return _settings(settings_models.SettingsFile.model_validate(content).config)
    except ValidationError as error:
        return problems.rejected(error.errors(include_url=False))


def period(spec: OffloadSpec, settings: Settings) -> timedelta:
    """Return the evaluation period of a model; it is shorter if all its metrics come directly from its servers or gateways."""
    direct = spec.metrics and all(
        readable.from_servers(spec, metric) or readable.from_gateways(spec, metric) for metric in spec.metrics
    )
    return settings.direct_period if direct else settings.period


def _settings(config: settings_models.Config) -> Settings:
    informer = config.metric_informer
    period = timedelta(seconds=informer.period_seconds or informer_models.DEFAULT_PERIOD_SECONDS)
    direct = timedelta(seconds=informer.period_seconds or informer_models.DIRECT_PERIOD_SECONDS)
    configured = informer.prometheus if informer.type == "prometheus" else None
    return Settings(
        prometheus=_prometheus(configured, period) if configured else None,
        period=period,
        direct_period=direct,
        default_remotes=_default_remotes(config),
        namespaces=tuple(config.namespaces),
        enable_leader_election=config.enable_leader_election,
        allowed_remote_hosts=tuple(config.allowed_remote_hosts),
        gateways=_bounds(config),
        gateway_pods=config.gateway.pods(fixed_user=config.run_as_fixed_user),
        standalone=_standalone(config.standalone),
        metric_secrets=informer.secrets_directory,
        page=config.page.enabled,
        page_hosts=tuple(config.page.hosts),
        otlp=_otlp(config.tracing.otlp) if config.tracing.otlp else None,
        notices=informer_models.notices(informer),
    )


def _otlp(given: settings_models.OtlpConfig) -> OtlpSettings:
    return OtlpSettings(given.address, given.sample_percentage, given.service_name)


def _default_remotes(config: settings_models.Config) -> tuple[RemoteBackendConfig, ...]:
    one = config.default_remote_backend
    return (one,) if one is not None else tuple(config.default_remote_backends or ())


def _bounds(config: settings_models.Config) -> GatewayBounds:
    return GatewayBounds(
        images=tuple(config.allowed_gateway_images),
        replicas=config.max_gateway_replicas,
        resources=tuple(config.max_gateway_resources.items()),
        secrets=tuple(config.allowed_secret_names),
        denied_networks=tuple(config.denied_gateway_networks),
    )


def _prometheus(given: informer_models.PrometheusConfig, period: timedelta) -> PrometheusSettings:
    auth, tls = given.basic_auth, given.tls or informer_models.ClientTlsConfig()
    return PrometheusSettings(
        url=informer_models.url_of(given.address),
        bearer_token_file=given.bearer_token_file,
        basic_auth=BasicAuth(auth.username, auth.password_file) if auth else None,
        identity=cloud_models.identity(given.aws, given.google, given.azure),
        tls=ClientTls(tls.ca_file, tls.cert_file, tls.key_file, tls.server_name),
        headers=tuple(given.headers.items()),
        timeout=timedelta(seconds=given.timeout_seconds) if given.timeout_seconds else period * 4 / 5,
        stale_after=timedelta(seconds=given.stale_after_seconds),
        query_parameters=tuple(given.query_parameters.items()),
        allow_queries=given.allow_queries,
        namespace_label=given.namespace_label,
    )


def _standalone(given: settings_models.StandaloneConfig) -> StandaloneSettings:
    return StandaloneSettings(
        services={name: tuple(map(addresses.parse, listed)) for name, listed in given.services.items()},
        listen=_listeners(given.listen),
        stats_listen=_listeners(given.stats_listen),
        web_listen=_listener(given.web_listen),
        secrets_directory=given.secrets_directory,
        access_log=given.access_log,
        shared_listeners={
            name: SharedListener(addresses.parse(each.address), tuple(map(_shared_route, each.routes)))
            for name, each in given.shared_listeners.items()
        },
    )


def _shared_route(given: SharedRouteConfig) -> SharedRoute:
    namespace, _, name = given.to.partition("/")
    return SharedRoute(
        to=ModelKey(namespace, name),
        model=given.model,
        path_prefix=given.path_prefix,
        strip_prefix=given.strip_prefix,
        host=given.host,
        header=(given.header, given.value) if given.header is not None and given.value is not None else None,
    )


def _listeners(given: object) -> Address | Mapping[str, Address]:
    if isinstance(given, str):
        return _listener(given)
    return {str(name): _listener(text) for name, text in given.items()} if isinstance(given, Mapping) else {}


def _listener(text: str) -> Address:
    return addresses.parse(text, lowest_port=0)
