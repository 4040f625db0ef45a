"""`metricServiceRef` as users write it: which servers to scrape for Pods metrics, and with which credential and TLS."""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from beamlit_controller.api import addresses
from beamlit_controller.api.model import StrictModel
from beamlit_controller.api.remote import SecretKeySelector
from beamlit_controller.api.remote_rules import TlsNeedsHttps
from beamlit_controller.api.rules import AllOrNone, AtMostOne, Rule
from beamlit_controller.api.scalars import DnsLabel, Port, RequestPath, Word


class MetricBasicAuth(StrictModel):
    """A user name and a password."""

    username: Word = Field(description="The user name.")
    password_secret_ref: SecretKeySelector = Field(description="The Secret key that holds the password.")


class MetricTls(StrictModel):
    """How the servers' certificates are verified, and the client certificate. Verification can't be turned off."""

    rules: ClassVar[tuple[Rule, ...]] = (AllOrNone("certSecretRef", "keySecretRef"),)

    ca_secret_ref: SecretKeySelector | None = Field(
        default=None,
        description="CA certificates that the servers are verified against, in PEM; by default the system's.",
    )
    server_name: Annotated[Word, AfterValidator(addresses.parse_host)] | None = Field(
        default=None,
        description="Server name for SNI and certificate verification, such as the Service's; by default each server's address.",
    )
    cert_secret_ref: SecretKeySelector | None = Field(
        default=None, description="Client certificate for servers that require one, in PEM."
    )
    key_secret_ref: SecretKeySelector | None = Field(
        default=None, description="Private key of the client certificate, in PEM."
    )


class MetricServiceRef(StrictModel):
    """The servers whose own metrics endpoint is read."""

    rules: ClassVar[tuple[Rule, ...]] = (TlsNeedsHttps(), AtMostOne(("bearerTokenSecretRef", "basicAuth")))

    name: DnsLabel = Field(description="The Service's name.")
    target_port: Port = Field(description="Port of the pods that serves the metrics, as a number or by name.")
    path: RequestPath = Field(default="/metrics", description="Path of the metrics.")
    query: dict[str, Annotated[str, Field(max_length=1024)]] = Field(
        default={},
        max_length=20,
        description="Query parameters of the request, such as `model` for a llama.cpp router.",
    )
    scheme: Literal["http", "https"] = Field(default="http", description="Protocol of the metrics endpoint.")
    tls: MetricTls | None = Field(
        default=None, description="How the servers' certificates are verified. Only with scheme https."
    )
    bearer_token_secret_ref: SecretKeySelector | None = Field(
        default=None, description="Bearer token that the servers require, such as llama.cpp's `--api-key`."
    )
    basic_auth: MetricBasicAuth | None = Field(
        default=None, description="User name and password that the servers require."
    )
