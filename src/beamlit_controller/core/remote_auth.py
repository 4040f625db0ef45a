"""How a gateway authenticates at a remote. Each method is a value of its own, and Secrets are references."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A reference to a key of a Secret in the model's namespace, never its value."""

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


@dataclass(frozen=True, slots=True)
class AwsSignature:
    """Each request is signed with AWS Signature Version 4. `credentials` is a file like `~/.aws/credentials` that has this profile."""

    credentials: SecretKey
    region: str
    service: str
    profile: str = "default"


@dataclass(frozen=True, slots=True)
class GoogleToken:
    """An access token of the service account that the gateway runs as, from Google's metadata server."""


RemoteAuth = OAuth | ApiKey | AwsSignature | GoogleToken
