"""`metricServiceRef` as users write it: where the servers' own metrics are, and how the controller may read them."""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from beamlit_controller.api import addresses
from beamlit_controller.api.model import StrictModel
from beamlit_controller.api.remote import SecretKeySelector, TlsNeedsHttps
from beamlit_controller.api.rules import AtMostOne, Rule
from beamlit_controller.api.scalars import DnsLabel, Port, RequestPath, Word


class MetricBasicAuth(StrictModel):
    """User and password."""

    username: Word = Field(description="The user.")
    password_secret_ref: SecretKeySelector = Field(description="Where the password is.")


class MetricTls(StrictModel):
    """How the servers' certificates are verified. They always are."""

    ca_secret_ref: SecretKeySelector | None = Field(
        default=None, description="The certificates of the authority to trust, in PEM; by default the system's."
    )
    server_name: Annotated[Word, AfterValidator(addresses.parse_host)] | None = Field(
        default=None,
        description="The name to ask for (SNI) and to verify, such as that of the Service; by default each server's address.",
    )


class MetricServiceRef(StrictModel):
    """Where the servers' own metrics are read."""

    rules: ClassVar[tuple[Rule, ...]] = (TlsNeedsHttps(), AtMostOne(("bearerTokenSecretRef", "basicAuth")))

    name: DnsLabel = Field(description="The Service's name.")
    target_port: Port = Field(description="The port of its pods that has the metrics, as a number or by name.")
    path: RequestPath = Field(default="/metrics", description="The path of the metrics.")
    query: dict[str, Annotated[str, Field(max_length=1024)]] = Field(
        default={}, max_length=20, description="Parameters of the request, such as `model` of a llama.cpp router."
    )
    scheme: Literal["http", "https"] = Field(default="http", description="How the servers are spoken to.")
    tls: MetricTls | None = Field(
        default=None, description="How the servers' certificates are verified. With scheme https."
    )
    bearer_token_secret_ref: SecretKeySelector | None = Field(
        default=None, description="A token that the servers want, such as the one of llama.cpp's `--api-key`."
    )
    basic_auth: MetricBasicAuth | None = Field(default=None, description="A user and a password that the servers want.")
