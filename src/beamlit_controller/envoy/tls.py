"""TLS to the remote and to the RTDS server: certificates are always verified, against one CA and for one name."""

from beamlit_controller.core.spec import RemoteBackend
from beamlit_controller.envoy import addresses, identity
from beamlit_controller.envoy.gateway_params import GatewayParams
from beamlit_controller.envoy.messages import Message, extension

TRUST = "remote_trust"
TOKEN_TRUST = "token_trust"  # noqa: S105 - a name of what is trusted
SHOWN = "client_certificate"
SHARES_TRUST = "shares_trust"


def transport_socket(
    name: str, backend: RemoteBackend, params: GatewayParams, *, trust: str, alpn: list[str] | None = None
) -> Message:
    """Return the transport socket for the server with this name; by default the cluster's protocols determine the ALPN."""
    ca, trust_kind = backend.tls.ca, trust
    trust = identity.named(trust, backend)
    source = params.watched_with(file_of(trust), ca) if ca else params.watched(file_of(trust))
    return extension(
        "envoy.transport_sockets.tls",
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        sni="" if addresses.is_ip(name) else name,  # RFC 6066: SNI has no IP addresses
        common_tls_context={
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
            "alpn_protocols": alpn or [],
            **(_shown(backend, params) if trust_kind == TRUST else {}),
            "validation_context_sds_secret_config": {"name": trust, "sds_config": source},
        },
    )


def shown(backend: RemoteBackend, params: GatewayParams) -> dict[str, Message]:
    """Return the SDS resource of the client certificate for the remote, by the file that contains it."""
    cert, key = backend.tls.cert, backend.tls.key
    if cert is None or key is None:
        return {}
    name = identity.named(SHOWN, backend)
    pair = {
        "certificate_chain": {"filename": params.secret(cert)},
        "private_key": {"filename": params.secret(key)},
    }
    return {file_of(name): {"name": name, "tls_certificate": pair}}


def _shown(backend: RemoteBackend, params: GatewayParams) -> Message:
    if backend.tls.cert is None:
        return {}
    name = identity.named(SHOWN, backend)
    source = params.watched_with(file_of(name), backend.tls.cert)
    return {"tls_certificate_sds_secret_configs": [{"name": name, "sds_config": source}]}


def trust_in(name: str, backend: RemoteBackend, params: GatewayParams, *, trust: str) -> Message:
    """Return the SDS resource of the trusted CA: a file of its own, so that Envoy reloads it when the CA's file is replaced."""
    ca = backend.tls.ca
    names: Message = {"san_type": "IP_ADDRESS" if addresses.is_ip(name) else "DNS", "matcher": {"exact": name}}
    return {
        "name": trust,
        "validation_context": {
            "trusted_ca": {"filename": params.secret(ca) if ca else params.system_ca},
            "match_typed_subject_alt_names": [names],
        },
    }


def to_rtds_server(params: GatewayParams) -> Message:
    """Return the transport socket to the RTDS server."""
    return extension(
        "envoy.transport_sockets.tls",
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        sni=_share_server(params),
        common_tls_context={
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
            "alpn_protocols": ["h2"],
            "validation_context_sds_secret_config": {
                "name": SHARES_TRUST,
                "sds_config": params.watched(file_of(SHARES_TRUST)),
            },
        },
    )


def rtds_trust(params: GatewayParams) -> Message:
    """Return the SDS resource of the RTDS server's CA, so that Envoy reloads it when the CA is replaced."""
    return {
        "name": SHARES_TRUST,
        "validation_context": {
            "trusted_ca": {"inline_string": params.shares_ca},
            "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": _share_server(params)}}],
        },
    }


def file_of(trust: str) -> str:
    """Return the name of the file with the trusted CA."""
    return f"sds-{trust}.json"


def name_of(backend: RemoteBackend) -> str:
    """Return the name that the remote's certificate must have."""
    return backend.tls.server_name or backend.host


def _share_server(params: GatewayParams) -> str:
    host, _ = addresses.split(params.shares)
    return host.rstrip(".")
