"""Collects the Secret keys that a remote needs."""

from beamlit_controller.core.remote_auth import ApiKey, AwsSignature, GoogleToken, OAuth, SecretKey
from beamlit_controller.core.spec import RemoteBackend


def of(remote: RemoteBackend) -> tuple[SecretKey, ...]:
    """Return all Secret keys of a remote."""
    found = (credential(remote), remote.tls.ca, remote.tls.cert, remote.tls.key)
    return tuple(key for key in found if key is not None)


def credential(remote: RemoteBackend) -> SecretKey | None:
    """Return the Secret key of the credential, if there is one."""
    match remote.auth:
        case None | GoogleToken():
            return None
        case ApiKey(secret=key) | OAuth(client_secret=key) | AwsSignature(credentials=key):
            return key
