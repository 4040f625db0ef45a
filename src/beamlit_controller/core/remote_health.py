"""Judges whether a remote is usable, by the results of the requests that the gateways sent to it.

Only new results count, so without requests the last state is kept. One answered request is enough to be ready;
otherwise the reason is that of most failures.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from beamlit_controller.core.reason import Reason
from beamlit_controller.core.spec import ApiKey, AwsSignature, GoogleToken, OAuth, RemoteBackend, SecretKey

UNAUTHORIZED = (401, 402, 403)
THROTTLED = 429
ERROR = 500


@dataclass(frozen=True, slots=True)
class Attempts:
    """Attempts at the remote since a gateway's start, as (result, status code, count); `servers` is the number of resolved endpoints."""

    counts: tuple[tuple[str, int, int], ...] = ()
    servers: int = 0


NOTHING = Attempts()


@dataclass(frozen=True, slots=True)
class RemoteReady:
    """The condition RemoteReady: its status (True, False or Unknown), reason and message."""

    status: str
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class RemoteAssessment:
    """The condition, and the counters on which it is based."""

    condition: RemoteReady = RemoteReady(
        "Unknown", Reason.REMOTE_NOT_ASKED, "no request has been sent to the remote yet"
    )
    attempts: Attempts = NOTHING


SecretName = Callable[[SecretKey], str]
"""Tells users where the key of a Secret is."""


def in_cluster(key: SecretKey) -> str:
    """Name the key of a Secret in the model's namespace."""
    return f"Secret {key.name}, key {key.key}"


def judge(
    remote: RemoteBackend, previous: RemoteAssessment, attempts: Attempts, *, secret_name: SecretName = in_cluster
) -> RemoteAssessment:
    """Judge by new attempts; without any, the last state is kept. Messages name Secrets by `secret_name`.

    A remote that answers some requests is ready, and the message has the number of failures. Requests that were not
    sent because the limit was reached, or whose client disconnected, are ignored.
    """
    counted = fresh(previous.attempts, attempts)
    failures: Counter[tuple[Reason, int]] = Counter()
    good = 0
    for (result, code), count in counted.items():
        cause = _cause(result, code, servers=attempts.servers)
        if cause is None:
            good += count if result == "answered" else 0
        else:
            failures[(cause, code if result in {"answered", "paused"} else 0)] += count
    if not good and not failures:
        return RemoteAssessment(previous.condition, attempts)
    return RemoteAssessment(_condition(remote, good, failures, secret_name), attempts)


def all_together(several: Iterable[Attempts]) -> Attempts:
    """Sum the attempts of several gateways."""
    counts: Counter[tuple[str, int]] = Counter()
    servers = 0
    for each in several:
        counts.update({(result, code): count for result, code, count in each.counts})
        servers = max(servers, each.servers)
    return Attempts(tuple((result, code, count) for (result, code), count in sorted(counts.items())), servers)


def fresh(before: Attempts, after: Attempts) -> dict[tuple[str, int], int]:
    """Return the difference to earlier counters; a counter that decreased belongs to a gateway that restarted."""
    old = {(result, code): count for result, code, count in before.counts}
    grown = {}
    for result, code, count in after.counts:
        known = old.get((result, code), 0)
        grown[(result, code)] = count - known if count >= known else count
    return {key: count for key, count in grown.items() if count}


def _cause(result: str, code: int, *, servers: int) -> Reason | None:
    if result == "answered":
        return _cause_of_status(code)
    if result == "no-server":
        return Reason.REMOTE_UNHEALTHY if servers else Reason.REMOTE_ADDRESS_UNKNOWN
    return _CAUSES.get(result)


def _cause_of_status(code: int) -> Reason | None:
    if code in UNAUTHORIZED:
        return Reason.REMOTE_REFUSES_CREDENTIAL
    if code == THROTTLED:
        return Reason.REMOTE_THROTTLES
    return Reason.REMOTE_FAILS if code >= ERROR else None


_CAUSES = {
    "tls-name": Reason.REMOTE_CERTIFICATE_FOR_ANOTHER_NAME,
    "tls-expired": Reason.REMOTE_CERTIFICATE_EXPIRED,
    "tls-untrusted": Reason.REMOTE_CERTIFICATE_UNTRUSTED,
    "tls": Reason.TLS_FAILED,
    "credential": Reason.CREDENTIALS_UNREADABLE,
    "timeout": Reason.TIMED_OUT,
    "refused": Reason.CONNECTION_FAILED,
    "reset": Reason.REMOTE_RESETS,
    "paused": Reason.REMOTE_THROTTLES,
}


def _condition(
    remote: RemoteBackend, good: int, failures: Counter[tuple[Reason, int]], secret_name: SecretName
) -> RemoteReady:
    failed = failures.total()
    if not failed:
        return RemoteReady("True", Reason.REMOTE_ANSWERS, f"{remote.host} answered the last requests: {good} of {good}")
    (cause, code), _ = failures.most_common(1)[0]
    counted = f"{failed} of the last {good + failed} attempts failed"
    message = f"{_words(remote, cause, code, secret_name)}; {counted}"
    if good:
        return RemoteReady("True", Reason.REMOTE_ANSWERS, message)
    return RemoteReady("False", cause, message)


def _words(remote: RemoteBackend, cause: Reason, code: int, secret_name: SecretName) -> str:
    if cause is Reason.CREDENTIALS_UNREADABLE:
        return _no_credential(remote, secret_name)
    name = remote.tls.server_name or remote.host
    address = f"[{remote.host}]:{remote.port}" if ":" in remote.host else f"{remote.host}:{remote.port}"
    return _WORDS.get(cause, "{host} answers {code}").format(host=remote.host, address=address, name=name, code=code)


_WORDS = {
    Reason.REMOTE_ADDRESS_UNKNOWN: "DNS has no address for {host}",
    Reason.REMOTE_UNHEALTHY: "{host} fails its health check",
    Reason.REMOTE_CERTIFICATE_EXPIRED: "the certificate of {host} has expired",
    Reason.REMOTE_CERTIFICATE_FOR_ANOTHER_NAME: "the certificate of {host} is not for {name}",
    Reason.REMOTE_CERTIFICATE_UNTRUSTED: "the certificate of {host} is signed by an untrusted CA",
    Reason.TLS_FAILED: "the TLS handshake with {host} failed",
    Reason.TIMED_OUT: "connecting to {address} timed out",
    Reason.CONNECTION_FAILED: "{address} refused the connection",
    Reason.REMOTE_RESETS: "{host} closed the connection before answering",
}


def _no_credential(remote: RemoteBackend, secret_name: SecretName) -> str:
    match remote.auth:
        case ApiKey(secret=key):
            return f"{secret_name(key)}: missing, empty, or not valid in a header"
        case OAuth(client_secret=key, token_url=url):
            return f"no token from {url}: it does not answer, or {secret_name(key)} is missing, empty or wrong"
        case AwsSignature(credentials=key, profile=profile):
            return f"{secret_name(key)}: missing, or without an access key of profile {profile}"
        case GoogleToken():
            return "no token from Google's metadata server: there is none, or the gateway can't reach it"
        case None:
            return "the gateway failed on a credential that the spec does not name"
