"""Cross-field rules of a remote."""

import re
from collections.abc import Iterator, Mapping

from beamlit_controller.api.rules import Cel, Mistake, dig

_GOOGLE = r"[a-z0-9.-]+\.googleapis\.com(:443)?"


class TlsNeedsHttps:
    """`tls` requires scheme https; with http it would promise a verification that does not happen."""

    def mistakes(self, given: Mapping[str, object]) -> Iterator[Mistake]:
        """Report `tls`."""
        if given.get("scheme") == "http" and "tls" in given:
            yield Mistake(("tls",), "may not be set with scheme http: nothing is encrypted there")

    def cel(self) -> Iterator[Cel]:
        """Compare with the scheme, which has a default."""
        yield Cel("!has(self.tls) || self.scheme == 'https'", "tls needs scheme https")


class SameSecret:
    """A certificate and its key must be in one Secret, so that both are rotated atomically."""

    def mistakes(self, given: Mapping[str, object]) -> Iterator[Mistake]:
        """Report the key."""
        cert, key = dig(given, ("certSecretRef", "name")), dig(given, ("keySecretRef", "name"))
        if isinstance(cert, str) and isinstance(key, str) and cert != key:
            yield Mistake(("keySecretRef", "name"), f"expected the Secret of certSecretRef, {cert}, got {key}")

    def cel(self) -> Iterator[Cel]:
        """Compare the names."""
        yield Cel(
            "!has(self.certSecretRef) || !has(self.keySecretRef) || self.certSecretRef.name == self.keySecretRef.name",
            "certSecretRef and keySecretRef need the same Secret",
        )


class GoogleForGoogle:
    """A token of type google is only sent to Google's APIs, because it may grant everything that the gateway's service account can do."""

    def mistakes(self, given: Mapping[str, object]) -> Iterator[Mistake]:
        """Report the type."""
        host, scheme = given.get("host"), given.get("scheme", "https")
        if dig(given, ("authConfig", "type")) != "google" or not isinstance(host, str):
            return
        if scheme != "https" or not re.fullmatch(_GOOGLE, host):
            message = (
                "google needs scheme https and a host below googleapis.com, because its token is shown to Google only"
            )
            yield Mistake(("authConfig", "type"), message)

    def cel(self) -> Iterator[Cel]:
        """Match the host against the pattern."""
        pattern = _GOOGLE.replace("\\", "\\\\")
        yield Cel(
            "!has(self.authConfig) || self.authConfig.type != 'google'"
            f" || (self.scheme == 'https' && self.host.matches('^{pattern}$'))",
            "authConfig.type google needs scheme https and a host below googleapis.com",
        )
