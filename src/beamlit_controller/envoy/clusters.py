"""Who answers requests: the model's own servers, and the remote behind its hop."""

from beamlit_controller.core.spec import OffloadSpec, RemoteBackend, Scheme
from beamlit_controller.envoy import addresses, failover, routes, tls, upstream
from beamlit_controller.envoy.failover import LOCAL, REMOTE_HOP
from beamlit_controller.envoy.messages import Message, extension
from beamlit_controller.envoy.place import Place


def all_of(spec: OffloadSpec, place: Place) -> list[Message]:
    """Give every cluster that a route of this spec, or one that is about to be replaced by it, leads to."""
    backend = spec.remote
    chains = (failover.local_first(spec), failover.remote_first(spec))
    return [
        local(place, alone=routes.remote_of(spec) is None),
        *([remote_hop(), remote(backend, place), remote_upgrade(backend, place)] if backend else []),
        *(chain.definition for chain in chains if chain.definition is not None),
    ]


def local(place: Place, *, alone: bool) -> Message:
    """Give the model's own servers; `alone` tells that no other side answers when all of them fail."""
    # With nobody else to ask, a server that failed is still the best guess. Else Envoy must see that there is none.
    panic: Message = {} if alone else {"common_lb_config": {"healthy_panic_threshold": {"value": 0}}}
    servers = [upstream.server(addresses.message(text), side="local") for text in place.local]
    return {
        "name": LOCAL,
        **upstream.discovery(place.local, dns_refresh_rate="1s", dns_jitter="0s", dns_lookup_family="ALL"),
        # A server on the same network answers at once or is gone, and the next one is waiting.
        "connect_timeout": "0.25s",
        "lb_policy": "LEAST_REQUEST",
        **panic,
        "circuit_breakers": upstream.UNLIMITED,
        "outlier_detection": _ejections(),
        "typed_extension_protocol_options": upstream.as_the_client(),
        "load_assignment": upstream.load_assignment(LOCAL, servers),
    }


def remote_hop() -> Message:
    """Give the way into the internal listener."""
    listener: Message = {"envoy_internal_address": {"server_listener_name": REMOTE_HOP}}
    return {
        "name": REMOTE_HOP,
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": upstream.UNLIMITED,
        "typed_extension_protocol_options": upstream.as_the_client(),
        "transport_socket": extension(
            "envoy.transport_sockets.internal_upstream",
            "envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport",
            transport_socket=extension(
                "envoy.transport_sockets.raw_buffer",
                "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
            ),
        ),
        "load_assignment": upstream.load_assignment(REMOTE_HOP, [upstream.server(listener, side="remote")]),
    }


def remote(backend: RemoteBackend, place: Place) -> Message:
    """Give the remote: over TLS in what it prefers of HTTP/2 and HTTP/1.1, else in what the client speaks."""
    if backend.scheme is Scheme.HTTP:
        return _remote(routes.REMOTE, backend, place, speaks=upstream.as_the_client())
    either = upstream.protocols(auto_config={"http_protocol_options": {}, "http2_protocol_options": {}})
    return _remote(routes.REMOTE, backend, place, speaks=either)


def remote_upgrade(backend: RemoteBackend, place: Place) -> Message:
    """Give the remote for websockets: few servers take them over HTTP/2, so they get HTTP/1.1."""
    http1 = upstream.protocols(explicit_http_config={"http_protocol_options": {}})
    return _remote(routes.REMOTE_UPGRADE, backend, place, speaks=http1, alpn=["http/1.1"])


def _remote(
    name: str, backend: RemoteBackend, place: Place, *, speaks: Message, alpn: list[str] | None = None
) -> Message:
    server = addresses.join(backend.host, backend.port)
    secured: Message = (
        {"transport_socket": tls.transport_socket(backend, place, alpn or [])} if backend.scheme is Scheme.HTTPS else {}
    )
    return {
        "name": name,
        # One address at a time, taken anew for each connection: balancers move, and open streams should not.
        **upstream.discovery(
            [server], respect_dns_ttl=True, dns_lookup_family="ALL", all_addresses_in_single_endpoint=True
        ),
        "connect_timeout": "2s",
        "circuit_breakers": upstream.UNLIMITED,
        # What lies between forgets silent connections, and a stream may think for minutes.
        "upstream_connection_options": {"tcp_keepalive": {"keepalive_time": 60, "keepalive_interval": 10}},
        "typed_extension_protocol_options": speaks,
        **secured,
        "load_assignment": upstream.load_assignment(name, [upstream.server(addresses.message(server))]),
    }


def _ejections() -> Message:
    """Leave out, briefly, a server that can't be connected to. What a server answers never counts: full is not broken."""
    return {
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": 3,
        "enforcing_consecutive_5xx": 0,
        "enforcing_success_rate": 0,
        "enforcing_local_origin_success_rate": 0,
        "interval": "1s",
        "base_ejection_time": "1s",
        "max_ejection_time": "5s",
        "max_ejection_percent": 100,
    }
