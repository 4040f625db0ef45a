"""Common parts of clusters: endpoint discovery, protocol, and circuit breakers without unintended limits."""

from collections.abc import Iterable, Mapping

from beamlit_controller.envoy import addresses
from beamlit_controller.envoy.messages import Message, extension, typed

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

MANY = 1_000_000

MOST_BUFFERED = 128 * 1024
"""Maximum number of bytes buffered per connection, 1 MiB by default; what may be retried is buffered separately.

With the 32 KiB that Envoy recommends at the edge, a body of 64 KiB costs twice the CPU, because reading pauses and
resumes on both sides.
"""

MOST_HEADERS_IN_HOP = 128
MOST_KIB_OF_HEADERS_IN_HOP = 72
"""Limits of what passes a hop: more than at the front and at servers (100, 60 KiB), because headers are added on the way."""

# Disable panic mode, and update immediately: by default Envoy merges updates for a second.
NO_PANIC: Message = {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"}


def limits(*, max_requests: int = MANY) -> Message:
    """Return circuit breakers. By default Envoy allows 1,024 requests and 3 retries at a time, and would reject most failovers."""
    others = dict.fromkeys(("max_connections", "max_pending_requests", "max_retries"), MANY)
    return {"thresholds": [{**others, "max_requests": max_requests}]}


UNLIMITED = limits()

HTTP2: Message = {
    "allow_connect": True,
    "initial_stream_window_size": 64 * 1024,
    "initial_connection_window_size": 1024 * 1024,
}
"""Limits what a server may send before the client has read it; by default 16 MiB per stream would be buffered here."""


def protocols(**choice: object) -> Message:
    """Return the typed_extension_protocol_options with one choice, such as `auto_config`."""
    return {HTTP_OPTIONS: typed(HTTP_OPTIONS, **choice)}


def as_the_client(**options: object) -> Message:
    """Use the client's protocol: HTTP/1.1, or HTTP/2 without TLS as gRPC does."""
    return protocols(
        use_downstream_protocol_config={"http_protocol_options": {}, "http2_protocol_options": HTTP2}, **options
    )


def hop(  # its options are those of one cluster
    name: str, *listeners: str, side: str, signs: str, remote: str = "", weights: tuple[int, ...] = (), **fields: object
) -> Message:
    """Return a cluster that leads to an internal listener, whose marks are prefixed with the name `signs`.

    A second listener takes its place while it is ejected and, with `weights`, for a part of the requests. `remote` is
    the remote's name, if it has one.
    """
    marks = {"side": side, "hop": signs, **({"remote": remote} if remote else {})}
    shared = [_share(each, weight, marks) for each, weight in zip(listeners, weights, strict=False)]
    places = [_endpoints_of(each, priority, marks) for priority, each in enumerate(listeners)]
    places[0] = {"lb_endpoints": shared} if shared else places[0]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "per_connection_buffer_limit_bytes": MOST_BUFFERED,
        "circuit_breakers": UNLIMITED,
        "typed_extension_protocol_options": as_the_client(
            common_http_protocol_options={
                "max_headers_count": MOST_HEADERS_IN_HOP,
                "max_response_headers_kb": MOST_KIB_OF_HEADERS_IN_HOP,
            }
        ),
        "transport_socket": extension(
            "envoy.transport_sockets.internal_upstream",
            "envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport",
            transport_socket=extension(
                "envoy.transport_sockets.raw_buffer",
                "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
            ),
        ),
        **fields,
        "load_assignment": {"cluster_name": name, "endpoints": places},
    }


def _share(listener: str, weight: int, marks: Mapping[str, str]) -> Message:
    """Return the LbEndpoint of an internal listener that gets a part of the requests."""
    address: Message = {"envoy_internal_address": {"server_listener_name": listener}}
    return {**server(address, marks), "load_balancing_weight": weight}


def _endpoints_of(listener: str, priority: int, marks: Mapping[str, str]) -> Message:
    """Return the LocalityLbEndpoints of an internal listener; those with priority 0 are used first."""
    address: Message = {"envoy_internal_address": {"server_listener_name": listener}}
    return {"lb_endpoints": [server(address, marks)], **({"priority": priority} if priority else {})}


def discovery(servers: Iterable[str], **dns: object) -> Message:
    """Return how the servers are found: statically if all are addresses, else by DNS with these fields of DnsCluster."""
    if all(addresses.is_unix(server) or addresses.is_ip(addresses.split(server)[0]) for server in servers):
        return {"type": "STATIC"}
    return {"cluster_type": extension("envoy.cluster.dns", "envoy.extensions.clusters.dns.v3.DnsCluster", **dns)}


def absolute(host: str) -> Message:
    """Return the field of DnsCluster that looks up this host as an absolute name.

    By default a pod looks up `a.b`, and even `api.example.com`, as a Service of the cluster first, so whoever has the
    namespace `b` or `com` would become the remote. Names that are only meaningful there are completed as usual.
    """
    if "." not in host or host.endswith(".svc"):
        return {}
    return {
        "typed_dns_resolver_config": extension(
            "envoy.network.dns_resolver.cares",
            "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
            dns_resolver_options={"no_default_search_domain": True},
        )
    }


def load_assignment(name: str, servers: Iterable[Message]) -> Message:
    """Return a ClusterLoadAssignment with these Endpoints, all alike."""
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": list(servers)}]}


def server(address: Message, marks: Mapping[str, str] | None = None) -> Message:
    """Return an LbEndpoint with our metadata: its side and, for a hop, the prefix of its marks and the remote's name."""
    marked: Message = {"metadata": {"filter_metadata": {"offload": {**marks}}}} if marks else {}
    return {"endpoint": {"address": address}, **marked}
