"""Credentials of a cloud, by its own library. Each library is an optional dependency, imported when it is first needed.

The libraries block and may hang, so they run in a thread of their own, at most one per Prometheus.
"""

import asyncio
import json
import logging
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

from beamlit_controller.api import regular_file
from beamlit_controller.controller.deadline import Deadline
from beamlit_controller.core.cloud_identity import AwsIdentity, AzureIdentity, CloudIdentity, GoogleIdentity
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.prometheus.connection import Credentials
from beamlit_controller.prometheus.http_answer import shown
from beamlit_controller.prometheus.sigv4 import AwsSigner

if TYPE_CHECKING:
    from google.auth.credentials import Credentials as GoogleCredentials

TokenProvider = Callable[[], Credentials]
"""Returns the current credentials; blocks while they are fetched, and raises the library's exceptions."""


class CloudCredentials:
    """The credentials of one identity. The library caches and renews them."""

    def __init__(self, identity: CloudIdentity) -> None:
        self._identity = identity
        self._provider: TokenProvider | None = None
        self._fetching: Future[Credentials | Missing] | None = None

    async def get(self, *, within: float) -> Credentials | Missing:
        """Return the credentials, or why there are none. Concurrent callers share one request."""
        if self._fetching is None or self._fetching.done():
            self._fetching = _in_thread(self._fetch)
        try:
            async with Deadline(within):
                return await asyncio.shield(asyncio.wrap_future(self._fetching))
        except TimeoutError:
            return Missing(Reason.CREDENTIALS_UNREADABLE, f"no credentials of {self._cloud} within {within:g} s")

    @property
    def _cloud(self) -> str:
        return _CLOUDS[type(self._identity)]

    def _fetch(self) -> Credentials | Missing:
        try:
            self._provider = self._provider or provider(self._identity)
            return self._provider()
        except ImportError as error:
            message = f"{error.name} is not installed: install beamlit-controller[{_EXTRAS[type(self._identity)]}]"
            return Missing(Reason.CREDENTIALS_UNREADABLE, message)
        except Exception as error:  # noqa: BLE001 # three libraries, each with errors of its own and of what is below it
            said = shown(failed_attempt(str(error)) or type(error).__name__)
            return Missing(Reason.CREDENTIALS_UNREADABLE, f"no credentials of {self._cloud}: {said}")


def provider(identity: CloudIdentity) -> TokenProvider:
    """Return the token provider of an identity. Raises ImportError if the library is not installed."""
    for library in _LIBRARIES:
        # Their warnings, with a traceback for each query, repeat what the metric's reason says.
        logging.getLogger(library).setLevel(logging.CRITICAL)
    match identity:
        case AwsIdentity():
            return _aws(identity)
        case GoogleIdentity():
            return _google(identity)
        case AzureIdentity():
            return _azure(identity)


def _aws(identity: AwsIdentity) -> TokenProvider:
    from botocore.session import get_session  # noqa: PLC0415 - an extra that not everybody has

    session = get_session()

    def keys() -> Credentials:
        found = session.get_credentials()
        if found is None:
            raise LookupError(
                "expected AWS credentials in the environment, a profile, a web identity or at an instance"
            )
        frozen = found.get_frozen_credentials()
        signer = AwsSigner(identity, frozen.access_key, frozen.secret_key, frozen.token)
        return Credentials(secrets=tuple(filter(None, (frozen.secret_key, frozen.token))), signer=signer)

    return keys


def _google(identity: GoogleIdentity) -> TokenProvider:
    import google.auth  # noqa: PLC0415 - an extra that not everybody has
    from google.auth.transport.requests import Request  # noqa: PLC0415 - the same

    found = (
        google.auth.default(scopes=_GOOGLE_SCOPES)[0]
        if identity.credentials_file is None
        else _of_file(Path(identity.credentials_file))
    )
    request = Request()

    def token() -> Credentials:
        if not found.valid:
            found.refresh(request)  # type: ignore[no-untyped-call] # it has no annotations
        return _bearer(str(found.token))

    return token


def _of_file(path: Path) -> "GoogleCredentials":
    """Return the credentials of a file by its type, as Google advises: other types could name a program to run."""
    from google.auth import identity_pool  # noqa: PLC0415 - an extra that not everybody has
    from google.oauth2 import service_account  # noqa: PLC0415 - the same

    content = json.loads(regular_file.text(path, regular_file.LARGEST_SECRET))
    loaders = {
        "service_account": service_account.Credentials.from_service_account_info,
        "external_account": identity_pool.Credentials.from_info,
    }
    kind = content.get("type") if isinstance(content, dict) else None
    if kind not in loaders:
        raise ValueError(f"expected type service_account or external_account in {path}, got {kind!r}")
    found: GoogleCredentials = loaders[kind](content, scopes=_GOOGLE_SCOPES)  # type: ignore[no-untyped-call] # the same
    return found


def _azure(identity: AzureIdentity) -> TokenProvider:
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415 - an extra that not everybody has

    found = DefaultAzureCredential(
        managed_identity_client_id=identity.client_id,
        workload_identity_client_id=identity.client_id,
        exclude_shared_token_cache_credential=True,
        exclude_visual_studio_code_credential=True,
        exclude_powershell_credential=True,
        exclude_developer_cli_credential=True,
        exclude_broker_credential=True,
    )
    return lambda: _bearer(found.get_token(identity.scope).token)


def failed_attempt(text: str) -> str:
    """Return the relevant failure from a text in which Azure's library lists each credential that it tried."""
    head, *attempts = text.split("\n\t")
    if not attempts or not head.startswith("DefaultAzureCredential"):
        return text
    last = re.split(r"\n(?:Content:|To mitigate|Visit)", attempts[-1])[0]
    if not _UNAVAILABLE.search(last):
        return last
    return f"none is configured of {', '.join(each.partition(':')[0] for each in attempts)}"


def _bearer(token: str) -> Credentials:
    return Credentials(f"Bearer {token}", (token,))


def _in_thread(fetch: Callable[[], Credentials | Missing]) -> Future[Credentials | Missing]:
    """Run in a daemon thread: one that hangs delays neither others nor the end of the process."""
    future: Future[Credentials | Missing] = Future()
    threading.Thread(target=lambda: future.set_result(fetch()), name="cloud-credentials", daemon=True).start()
    return future


_UNAVAILABLE = re.compile(r"unavailable|not found on path|not configured", re.IGNORECASE)
_GOOGLE_SCOPES = ("https://www.googleapis.com/auth/monitoring.read",)
_LIBRARIES = ("azure", "botocore", "google", "msal")
_CLOUDS = {AwsIdentity: "AWS", GoogleIdentity: "Google", AzureIdentity: "Azure"}
_EXTRAS = {AwsIdentity: "aws", GoogleIdentity: "google", AzureIdentity: "azure"}
