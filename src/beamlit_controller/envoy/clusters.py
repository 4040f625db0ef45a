"""The clusters: the model's own servers, and each remote behind its hop.

A chain of `envoy.failover` has as members `local`, the local hop, and two clusters per remote: one skips the remote
while it is ejected, the other never does. Both lead to the remote's hop, whose routes lead to the remote itself.
"""

from beamlit_controller.core import weighted_remotes
from beamlit_controller.core.spec import OffloadSpec, RemoteBackend, Scheme
from beamlit_controller.envoy import (
    addresses,
    credentials,
    failover,
    identity,
    listeners,
    remote_marks,
    response_headers,
    routes,
    tls,
    tracing,
    upstream,
)
from beamlit_controller.envoy.failover import EJECTED, LOCAL, LOCAL_ANYWAY, LOCAL_HOP, REMOTE_ANYWAY, REMOTE_HOP
from beamlit_controller.envoy.gateway_params import GatewayParams
from beamlit_controller.envoy.messages import Message, headers_to_set


def all_of(spec: OffloadSpec, params: GatewayParams) -> list[Message]:
    """Return all clusters that the routes of this spec lead to, including those of routes it is about to replace."""
    chains = failover.chains(spec, servers=params.servers)
    return [
        local(params, alone=routes.remote_of(spec) is None),
        *(
            [local_anyway(params), upstream.hop(LOCAL_HOP, LOCAL_HOP, side="local", signs="local")]
            if spec.remotes
            else []
        ),
        *(cluster for remote in spec.remotes for cluster in _remote_side(spec, remote, params)),
        *(chain.definition for chain in chains if chain.definition is not None),
        *(_tcp_passthrough(params, *each) for each in params.tcp_passthrough),
        *tracing.clusters(params),
    ]


def _tcp_passthrough(params: GatewayParams, listen: str, server: str) -> Message:
    """Return the model's own servers at another port, whose traffic the gateway passes through without parsing it."""
    name = listeners.passthrough_name(listen)
    return {
        "name": name,
        **_found_by_dns(params, server),
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": upstream.UNLIMITED,
        "load_assignment": upstream.load_assignment(name, [upstream.server(addresses.message(server))]),
    }


def _found_by_dns(params: GatewayParams, *servers: str) -> Message:
    """Discover each server by its name, using IPv6 addresses only if there is no IPv4 address, or the other way round.

    Each address of a name counts as a server, so a server with addresses of both families must be found by one of them.
    A name such as `localhost` has both, but many servers listen on IPv4 alone.
    """
    family = "AUTO" if params.local_ipv6 else "V4_PREFERRED"  # AUTO is IPv6 first, then IPv4
    return upstream.discovery(servers, dns_refresh_rate="1s", dns_jitter="0s", dns_lookup_family=family)


def _remote_side(spec: OffloadSpec, backend: RemoteBackend, params: GatewayParams) -> list[Message]:
    ejections = _remote_ejections() if failover.is_replaced(spec, backend) else {}
    spare = [EJECTED] if ejections and len(spec.remotes) > 1 else []
    return [
        _hop_cluster(REMOTE_HOP, backend, *spare, weights=_weights(spec, backend), **ejections),
        _hop_cluster(REMOTE_ANYWAY, backend),
        remote(backend, params),
        remote_upgrade(backend, params),
        *credentials.clusters(backend, params),
    ]


def _weights(spec: OffloadSpec, backend: RemoteBackend) -> tuple[int, ...]:
    """Return the weights of a remote and of the weighted remotes after it; nothing if it does not share requests."""
    others = weighted_remotes.weight_after(spec, backend)
    return (backend.weight, others) if backend.weight and others else ()


def _hop_cluster(
    kind: str, backend: RemoteBackend, *spare: str, weights: tuple[int, ...] = (), **fields: object
) -> Message:
    """Return a cluster that leads to the remote's hop or, while that is ejected, to the `spare` listener."""
    listener = identity.named(REMOTE_HOP, backend)
    return upstream.hop(
        identity.named(kind, backend),
        listener,
        *spare,
        side="remote",
        signs=remote_marks.hop(backend),
        remote=backend.name,
        weights=weights,
        alt_stat_name=identity.stat_name(kind, backend),
        **fields,
    )


def local(params: GatewayParams, *, alone: bool) -> Message:
    """Return the model's own servers; `alone` tells that no other side can answer if all of them fail."""
    # If there is no other server, one that failed is still the best guess.
    panic: Message = {} if alone else {"common_lb_config": upstream.NO_PANIC}
    return _local(LOCAL, params, panic=panic, ejections={"outlier_detection": _ejections()})


def local_anyway(params: GatewayParams) -> Message:
    """Return the same servers for requests that must stay, which get them even while all of them are ejected."""
    return _local(LOCAL_ANYWAY, params, panic={}, ejections={})


def _local(name: str, params: GatewayParams, *, panic: Message, ejections: Message) -> Message:
    servers = [
        upstream.server(addresses.message(text), {"side": "local", "served_by": "local"}) for text in params.local
    ]
    return {
        "name": name,
        **_found_by_dns(params, *params.local),
        # A server on the same network accepts immediately or is gone, and the next one can be tried.
        "connect_timeout": "0.25s",
        "per_connection_buffer_limit_bytes": upstream.MOST_BUFFERED,
        # The better of two random servers. A full scan balances better, but a server that refuses connections has the fewest
        # requests, so each retry would choose it again.
        "lb_policy": "RING_HASH" if params.client_ip_affinity else "LEAST_REQUEST",
        **panic,
        "circuit_breakers": upstream.UNLIMITED,
        **ejections,
        # Servers close idle connections after 2 to 5 s, some sooner, and a request sent at that moment is lost: it would leave
        # although local is healthy. A new connection to a local server is cheap.
        "typed_extension_protocol_options": upstream.as_the_client(
            common_http_protocol_options={"idle_timeout": "0.4s"}, http_filters=response_headers.stripped()
        ),
        "load_assignment": upstream.load_assignment(name, servers),
    }


def remote(backend: RemoteBackend, params: GatewayParams) -> Message:
    """Return the remote: over TLS with HTTP/2 or HTTP/1.1 by ALPN, otherwise with the client's protocol."""
    signs = credentials.upstream_filters(backend, params)
    if backend.scheme is Scheme.HTTP:
        return _remote(routes.REMOTE, backend, params, speaks=upstream.as_the_client(**signs))
    auto: Message = {"http_protocol_options": {}, "http2_protocol_options": upstream.HTTP2}
    either = upstream.protocols(auto_config=auto, **signs)
    return _remote(routes.REMOTE, backend, params, speaks=either)


def remote_upgrade(backend: RemoteBackend, params: GatewayParams) -> Message:
    """Return the remote for WebSockets, with HTTP/1.1, because few servers support them over HTTP/2."""
    signs = credentials.upstream_filters(backend, params)
    http1 = upstream.protocols(explicit_http_config={"http_protocol_options": {}}, **signs)
    return _remote(routes.REMOTE_UPGRADE, backend, params, speaks=http1, alpn=["http/1.1"])


def _remote(
    name: str, backend: RemoteBackend, params: GatewayParams, *, speaks: Message, alpn: list[str] | None = None
) -> Message:
    server = addresses.join(backend.host, backend.port)
    secured: Message = (
        {"transport_socket": tls.transport_socket(tls.name_of(backend), backend, params, trust=tls.TRUST, alpn=alpn)}
        if backend.scheme is Scheme.HTTPS
        else {}
    )
    own_name = identity.named(name, backend)
    return {
        "name": own_name,
        "alt_stat_name": identity.stat_name(name, backend),
        # One address at a time, resolved again for new connections: load balancers move, and open streams must not break.
        **upstream.discovery(
            [server],
            respect_dns_ttl=True,
            dns_lookup_family="ALL",
            all_addresses_in_single_endpoint=True,
            **upstream.absolute(backend.host),
        ),
        "connect_timeout": "2s",
        "per_connection_buffer_limit_bytes": upstream.MOST_BUFFERED,
        "circuit_breakers": _at_most(backend.max_in_flight, gateways=params.gateways),
        **(_probed(backend) if name == routes.REMOTE else {}),
        # Middleboxes drop silent connections, and a stream may be silent for minutes.
        "upstream_connection_options": {"tcp_keepalive": {"keepalive_time": 60, "keepalive_interval": 10}},
        "typed_extension_protocol_options": speaks,
        **secured,
        "load_assignment": upstream.load_assignment(own_name, [upstream.server(addresses.message(server))]),
    }


def _at_most(requests: int | None, *, gateways: int) -> Message:
    """Limit the requests at the remote; the limit is divided among the gateways, and the hop rejects requests above it."""
    return upstream.limits(max_requests=max(1, requests // gateways)) if requests is not None else upstream.UNLIMITED


def _probed(backend: RemoteBackend) -> Message:
    """Probe the remote actively, if a path is given for that; no requests are sent to it while it is unhealthy."""
    check = backend.health_check
    if check is None:
        return {}
    period = f"{check.period.total_seconds():g}s"
    return {
        "common_lb_config": upstream.NO_PANIC,
        "health_checks": [
            {
                "interval": period,
                "no_traffic_interval": period,
                "timeout": "5s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "http_health_check": {
                    "host": routes.authority(backend),
                    "path": f"{backend.path_prefix.rstrip('/')}{check.path}",
                    "request_headers_to_add": headers_to_set(backend.headers_to_add),
                },
            }
        ],
    }


def _ejections() -> Message:
    """Eject a local server briefly if no connection to it succeeds. Responses never count: full is not broken.

    Envoy counts a response in time that did not come, and a connection that broke off, like one that was refused.
    """
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


def _remote_ejections() -> Message:
    """Eject a remote for 5 to 30 s, if another server can answer instead.

    Three failures in a row (no response, or 502 to 504) suffice. Other failures may be due to one client's requests, so
    they count only if nothing else came of ten or more requests within half a second.
    """
    return {
        "common_lb_config": upstream.NO_PANIC,
        "outlier_detection": {
            "enforcing_consecutive_5xx": 0,
            "consecutive_gateway_failure": 3,
            "enforcing_consecutive_gateway_failure": 100,
            "enforcing_success_rate": 0,
            "enforcing_failure_percentage": 100,
            "failure_percentage_threshold": 100,
            "failure_percentage_minimum_hosts": 1,
            "failure_percentage_request_volume": 10,
            "interval": "0.5s",
            "base_ejection_time": "5s",
            "max_ejection_time": "30s",
            "max_ejection_percent": 100,
        },
    }
