"""`remoteBackend` as users write it: address, headers, credential, TLS and health check of the remote."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from beamlit_controller.api import addresses, remote_path, scalars
from beamlit_controller.api.model import StrictModel
from beamlit_controller.api.price import AccountNeedsUsage, BudgetConfig, CostNeedsPrice, PriceConfig
from beamlit_controller.api.remote_path import AddedPrefix, OnePath, PathConfig
from beamlit_controller.api.remote_rules import GoogleForGoogle, SameSecret, TlsNeedsHttps
from beamlit_controller.api.rules import AllOrNone, MemberOfType, Mistake, Rule, dig
from beamlit_controller.api.scalars import AtLeastOne, DnsName, RemoteHost, RequestPath, SecretKeyName, Token, Word


class SecretKeySelector(StrictModel):
    """A reference to one key of a Secret in the model's namespace; never its value."""

    name: DnsName = Field(description="The Secret's name.")
    key: SecretKeyName = Field(description="The key in the Secret.")


def _token_url(text: str) -> str:
    url = addresses.parse_url(text, example="https://login.example.com/oauth/token")
    if "@" in url.netloc:
        raise ValueError("a URL can't contain user and password: use clientId and clientSecretRef")
    return text


class OAuthConfig(StrictModel):
    """OAuth2 client credentials, fetched and renewed by the gateway."""

    client_id: Word = Field(description="Client ID.")
    client_secret_ref: SecretKeySelector = Field(description="Secret key that holds the client secret.")
    token_url: Annotated[str, AfterValidator(_token_url), Field(max_length=2048)] = Field(
        description="Token endpoint. Its host must be among `allowedRemoteHosts`."
    )
    scopes: list[Annotated[str, *scalars.matching(r"[!#-\[\]-~]+", "a scope without blanks and quotes")]] = Field(
        default=[], max_length=100, description="Scopes to request."
    )


def _auth_header(name: str) -> str:
    mistake = scalars.header_mistake(name, "")
    if mistake:
        raise ValueError(mistake)
    return name


class ApiKeyConfig(StrictModel):
    """A key sent with every request to the remote."""

    secret_ref: SecretKeySelector = Field(description="Secret key that holds the API key.")
    header: Annotated[Token, AfterValidator(_auth_header)] = Field(
        default="authorization", description="Request header that carries the key."
    )
    prefix: Annotated[str, Field(max_length=64, pattern="^[ -~]*$")] | None = Field(
        default=None, description='What stands before the key: "Bearer " for the header authorization, else nothing.'
    )


_Name = Annotated[str, *scalars.matching(r"[a-z0-9-]{1,64}", "lower-case letters, digits and -")]


class AwsConfig(StrictModel):
    """AWS credentials, with which the gateway signs each request (Signature Version 4)."""

    region: _Name = Field(description="Region of the service, such as us-west-2.")
    service: _Name = Field(default="bedrock", description="Name of the service in the signature.")
    credentials_secret_ref: SecretKeySelector = Field(
        description="Secret key that holds the credentials, in the format of ~/.aws/credentials: aws_access_key_id, aws_secret_access_key and, for temporary credentials, aws_session_token. Read for each request."
    )
    profile: Annotated[str, *scalars.matching(r"[A-Za-z0-9_.@-]{1,64}", "letters, digits and _.@-")] = Field(
        default="default", description="Profile in that file."
    )


class AuthConfig(StrictModel):
    """How the gateway authenticates at the remote."""

    rules: ClassVar[tuple[Rule, ...]] = (
        MemberOfType(
            (
                ("none", None),
                ("oauth", "oauthConfig"),
                ("apiKey", "apiKeyConfig"),
                ("aws", "awsConfig"),
                ("google", None),
            )
        ),
    )
    type: Literal["none", "oauth", "apiKey", "aws", "google"] = Field(
        description="Kind of authentication. With google, the gateway sends an access token of the service account that it runs as, obtained from Google's metadata server."
    )
    oauth_config: OAuthConfig | None = Field(default=None, description="With type oauth.")
    api_key_config: ApiKeyConfig | None = Field(default=None, description="With type apiKey.")
    aws_config: AwsConfig | None = Field(default=None, description="With type aws.")


def _server_name(text: str) -> str:
    return addresses.parse_host(text)


class TlsConfig(StrictModel):
    """How the remote's certificate is verified (which can't be turned off), and the client certificate for it."""

    rules: ClassVar[tuple[Rule, ...]] = (AllOrNone("certSecretRef", "keySecretRef"), SameSecret())

    ca_secret_ref: SecretKeySelector | None = Field(
        default=None,
        description="CA certificates that the remote is verified against, in PEM; by default the system's.",
    )
    server_name: Annotated[Word, AfterValidator(_server_name)] | None = Field(
        default=None, description="Server name for SNI and certificate verification; by default the host."
    )
    cert_secret_ref: SecretKeySelector | None = Field(
        default=None, description="Client certificate that the gateway presents to the remote, in PEM."
    )
    key_secret_ref: SecretKeySelector | None = Field(
        default=None, description="Private key of the client certificate, in PEM; must be in the same Secret."
    )


class HealthCheckConfig(StrictModel):
    """An active probe of the remote."""

    path: RequestPath = Field(
        description="Path of the probe, below `pathPrefix` or `path.with`, with its own query if any; 200 means healthy."
    )
    period_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(default=10, description="Seconds between probes.")


def _removable(name: str) -> str:
    if name.lower() in scalars.FRAMING_HEADERS:
        raise ValueError(f"{name} can't be removed: the gateway sets it for each connection")
    return name


class RemoteBackendConfig(StrictModel):
    """Where offloaded requests go."""

    rules: ClassVar[tuple[Rule, ...]] = (
        TlsNeedsHttps(),
        OnePath(),
        GoogleForGoogle(),
        CostNeedsPrice(),
        AccountNeedsUsage(),
    )
    scheme: Literal["http", "https"] = Field(default="https", description="Protocol of the remote.")
    host: RemoteHost = Field(
        description="host[:port]; an IPv6 address in brackets. Must be among `allowedRemoteHosts` of the settings."
    )
    path_prefix: AddedPrefix = Field(
        default="/",
        description="Prefix in front of the path of each request to the remote. `$workspace` (the namespace), `$model` and "
        "`$remoteModel` (the model's name at the remote) are replaced.",
    )
    path: PathConfig | None = Field(
        default=None,
        description="Replace a path prefix, instead of prepending `pathPrefix`, for an API that is not below /v1.",
    )
    query: dict[str, Word] = Field(
        default={},
        max_length=100,
        description="Query parameters set on each request to the remote, such as api-version; a client's own parameter of that name is "
        "replaced.",
    )
    headers_to_add: dict[str, str] = Field(
        default={},
        max_length=100,
        description="Headers set on each request to the remote; `$workspace`, `$model` and `$remoteModel` in their values are replaced. "
        "Credentials belong in `authConfig`.",
    )
    model_name: Word | None = Field(
        default=None,
        description="The model's name at the remote; replaces `model` in the request body. Requests for other models stay local. By default the body is not changed.",
    )
    model_names: dict[str, Annotated[Word | None, Field(json_schema_extra={"nullable": True})]] = Field(
        default={},
        max_length=100,
        description="Model names in requests, such as those of LoRA adapters, mapped to their names at the remote; null keeps requests for that model local. Models that are not listed stay local, except `spec.model`.",
    )
    keep_remote_model_name: bool = Field(
        default=False,
        description="Keep the remote's model name in responses. By default, if the name in the request was replaced, `model` in the response is set back to the name that the client sent.",
    )
    auth_config: AuthConfig | None = Field(default=None, description="How the gateway authenticates at the remote.")
    tls: TlsConfig | None = Field(default=None, description="How the remote's certificate is verified.")
    health_check: HealthCheckConfig | None = Field(default=None, description="An active probe of the remote.")
    max_in_flight: AtLeastOne | None = Field(
        default=None,
        description="Maximum concurrent requests at the remote; excess requests are served locally. Unlimited by default.",
    )
    forward_client_authorization: bool = Field(
        default=False,
        description="Forward the client's credentials to the remote: authorization, cookie, x-api-key and similar headers. By default they are removed.",
    )
    headers_to_remove: list[Annotated[Token, AfterValidator(_removable)]] = Field(
        default=[],
        max_length=100,
        description="Further request headers to remove before a request goes to the remote.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    query_to_remove: list[Word] = Field(
        default=[],
        max_length=100,
        description="Query parameters to remove before a request goes to the remote, in addition to those that carry credentials. "
        "Names are compared regardless of case, - and _.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )

    on_status: list[Annotated[int, Field(ge=400, le=599)]] | None = Field(
        default=None,
        max_length=100,
        description="Status codes of the remote that count as failures, so that the request is retried at the next remote or locally (see `onRemoteFailure`); by default 401, 402, 403, 408, 429 and every 5xx. Add 404 if the remote does not serve every model.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    usage: Literal["Read", "Ask", "Ignore"] | None = Field(
        default=None,
        description="How tokens are counted. Read: from the usage that responses report. Ask: also request usage in streams (`stream_options.include_usage`), and uncompressed responses. Ignore: tokens are not counted. By default Ask with a `price` or `budget`, otherwise Read.",
    )
    price: PriceConfig | None = Field(default=None, description="Prices of the remote.")
    budget: BudgetConfig | None = Field(
        default=None,
        description="Spending limit per period. Once it is reached, the remote gets no requests until the period ends; they go to the next remote, or else to local.",
    )

    @classmethod
    def mistakes(cls, given: Mapping[Any, object]) -> Iterator[Mistake]:
        """Check the headers, each reported under its name."""
        yield from super().mistakes(given)
        names = dig(given, ("modelNames",))
        if isinstance(names, Mapping) and "" in names:
            yield Mistake(("modelNames",), "the name of a model can't be empty")
        query = dig(given, ("query",))
        yield from remote_path.query_mistakes(query) if isinstance(query, Mapping) else ()
        yield from remote_path.name_mistakes(given)
        seen = set[str]()
        headers = dig(given, ("headersToAdd",))
        for name, value in headers.items() if isinstance(headers, Mapping) else ():
            if not isinstance(name, str) or not isinstance(value, str):
                continue
            mistake = _header_mistake(name, value)
            if mistake or name.lower() in seen:
                yield Mistake(("headersToAdd", name), mistake or "given twice: header names are case-insensitive")
            seen.add(name.lower())


# Envoy rejects more than 16 KiB in one header, and servers more than a few KiB in total.
_LONGEST_HEADER = 8192


def _header_mistake(name: str, value: str) -> str | None:
    if name.lower() in {"authorization", "proxy-authorization"}:
        return "a credential does not belong in the resource: use authConfig, which reads it from a Secret"
    length = len(f"{name}{value}".encode(errors="surrogatepass"))
    if length > _LONGEST_HEADER:
        return f"expected a header of at most {_LONGEST_HEADER} bytes, got {length}"
    return scalars.header_mistake(name, value)
