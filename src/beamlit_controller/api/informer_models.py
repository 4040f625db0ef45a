"""`metricInformer` of the settings file: where metrics are read, and how often."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from beamlit_controller.api import addresses, scalars
from beamlit_controller.api.model import StrictModel
from beamlit_controller.api.rules import AtMostOne, Mistake, Rule, Together, dig
from beamlit_controller.api.scalars import Word

EXAMPLE_ADDRESS = "my-local-prom:9090 or https://prometheus.example.com/prefix"
DEFAULT_PERIOD_SECONDS = 5
DIRECT_PERIOD_SECONDS = 1


class BasicAuthConfig(StrictModel):
    """User and password."""

    username: Word = Field(description="The user.")
    password_file: Word = Field(description="The file that has the password.")


class ClientTlsConfig(StrictModel):
    """How the server's certificate is verified, and the one shown to it."""

    rules: ClassVar[tuple[Rule, ...]] = (Together("certFile", "keyFile"),)
    ca_file: Word | None = Field(
        default=None,
        description="CA certificates that the server is verified against, in PEM; by default the system's.",
    )
    cert_file: Word | None = Field(default=None, description="The certificate to show, in PEM.")
    key_file: Word | None = Field(default=None, description="The key of that certificate, in PEM.")
    server_name: Word | None = Field(
        default=None, description="Name that the certificate is verified for; by default the address's host."
    )


def url_of(address: str) -> str:
    """Give the URL without a final / of an address that is host:port or a URL. Raises ValueError."""
    if "://" not in address:
        if "@" in address:
            raise ValueError("user and password don't belong in the address: basicAuth carries them")
        if "/" in address:
            raise ValueError("an address with a path begins with http:// or https://")
        return f"http://{addresses.parse(address)}"
    url = addresses.parse_url(address, example="http://my-local-prom:9090")
    if "@" in url.netloc:
        raise ValueError("user and password don't belong in the address: basicAuth carries them")
    if url.query:
        raise ValueError("an address has no ?: queryParameters carries what stands behind it")
    return address.rstrip("/")


def _address(text: str) -> str:
    url_of(text)
    return text


class PrometheusConfig(StrictModel):
    """Where Prometheus is, and how it is asked."""

    rules: ClassVar[tuple[Rule, ...]] = (AtMostOne(("bearerTokenFile", "basicAuth")),)
    address: Annotated[str, AfterValidator(_address)] = Field(description=f"host:port or a URL: {EXAMPLE_ADDRESS}.")
    bearer_token_file: Word | None = Field(default=None, description="The file that has a bearer token.")
    basic_auth: BasicAuthConfig | None = Field(default=None, description="User and password.")
    tls: ClientTlsConfig | None = Field(default=None, description="How an https address is verified.")
    headers: dict[str, str] = Field(
        default={},
        description="Headers of each query, such as a tenant's X-Scope-OrgID. `$namespace` in a value stands for the model's "
        "namespace.",
    )
    timeout_seconds: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] | None = Field(
        default=None,
        description="Seconds that a query may take; less than the period, and by default four fifths of it.",
    )
    stale_after_seconds: Annotated[int, Field(ge=1, le=86400)] = Field(
        default=90,
        description="Seconds after which a series without a new sample has no value. Must exceed Prometheus' scrape interval.",
    )
    query_parameters: dict[str, str] = Field(
        default={},
        description='Parameters of each query beside `query` and `time`, such as `dedup: "true"`. `$namespace` in a value '
        "stands for the model's namespace.",
    )
    allow_queries: bool = Field(
        default=True,
        description="Whether the name of an External metric may be a PromQL query. A query can read the series of every "
        "tenant that this Prometheus answers for; with false, only names of metrics with a selector are accepted.",
    )
    namespace_label: Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", max_length=256)] | None = Field(
        default=None,
        description="The label that has to have the model's namespace as its value in each series that is read, such as "
        "`namespace`. Needs `allowQueries: false`: what a query reads can't be narrowed.",
    )

    @classmethod
    def mistakes(cls, given: Mapping[Any, object]) -> Iterator[Mistake]:
        """Add the headers, the parameters, and tls without https."""
        yield from super().mistakes(given)
        for name, value in _pairs(given.get("headers")):
            mistake = _CREDENTIAL if name.lower() == "authorization" else scalars.header_mistake(name, value)
            if mistake:
                yield Mistake(("headers", name), mistake)
        for name, _ in _pairs(given.get("queryParameters")):
            if name in {"query", "time"}:
                yield Mistake(("queryParameters", name), "the controller sets this one itself")
        if given.get("namespaceLabel") is not None and given.get("allowQueries") is not False:
            yield Mistake(
                ("namespaceLabel",), "needs allowQueries: false, or a query reads other namespaces all the same"
            )
        if "tls" in given and not str(given.get("address")).startswith("https://"):
            yield Mistake(("tls",), "needs an address that begins with https://")


_CREDENTIAL = "a credential does not belong here: bearerTokenFile or basicAuth take it from a file"


class MetricInformer(StrictModel):
    """Where metrics are read, and how often."""

    type: Literal["kubernetes", "prometheus"] = Field(
        default="kubernetes",
        description="Where External metrics are read: the Kubernetes metrics APIs, or Prometheus.",
    )
    period_seconds: Annotated[int, Field(ge=1, le=3600)] | None = Field(
        default=None,
        description="Seconds between two evaluations. By default 5, or 1 for a model whose metrics are all read straight "
        "from its servers.",
    )
    prometheus: PrometheusConfig | None = Field(default=None, description="With type prometheus.")
    secrets_directory: Word | None = Field(
        default=None,
        description="Where the Secrets are that a `metricServiceRef` names: a Secret's key is the file "
        "DIRECTORY/NAMESPACE/NAME/KEY. The controller asks the API server for none: mount the ones that it may read. "
        "Without a cluster, by default `standalone.secretsDirectory`.",
    )

    @classmethod
    def mistakes(cls, given: Mapping[Any, object]) -> Iterator[Mistake]:
        """Add that prometheus needs its address, and an answer before the next question."""
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


def _pairs(given: object) -> Iterator[tuple[str, str]]:
    for name, value in given.items() if isinstance(given, Mapping) else ():
        if isinstance(name, str) and isinstance(value, str):
            yield name, value
