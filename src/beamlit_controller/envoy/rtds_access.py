"""Authentication of the RTDS server: a token per model for gateways, and a certificate that can be rotated."""

import hashlib
import hmac
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

_TOKEN = re.compile(r"Bearer [0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of all models, derived from one key: a gateway knows its own and can't derive others."""

    key: bytes

    def token_of(self, name: str) -> str:
        """Return the token of a model, by `namespace/name`."""
        return hmac.new(self.key, name.encode(), hashlib.sha256).hexdigest()

    @staticmethod
    def is_any_token(authorization: str) -> bool:
        """Return whether the Authorization header has the form of a token, of any model."""
        return _TOKEN.fullmatch(authorization) is not None

    def accepts(self, name: str, authorization: str) -> bool:
        """Return whether the Authorization header has the token of the model."""
        return hmac.compare_digest(f"Bearer {self.token_of(name)}".encode(), authorization.encode())


@dataclass(frozen=True, slots=True)
class Certificate:
    """The server's certificate chain and key, in PEM files that are read for every new connection."""

    chain: Path
    key: Path

    def credentials(self) -> Any:  # noqa: ANN401 - of grpc, which carries no types
        """Return the credentials for grpc. OSError if a file can't be read."""
        first = self._configuration()
        return grpc.dynamic_ssl_server_credentials(first, self._present, require_client_authentication=False)

    def _configuration(self) -> Any:  # noqa: ANN401 - the same
        pair = (self.key.read_bytes(), self.chain.read_bytes())
        return grpc.ssl_server_certificate_configuration([pair])

    def _present(self) -> Any:  # noqa: ANN401 - the same
        """Return the current files; while they can't be read, grpc continues with the last ones."""
        try:
            return self._configuration()
        except OSError:
            return None
