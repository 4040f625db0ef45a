"""TLS to the remote and to the share server: a certificate is always verified, by one CA and for one name."""

from beamlit_controller.core.spec import RemoteBackend
from beamlit_controller.envoy import addresses
from beamlit_controller.envoy.messages import Message, extension
from beamlit_controller.envoy.place import Place

TRUST = "remote_trust"
TRUST_FILE = f"sds-{TRUST}.json"
SHARES_TRUST = "shares_trust"
SHARES_TRUST_FILE = f"sds-{SHARES_TRUST}.json"


def transport_socket(backend: RemoteBackend, place: Place, alpn: list[str]) -> Message:
    """Give the transport socket to the remote; without `alpn` the cluster offers the protocols that it speaks."""
    name = _name(backend)
    return extension(
        "envoy.transport_sockets.tls",
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        sni="" if addresses.is_ip(name) else name,  # RFC 6066: no addresses in SNI
        common_tls_context={
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
            "alpn_protocols": alpn,
            "validation_context_sds_secret_config": {"name": TRUST, "sds_config": place.watched(TRUST_FILE)},
        },
    )


def trust(backend: RemoteBackend, place: Place) -> Message:
    """Give the Secret of what is trusted: a file of its own, so that Envoy follows when the CA's file is exchanged."""
    name = _name(backend)
    ca = backend.tls.ca
    names: Message = {"san_type": "IP_ADDRESS" if addresses.is_ip(name) else "DNS", "matcher": {"exact": name}}
    return {
        "name": TRUST,
        "validation_context": {
            "trusted_ca": {"filename": f"{place.secrets}/{ca.name}/{ca.key}" if ca else place.system_ca},
            "match_typed_subject_alt_names": [names],
        },
    }


def to_shares(place: Place) -> Message:
    """Give the transport socket to the share server."""
    return extension(
        "envoy.transport_sockets.tls",
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        sni=_share_server(place),
        common_tls_context={
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
            "alpn_protocols": ["h2"],
            "validation_context_sds_secret_config": {
                "name": SHARES_TRUST,
                "sds_config": place.watched(SHARES_TRUST_FILE),
            },
        },
    )


def shares_trust(place: Place) -> Message:
    """Give the Secret of what the share server is verified against, so that Envoy follows when the CA is exchanged."""
    return {
        "name": SHARES_TRUST,
        "validation_context": {
            "trusted_ca": {"inline_string": place.shares_ca},
            "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": _share_server(place)}}],
        },
    }


def _share_server(place: Place) -> str:
    host, _ = addresses.split(place.shares)
    return host.rstrip(".")


def _name(backend: RemoteBackend) -> str:
    return backend.tls.server_name or backend.host
