"""The marks with which a remote's hop labels responses, and which of them mean that a request failed or that the remote is broken."""

from beamlit_controller.core.spec import REMOTE_FAILURES, RemoteBackend

FAILED = "failed"
DECLINED = "declined"
WITHOUT_CREDENTIAL = "no-credential"
PAUSED = "paused"
NOT_SWITCHED = "not-switched"
"""The server answered an upgrade with 2xx or 3xx: no failure, or one client could take a remote away from others."""

# In gRPC the HTTP status is always 200.
REMOTE_GRPC = {401: 16, 403: 7, 429: 8, 500: 13, 503: 14}
# If the client's own credential is sent, a rejection of the gateway can't be distinguished from a rejection of the client.
REFUSED = (401, 402, 403)
THROTTLED = 429
SERVER_ERRORS = frozenset(range(500, 600))
# Not an HTTP status, or an upgrade that the request did not ask for.
NONSENSE = "(?:[6-9][0-9]{2}|[0-9]{4,}):.*|101:,"


def hop(remote: RemoteBackend) -> str:
    """Return the name with which this remote's hop prefixes its marks."""
    return f"remote:{remote.name}" if remote.name else "remote"


def failed_remote(remote: RemoteBackend) -> str:
    """Return the regular expression of the marks of requests that the remote received and failed."""
    codes = remote.on_status
    if codes == REMOTE_FAILURES and not refuses_us(remote):
        codes = tuple(code for code in codes if code not in REFUSED)
    return _failed(codes)


def broken_remote(remote: RemoteBackend) -> str:
    """Return the regular expression of the marks that count towards ejecting the remote, because it may be broken."""
    counted = {*(REFUSED if refuses_us(remote) else ()), THROTTLED, *SERVER_ERRORS}
    return _failed(tuple(code for code in remote.on_status if code in counted))


def refuses_us(remote: RemoteBackend) -> bool:
    """Return whether rejections by the remote concern this gateway, rather than the credential of a single client."""
    return not remote.forward_client_authorization or remote.auth is not None


def _failed(codes: tuple[int, ...]) -> str:
    every = SERVER_ERRORS.issubset(codes)
    written = [str(code) for code in codes if not (every and code in SERVER_ERRORS)]
    pattern = "|".join((*written, *(("5[0-9][0-9]",) if every else ())))
    grpc = "|".join(str(number) for code, number in REMOTE_GRPC.items() if code in codes)
    return "|".join(
        (FAILED, NONSENSE, *((f"(?:{pattern}):.*",) if pattern else ()), *((f"200:(?:{grpc}),.*",) if grpc else ()))
    )
