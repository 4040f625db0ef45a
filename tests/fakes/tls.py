"""Certificates of an authority of our own, for servers and clients on 127.0.0.1."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class Pair:
    """The files of a certificate and its key."""

    cert: Path
    key: Path


class Authority:
    """Issues certificates into a folder."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        usage = x509.BasicConstraints(ca=True, path_length=0)
        self.cert = folder / f"{name}.pem"
        self.cert.write_bytes(self._signed(name, self._key.public_key(), usage, ()))

    def issue(self, name: str, *others: str, password: bytes | None = None, expired: bool = False) -> Pair:
        """Issue a certificate for host names and addresses, its key encrypted if there is a password."""
        key = ec.generate_private_key(ec.SECP256R1())
        pair = Pair(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        usage = x509.BasicConstraints(ca=False, path_length=None)
        names = tuple(map(_subject, (name, *others)))
        pair.cert.write_bytes(self._signed(name, key.public_key(), usage, names, expired=expired))
        pair.key.write_bytes(_pem(key, password))
        return pair

    def server(self, name: str, *, wants_client: bool = False, expired: bool = False) -> ssl.SSLContext:
        """Return the TLS side of a server that is called `name`."""
        pair = self.issue(name, expired=expired)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.cert)
        context.load_cert_chain(pair.cert, pair.key)
        context.verify_mode = ssl.CERT_REQUIRED if wants_client else ssl.CERT_NONE
        return context

    def _signed(
        self,
        name: str,
        key: ec.EllipticCurvePublicKey,
        usage: x509.BasicConstraints,
        names: tuple[x509.GeneralName, ...],
        *,
        expired: bool = False,
    ) -> bytes:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + (timedelta(minutes=-1) if expired else timedelta(days=1)))
            .add_extension(usage, critical=True)
            .add_extension(_uses(ca=usage.ca), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            # From Python 3.13 on, whoever verifies wants to find this.
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _uses(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey, password: bytes | None) -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
