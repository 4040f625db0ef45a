"""`metricInformer` of the settings file: where metrics are read, and how often."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from beamlit_controller.api import addresses, scalars
from beamlit_controller.api.cloud_models import AwsPrometheusConfig, AzurePrometheusConfig, GooglePrometheusConfig
from beamlit_controller.api.model import StrictModel
from beamlit_controller.api.problems import Notice
from beamlit_controller.api.rules import AllOrNone, AtMostOne, Mistake, Rule, dig
from beamlit_controller.api.scalars import Word

EXAMPLE_ADDRESS = "my-local-prom:9090 or https://prometheus.example.com/prefix"
DEFAULT_PERIOD_SECONDS = 5
DIRECT_PERIOD_SECONDS = 1


class BasicAuthConfig(StrictModel):
    """A user name and a password."""

    username: Word = Field(description="The user name.")
    password_file: Word = Field(description="File that holds the password.")


class ClientTlsConfig(StrictModel):
    """How the server's certificate is verified, and the client certificate."""

    rules: ClassVar[tuple[Rule, ...]] = (AllOrNone("certFile", "keyFile"),)
    ca_file: Word | None = Field(
        default=None,
        description="CA certificates that the server is verified against, in PEM; by default the system's.",
    )
    cert_file: Word | None = Field(default=None, description="Client certificate, in PEM.")
    key_file: Word | None = Field(default=None, description="Private key of the client certificate, in PEM.")
    server_name: Word | None = Field(
        default=None, description="Server name for SNI and certificate verification; by default the address's host."
    )


def url_of(address: str) -> str:
    """Return the URL of an address that is host:port or a URL, without a trailing slash. Raises ValueError."""
    if "://" not in address:
        if "@" in address:
            raise ValueError("an address can't contain user and password: use basicAuth")
        if "/" in address:
            raise ValueError("an address with a path must begin with http:// or https://")
        return f"http://{addresses.parse(address)}"
    url = addresses.parse_url(address, example="http://my-local-prom:9090")
    if "@" in url.netloc:
        raise ValueError("an address can't contain user and password: use basicAuth")
    if url.query:
        raise ValueError("an address can't contain a query: use queryParameters")
    return address.rstrip("/")


def _address(text: str) -> str:
    url_of(text)
    return text


class PrometheusConfig(StrictModel):
    """The address of Prometheus, its credentials, and what may be queried."""

    rules: ClassVar[tuple[Rule, ...]] = (AtMostOne(("bearerTokenFile", "basicAuth", "aws", "google", "azure")),)
    address: Annotated[str, AfterValidator(_address)] = Field(description=f"host:port or a URL: {EXAMPLE_ADDRESS}.")
    bearer_token_file: Word | None = Field(default=None, description="File that holds a bearer token.")
    basic_auth: BasicAuthConfig | None = Field(default=None, description="User name and password.")
    aws: AwsPrometheusConfig | None = Field(
        default=None, description="Sign queries for Amazon's managed Prometheus. Needs the extra `aws`."
    )
    google: GooglePrometheusConfig | None = Field(
        default=None, description="Fetch tokens for Google's managed Prometheus. Needs the extra `google`."
    )
    azure: AzurePrometheusConfig | None = Field(
        default=None, description="Fetch tokens for Azure's managed Prometheus. Needs the extra `azure`."
    )
    tls: ClientTlsConfig | None = Field(
        default=None, description="How the certificate of an https address is verified."
    )
    headers: dict[str, str] = Field(
        default={},
        description="Headers of each query, such as a tenant's X-Scope-OrgID. `$namespace` in a value is replaced by the "
        "model's namespace.",
    )
    timeout_seconds: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] | None = Field(
        default=None,
        description="Timeout of a query in seconds. Must be less than `periodSeconds`; by default 80 % of it.",
    )
    stale_after_seconds: Annotated[int, Field(ge=1, le=86400)] = Field(
        default=90,
        description="Seconds without a new sample after which a series has no value. Must exceed Prometheus' scrape interval. The value of a query counts as no older than that either.",
    )
    query_parameters: dict[str, str] = Field(
        default={},
        description='Parameters of each query beside `query` and `time`, such as `dedup: "true"`. `$namespace` in a value '
        "is replaced by the model's namespace.",
    )
    allow_queries: bool = Field(
        default=True,
        description="Whether the name of an External metric may be a PromQL query. A query can read the series of every "
        "tenant of this Prometheus. If false, only metric names with a selector are accepted.",
    )
    namespace_label: Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", max_length=256)] | None = Field(
        default=None,
        description="Only read series whose label of this name, such as `namespace`, equals the model's namespace. Needs "
        "`allowQueries: false`, because a query can't be restricted.",
    )

    @classmethod
    def mistakes(cls, given: Mapping[Any, object]) -> Iterator[Mistake]:
        """Check the headers, the parameters, and tls without https."""
        yield from super().mistakes(given)
        for name, value in _pairs(given.get("headers")):
            mistake = _CREDENTIAL if name.lower() == "authorization" else scalars.header_mistake(name, value)
            if mistake:
                yield Mistake(("headers", name), mistake)
        for name, _ in _pairs(given.get("queryParameters")):
            if name in {"query", "time"}:
                yield Mistake(("queryParameters", name), "the controller sets this one itself")
        if given.get("namespaceLabel") is not None and given.get("allowQueries") is not False:
            yield Mistake(("namespaceLabel",), "needs allowQueries: false, because a query could read other namespaces")
        if "tls" in given and not str(given.get("address")).startswith("https://"):
            yield Mistake(("tls",), "needs an address that begins with https://")


_CREDENTIAL = "a credential does not belong here: use bearerTokenFile, basicAuth, aws, google or azure"


class MetricInformer(StrictModel):
    """Where metrics are read, and how often."""

    type: Literal["kubernetes", "prometheus"] = Field(
        default="kubernetes",
        description="Where External metrics are read: the Kubernetes metrics APIs, or Prometheus.",
    )
    period_seconds: Annotated[int, Field(ge=1, le=3600)] | None = Field(
        default=None,
        description="Seconds between two evaluations. By default 5, or 1 for a model whose metrics are all read directly "
        "from its servers.",
    )
    prometheus: PrometheusConfig | None = Field(
        default=None, description="Connection to Prometheus; with type prometheus."
    )
    secrets_directory: Word | None = Field(
        default=None,
        description="Directory of the Secrets that `metricServiceRef` references: a Secret's key is the file "
        "DIRECTORY/NAMESPACE/NAME/KEY. The controller does not read Secrets from the API server, so mount them here. "
        "Standalone, the default is `standalone.secretsDirectory`.",
    )

    @classmethod
    def mistakes(cls, given: Mapping[Any, object]) -> Iterator[Mistake]:
        """Check that prometheus has its address, and that its timeout is shorter than the period."""
        yield from super().mistakes(given)
        if given.get("type") == "prometheus" and "prometheus" not in given:
            yield Mistake(("prometheus",), "required with type prometheus: prometheus.address says where it is")
        period, timeout = (
            given.get("periodSeconds", DEFAULT_PERIOD_SECONDS),
            dig(given, ("prometheus", "timeoutSeconds")),
        )
        if isinstance(period, int) and isinstance(timeout, int | float) and timeout >= period:
            yield Mistake(
                ("prometheus", "timeoutSeconds"), f"expected less than the period of {period} s, got {timeout}"
            )


def notices(given: MetricInformer) -> tuple[Notice, ...]:
    """Point out a Prometheus that is not used. It is valid, so that users can switch the type alone."""
    if given.prometheus is None or given.type == "prometheus":
        return ()
    message = f"has no effect with type {given.type}; to use it, set type: prometheus"
    return (Notice("config.metricInformer.prometheus", message),)


def _pairs(given: object) -> Iterator[tuple[str, str]]:
    for name, value in given.items() if isinstance(given, Mapping) else ():
        if isinstance(name, str) and isinstance(value, str):
            yield name, value
