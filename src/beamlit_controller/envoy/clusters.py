"""The clusters: the model's own servers, and the remote behind its hop."""

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
from beamlit_controller.envoy.failover import EJECTED, LOCAL, LOCAL_HOP, REMOTE_ANYWAY, REMOTE_HOP
from beamlit_controller.envoy.gateway_params import GatewayParams
from beamlit_controller.envoy.messages import Message, headers_to_set


def all_of(spec: OffloadSpec, params: GatewayParams) -> list[Message]:
    """Return every cluster that a route of this spec, or one that is about to be replaced by it, leads to."""
    chains = failover.chains(spec, servers=params.servers)
    return [
        local(params, alone=routes.remote_of(spec) is None),
        *([upstream.hop(LOCAL_HOP, LOCAL_HOP, side="local", signs="local")] if spec.remotes else []),
        *(cluster for remote in spec.remotes for cluster in _remote_side(spec, remote, params)),
        *(chain.definition for chain in chains if chain.definition is not None),
        *(_passed(*each) for each in params.tcp_passthrough),
        *tracing.clusters(params),
    ]


def _passed(listen: str, server: str) -> Message:
    """Return the model's own servers behind another port, of which the gateway understands nothing."""
    name = listeners.passed_name(listen)
    return {
        "name": name,
        **_found_by_dns(server),
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": upstream.UNLIMITED,
        "load_assignment": upstream.load_assignment(name, [upstream.server(addresses.message(server))]),
    }


def _found_by_dns(*servers: str) -> Message:
    """Find each server at every address of its name, by IPv6 only if it has no other.

    Of a name with both, such as `localhost`, each address would be taken for a server, and many servers listen on IPv4 alone.
    """
    return upstream.discovery(servers, dns_refresh_rate="1s", dns_jitter="0s", dns_lookup_family="V4_PREFERRED")


def _remote_side(spec: OffloadSpec, backend: RemoteBackend, params: GatewayParams) -> list[Message]:
    ejections = _remote_ejections() if failover.is_replaced(spec, backend) else {}
    spare = [EJECTED] if ejections and len(spec.remotes) > 1 else []
    return [
        _way(REMOTE_HOP, backend, *spare, weights=_weights(spec, backend), **ejections),
        _way(REMOTE_ANYWAY, backend),
        remote(backend, params),
        remote_upgrade(backend, params),
        *credentials.clusters(backend, params),
    ]


def _weights(spec: OffloadSpec, backend: RemoteBackend) -> tuple[int, ...]:
    """Return the weights of a remote and of the equals after it, if there are any."""
    others = weighted_remotes.weight_after(spec, backend)
    return (backend.weight, others) if backend.weight and others else ()


def _way(kind: str, backend: RemoteBackend, *spare: str, weights: tuple[int, ...] = (), **fields: object) -> Message:
    """Return a cluster that leads into this remote's hop or, while that is ejected, into the spare one."""
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
    """Return the model's own servers; `alone` tells that no other side answers when all of them fail."""
    # With nobody else to ask, a server that failed is still the best guess.
    panic: Message = {} if alone else {"common_lb_config": upstream.AS_IT_IS}
    servers = [upstream.server(addresses.message(text), {"side": "local"}) for text in params.local]
    return {
        "name": LOCAL,
        **_found_by_dns(*params.local),
        # A server on the same network answers at once or is gone, and the next one is waiting.
        "connect_timeout": "0.25s",
        "per_connection_buffer_limit_bytes": upstream.MOST_BUFFERED,
        # The better of two at random. A full scan balances better, but a server that refuses has the fewest requests, so each
        # retry would choose it again.
        "lb_policy": "RING_HASH" if params.client_ip_affinity else "LEAST_REQUEST",
        **panic,
        "circuit_breakers": upstream.UNLIMITED,
        "outlier_detection": _ejections(),
        # Servers close idle connections after 2 to 5 s, some sooner, and a request that is sent at that moment is lost: it
        # would leave although local is well. A new connection to a local server costs next to nothing.
        "typed_extension_protocol_options": upstream.as_the_client(
            common_http_protocol_options={"idle_timeout": "0.4s"}, http_filters=response_headers.stripped()
        ),
        "load_assignment": upstream.load_assignment(LOCAL, servers),
    }


def remote(backend: RemoteBackend, params: GatewayParams) -> Message:
    """Return the remote: over TLS in what it prefers of HTTP/2 and HTTP/1.1, else in what the client speaks."""
    signs = credentials.upstream_filters(backend, params)
    if backend.scheme is Scheme.HTTP:
        return _remote(routes.REMOTE, backend, params, speaks=upstream.as_the_client(**signs))
    auto: Message = {"http_protocol_options": {}, "http2_protocol_options": upstream.HTTP2}
    either = upstream.protocols(auto_config=auto, **signs)
    return _remote(routes.REMOTE, backend, params, speaks=either)


def remote_upgrade(backend: RemoteBackend, params: GatewayParams) -> Message:
    """Return the remote for websockets: few servers take them over HTTP/2, so they get HTTP/1.1."""
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
        # One address at a time, taken anew for each connection: balancers move, and open streams should not.
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
        # What lies between forgets silent connections, and a stream may think for minutes.
        "upstream_connection_options": {"tcp_keepalive": {"keepalive_time": 60, "keepalive_interval": 10}},
        "typed_extension_protocol_options": speaks,
        **secured,
        "load_assignment": upstream.load_assignment(own_name, [upstream.server(addresses.message(server))]),
    }


def _at_most(requests: int | None, *, gateways: int) -> Message:
    """Bound the requests at the remote, shared by the gateways; the hop turns away what is above it."""
    return upstream.limits(max_requests=max(1, requests // gateways)) if requests is not None else upstream.UNLIMITED


def _probed(backend: RemoteBackend) -> Message:
    """Ask the remote how it is, where a path for that is given; while it is not well, nothing is sent there."""
    check = backend.health_check
    if check is None:
        return {}
    period = f"{check.period.total_seconds():g}s"
    return {
        "common_lb_config": upstream.AS_IT_IS,
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


def _remote_ejections() -> Message:
    """Leave a remote out for 5 to 30 s, for those whom another server can answer.

    Three times in a row no answer, or 502 to 504, is enough. Other failures may be those of one client's requests: they
    count when they are all that came of half a second in which there were ten or more.
    """
    return {
        "common_lb_config": upstream.AS_IT_IS,
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
