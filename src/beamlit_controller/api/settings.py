"""The settings, complete and valid, and what follows from them for one model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from pydantic import ValidationError

from beamlit_controller.api import addresses, documents, gateway_bounds, informer_models, problems, settings_models
from beamlit_controller.api.addresses import Address
from beamlit_controller.api.documents import Malformed
from beamlit_controller.api.remote import RemoteBackendConfig
from beamlit_controller.core.metric_spec import PodsMetric
from beamlit_controller.core.spec import ModelKey, OffloadSpec, Rejected, SecretKey


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """User, and the file that has the password."""

    username: str
    password_file: str


@dataclass(frozen=True, slots=True)
class ClientTls:
    """Files in PEM for verifying a server and for showing a certificate to it; None is the system's, or none."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class PrometheusSettings:
    """Where Prometheus is and how it is asked; `url` is http(s), with its path prefix, without a final slash."""

    url: str
    bearer_token_file: str | None = None
    basic_auth: BasicAuth | None = None
    tls: ClientTls = ClientTls()
    headers: tuple[tuple[str, str], ...] = ()
    timeout: timedelta = timedelta(seconds=4)
    stale_after: timedelta = timedelta(seconds=90)
    query_parameters: tuple[tuple[str, str], ...] = ()
    allow_queries: bool = True
    namespace_label: str | None = None


@dataclass(frozen=True, slots=True)
class OtlpSettings:
    """The OpenTelemetry collector (`host:port`), the part of new traces that it gets in percent, and `service.name`."""

    address: str
    sample_percentage: float
    service_name: str


_ANY_PORT = Address("127.0.0.1", 0)
_WEB = Address("127.0.0.1", 8081)


@dataclass(frozen=True, slots=True)
class StandaloneSettings:
    """What a cluster would tell. Services and listeners are keyed by `namespace/name`; one listener alone is for any model."""

    services: Mapping[str, tuple[Address, ...]] = field(default_factory=dict)
    listen: Address | Mapping[str, Address] = field(default_factory=dict)
    stats_listen: Address | Mapping[str, Address] = _ANY_PORT
    web_listen: Address = _WEB
    secrets_directory: str | None = None
    access_log: str = ""

    def endpoints(self, namespace: str, service: str) -> tuple[Address, ...] | None:
        """Give the servers of a Service; None for one that is not listed."""
        return self.services.get(f"{namespace}/{service}")

    def listener(self, key: ModelKey) -> Address | None:
        """Give where the model's gateway listens; None when nothing says so. Port 0 is any free port."""
        return self.listen if isinstance(self.listen, Address) else self.listen.get(str(key))

    def stats_listener(self, key: ModelKey) -> Address:
        """Give where the model's gateway answers about itself. Port 0 is any free port."""
        if isinstance(self.stats_listen, Address):
            return self.stats_listen
        return self.stats_listen.get(str(key), _ANY_PORT)


@dataclass(frozen=True, slots=True)
class GatewayBounds:
    """What authors of ModelDeployments may ask of gateways in a cluster, and where gateways may not connect to.

    `images` and `secrets` are patterns. `replicas` is the highest number, `resources` the largest amounts, by resource;
    None is no bound.
    """

    images: tuple[str, ...] = ()
    replicas: int | None = gateway_bounds.MOST_REPLICAS
    resources: tuple[tuple[str, str], ...] | None = gateway_bounds.MOST_RESOURCES
    secrets: tuple[str, ...] = ("*",)
    denied_networks: tuple[str, ...] = gateway_bounds.DENIED_NETWORKS


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. `prometheus` is None where External metrics come from the Kubernetes metrics APIs."""

    prometheus: PrometheusSettings | None = None
    period: timedelta = timedelta(seconds=informer_models.DEFAULT_PERIOD_SECONDS)
    direct_period: timedelta = timedelta(seconds=informer_models.DIRECT_PERIOD_SECONDS)
    default_remote_backend: RemoteBackendConfig | None = None
    namespaces: tuple[str, ...] = ()
    enable_leader_election: bool = True
    allowed_remote_hosts: tuple[str, ...] = ("*",)
    gateways: GatewayBounds = GatewayBounds()
    standalone: StandaloneSettings = StandaloneSettings()
    metric_secrets: str | None = None
    page: bool = True
    page_hosts: tuple[str, ...] = ()
    otlp: OtlpSettings | None = None

    def secret_file(self, key: ModelKey, secret: SecretKey) -> Path | None:
        """Give the file that has a Secret's key, for reading metrics; None where no setting says where Secrets are."""
        if self.metric_secrets is not None:
            return Path(self.metric_secrets) / key.namespace / secret.name / secret.key
        directory = self.standalone.secrets_directory
        return Path(directory) / secret.name / secret.key if directory is not None else None


def parse(text: str) -> Settings | tuple[Rejected, ...]:
    """Read a settings file, or give all its mistakes. An empty file is all defaults."""
    loaded = list(documents.load(text))
    unreadable = tuple(Rejected("", each.message) for each in loaded if isinstance(each, Malformed))
    if unreadable:
        return unreadable
    if len(loaded) > 1:
        return (Rejected("", f"expected one YAML document, got {len(loaded)}"),)
    contents = [each.content for each in loaded if not isinstance(each, Malformed)] or [{}]
    return read(contents[0])


def read(content: object) -> Settings | tuple[Rejected, ...]:
    """Read settings that have been YAML or JSON, or give all their mistakes."""
    if isinstance(content, Mapping) and content.get("kind") == "ModelDeployment":
        return (Rejected("", "this is a ModelDeployment; a settings file begins with `config:`"),)
    try:
        return _settings(settings_models.SettingsFile.model_validate(content).config)
    except ValidationError as error:
        return problems.rejected(error.errors(include_url=False))


def period(spec: OffloadSpec, settings: Settings) -> timedelta:
    """Give the time between two evaluations of a model; shorter when all its metrics are read straight from its servers."""
    direct = spec.metric_service and spec.metrics and all(isinstance(metric, PodsMetric) for metric in spec.metrics)
    return settings.direct_period if direct else settings.period


def _settings(config: settings_models.Config) -> Settings:
    informer = config.metric_informer
    period = timedelta(seconds=informer.period_seconds or informer_models.DEFAULT_PERIOD_SECONDS)
    direct = timedelta(seconds=informer.period_seconds or informer_models.DIRECT_PERIOD_SECONDS)
    asked = informer.prometheus if informer.type == "prometheus" else None
    return Settings(
        prometheus=_prometheus(asked, period) if asked else None,
        period=period,
        direct_period=direct,
        default_remote_backend=config.default_remote_backend,
        namespaces=tuple(config.namespaces),
        enable_leader_election=config.enable_leader_election,
        allowed_remote_hosts=tuple(config.allowed_remote_hosts),
        gateways=_bounds(config),
        standalone=_standalone(config.standalone),
        metric_secrets=informer.secrets_directory,
        page=config.page.enabled,
        page_hosts=tuple(config.page.hosts),
        otlp=_otlp(config.tracing.otlp) if config.tracing.otlp else None,
    )


def _otlp(given: settings_models.OtlpConfig) -> OtlpSettings:
    return OtlpSettings(given.address, given.sample_percentage, given.service_name)


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
    )


def _listeners(given: object) -> Address | Mapping[str, Address]:
    if isinstance(given, str):
        return _listener(given)
    return {str(name): _listener(text) for name, text in given.items()} if isinstance(given, Mapping) else {}


def _listener(text: str) -> Address:
    return addresses.parse(text, lowest_port=0)
