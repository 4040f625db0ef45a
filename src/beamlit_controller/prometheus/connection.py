"""How to connect to a Prometheus: address, credentials, certificates. The files are read for each use."""

import base64
import re
import ssl
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import httpx2

from beamlit_controller.api import regular_file
from beamlit_controller.core.cloud_identity import CloudIdentity
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.prometheus.sigv4 import AwsSigner

NAMESPACE: Final = "$namespace"


@dataclass(frozen=True, slots=True)
class HttpBasicAuth:
    """A user name, and the file that holds the password."""

    username: str
    password_file: Path


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """CA file (None: the system's), client certificate and key, and the server name to verify (None: the host)."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """How to connect to a Prometheus.

    `address` is an http or https URL whose path is the prefix of `/api/v1/query`. `$namespace` in the value of a header
    or a query parameter is replaced by the model's namespace. `timeout` is for one query in total. A series whose
    newest sample is older than `stale_after` has no value. Raises ValueError if it can never work.
    """

    address: str
    bearer_token_file: Path | None = None
    basic_auth: HttpBasicAuth | None = None
    identity: CloudIdentity | None = None
    tls: TlsFiles = TlsFiles()
    headers: tuple[tuple[str, str], ...] = ()
    query_parameters: tuple[tuple[str, str], ...] = ()
    timeout: timedelta = timedelta(seconds=3)
    stale_after: timedelta = timedelta(seconds=90)

    def __post_init__(self) -> None:
        url = _url(self.address)
        if url.scheme not in {"http", "https"} or not url.host or url.userinfo or url.query or url.fragment:
            raise ValueError("address: expected http(s)://host[:port][/path], without credentials, query and fragment")
        if sum(map(bool, (self.bearer_token_file, self.basic_auth, self.identity))) > 1:
            raise ValueError("expected at most one of bearerTokenFile, basicAuth and a cloud's identity")
        for name, value in self.headers:
            if not _HEADER_NAME.fullmatch(name) or not _is_header_value(value):
                raise ValueError(f"headers: {name!r} can't be sent, expected visible ASCII")
        if min(self.timeout, self.stale_after) <= timedelta(0):
            raise ValueError("expected timeout and stale_after above 0")

    def asked_for(self, namespace: str) -> "Connection":
        """Return the connection with `$namespace` replaced."""
        headers = tuple((name, value.replace(NAMESPACE, namespace)) for name, value in self.headers)
        parameters = tuple((name, value.replace(NAMESPACE, namespace)) for name, value in self.query_parameters)
        return replace(self, headers=headers, query_parameters=parameters)

    @property
    def url(self) -> httpx2.URL:
        """The URL of instant queries."""
        return _url(f"{self.address.rstrip('/')}/api/v1/query")

    @property
    def range_url(self) -> httpx2.URL:
        """The URL of range queries."""
        return _url(f"{self.address.rstrip('/')}/api/v1/query_range")

    @property
    def secrets(self) -> tuple[str, ...]:
        """The header and parameter values that may be secrets: all except very short ones."""
        return tuple(value for _, value in (*self.headers, *self.query_parameters) if len(value) >= _SHORTEST_SECRET)

    @property
    def where(self) -> str:
        """Host and port, for messages."""
        return self.url.netloc.decode()


@dataclass(frozen=True, slots=True)
class Credentials:
    """The value of the Authorization header, or the signer of requests, and the secrets that must not appear in messages."""

    authorization: str | None = None
    secrets: tuple[str, ...] = ()
    signer: AwsSigner | None = None


def credentials(connection: Connection) -> Credentials | Missing:
    """Read the token or password from its file."""
    if connection.bearer_token_file:
        token = _secret(connection.bearer_token_file)
        if isinstance(token, Missing):
            return token
        if not _is_header_value(token):
            return Missing(
                Reason.CREDENTIALS_UNREADABLE, f"expected one line of ASCII in {connection.bearer_token_file}"
            )
        return Credentials(f"Bearer {token}", (token,))
    if connection.basic_auth:
        password = _secret(connection.basic_auth.password_file)
        if isinstance(password, Missing):
            return password
        pair = base64.b64encode(f"{connection.basic_auth.username}:{password}".encode()).decode()
        return Credentials(f"Basic {pair}", (pair, password))
    return Credentials()


def trust(tls: TlsFiles) -> ssl.SSLContext | Missing:
    """Load the certificates from their files."""
    try:
        for file in (tls.ca_file, tls.cert_file, tls.key_file):
            regular_file.expect(file)
        context = ssl.create_default_context(cafile=tls.ca_file) if tls.ca_file else _system_trust()
        if tls.cert_file:
            # Without a password, OpenSSL would prompt for one at the terminal and block.
            context.load_cert_chain(tls.cert_file, tls.key_file, password="")
    except (OSError, ValueError) as error:
        files = ", ".join(str(file) for file in (tls.ca_file, tls.cert_file, tls.key_file) if file)
        why = getattr(error, "strerror", None) or str(error)
        return Missing(Reason.TLS_FAILED, f"can't load {files or 'the system certificates'}: {why}")
    return context


def fingerprint(tls: TlsFiles) -> tuple[tuple[int, int, int], ...]:
    """Return a value that changes when one of the certificate files does."""
    return tuple(_version(file) for file in (tls.ca_file, tls.cert_file, tls.key_file) if file)


def _url(address: str) -> httpx2.URL:
    try:
        return httpx2.URL(address)
    except httpx2.InvalidURL as error:
        raise ValueError(f"address: expected http(s)://host[:port][/path]: {error}") from error


def _secret(file: Path) -> str | Missing:
    try:
        secret = regular_file.text(file, regular_file.LARGEST_SECRET).strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        return Missing(Reason.CREDENTIALS_UNREADABLE, f"can't read {file}: {why}")
    return secret or Missing(Reason.CREDENTIALS_UNREADABLE, f"expected a token or a password in {file}, it is empty")


def _is_header_value(value: str) -> bool:
    return value.isascii() and value.isprintable() and value == value.strip()


def _system_trust() -> ssl.SSLContext:
    return httpx2.create_ssl_context(trust_env=False)


def _version(file: Path) -> tuple[int, int, int]:
    try:
        stat = file.stat()
    except OSError:
        return (0, 0, 0)
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


_SHORTEST_SECRET = 6
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
