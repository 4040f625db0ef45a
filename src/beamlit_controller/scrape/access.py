"""The URL, credential, trusted CAs and client certificate for a model's servers. Secret files are read each round, so they can be rotated.

A missing or unreadable file is `Missing` with the reason CredentialsUnreadable.
"""

import base64
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import httpx2

from beamlit_controller.api import regular_file
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.core.spec import (
    BasicCredential,
    MetricService,
    MetricServiceTls,
    ModelKey,
    Scheme,
    SecretKey,
)

SecretFile = Callable[[ModelKey, SecretKey], Path | None]
"""Returns the file of a key of a Secret in the model's namespace; None if no directory of Secrets is configured."""


@dataclass(frozen=True, slots=True)
class Access:
    """The parts of a request to a server; `hide` are secrets that must not appear in messages."""

    scheme: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    server_name: str | None = None
    hide: tuple[str, ...] = ()

    def url(self, endpoint: str) -> str:
        """Return the URL of a server's metrics."""
        return f"{self.scheme}://{endpoint}{self.target}"


@dataclass(frozen=True, slots=True)
class Trust:
    """The TLS context to verify servers, with the client certificate; a changed `version` means a changed context."""

    context: ssl.SSLContext
    version: object = None


def access(key: ModelKey, service: MetricService, file: SecretFile) -> Access | Missing:
    """Return the access to a model's servers, reading the credential from its file; Missing if it can't be read."""
    authorization = _authorization(key, service, file)
    if isinstance(authorization, Missing):
        return authorization
    header, hide = authorization
    headers = (("authorization", header),) if header else ()
    return Access(service.scheme, _target(service), headers, service.tls.server_name, hide)


def trust(key: ModelKey, service: MetricService, file: SecretFile, *, before: Trust | None) -> Trust | Missing:
    """Return the TLS context of a model, reusing the previous one if its files have not changed."""
    if service.scheme is not Scheme.HTTPS:
        return before if before and before.version == "none" else Trust(_NOBODY, "none")
    if not service.tls.secrets:
        return before if before and before.version == "system" else Trust(_system(), "system")
    paths = {secret: file(key, secret) for secret in service.tls.secrets}
    if unknown := next((secret for secret, path in paths.items() if path is None), None):
        return _no_secrets(unknown)
    version = tuple(_version(path) for path in paths.values() if path)
    if before and before.version == version:
        return before
    context = _context(service.tls, paths)
    return context if isinstance(context, Missing) else Trust(context, version)


def _context(tls: MetricServiceTls, paths: Mapping[SecretKey, Path | None]) -> ssl.SSLContext | Missing:
    ca, cert = (paths[tls.ca] if tls.ca else None), (paths[tls.cert] if tls.cert else None)
    loading = tls.ca
    try:
        regular_file.expect(ca)
        context = ssl.create_default_context(cafile=ca) if ca else _system()
        loading = tls.cert
        if cert:
            regular_file.expect(cert)
            regular_file.expect(paths[tls.key] if tls.key else None)
            # Without a password, OpenSSL would prompt for one at the terminal and block.
            context.load_cert_chain(cert, paths[tls.key] if tls.key else None, password="")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error) or "it has no certificate"
        return Missing(Reason.TLS_FAILED, f"can't load {_said(loading) if loading else 'the certificates'}: {why}")
    return context


def _authorization(key: ModelKey, service: MetricService, file: SecretFile) -> tuple[str, tuple[str, ...]] | Missing:
    credential = service.credential
    if credential is None:
        return "", ()
    reference = credential.password if isinstance(credential, BasicCredential) else credential
    secret = _secret(key, reference, file)
    if isinstance(secret, Missing):
        return secret
    if isinstance(credential, BasicCredential):
        pair = base64.b64encode(f"{credential.username}:{secret}".encode()).decode()
        return f"Basic {pair}", (pair, secret)
    if not secret.isascii() or not secret.isprintable():
        return Missing(Reason.CREDENTIALS_UNREADABLE, f"expected one line of ASCII in {_said(reference)}")
    return f"Bearer {secret}", (secret,)


def _secret(key: ModelKey, reference: SecretKey, file: SecretFile) -> str | Missing:
    path = file(key, reference)
    if path is None:
        return _no_secrets(reference)
    try:
        secret = regular_file.text(path, regular_file.LARGEST_SECRET).strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        return Missing(Reason.CREDENTIALS_UNREADABLE, f"can't read {_said(reference)} ({path}): {why}")
    return secret or Missing(
        Reason.CREDENTIALS_UNREADABLE, f"expected a token or a password in {_said(reference)} ({path}), it is empty"
    )


def _said(reference: SecretKey) -> str:
    return f"key {reference.key} of Secret {reference.name}"


def _no_secrets(reference: SecretKey) -> Missing:
    message = f"can't read {_said(reference)}: config.metricInformer.secretsDirectory must be set to the directory of the Secrets"
    return Missing(Reason.CREDENTIALS_UNREADABLE, message)


def _target(service: MetricService) -> str:
    if not service.query:
        return service.path
    return f"{service.path}{'&' if '?' in service.path else '?'}{urlencode(service.query)}"


def _version(path: Path) -> object:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _system() -> ssl.SSLContext:
    return httpx2.create_ssl_context(trust_env=False)


_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without a CA, for plain HTTP
