"""The bootstrap configuration: node identity, dynamic resource files, RTDS, admin and stats."""

from beamlit_controller.core.spec import ModelKey, OffloadSpec
from beamlit_controller.envoy import addresses, overload, routes, tls, upstream
from beamlit_controller.envoy.failover import LOCAL
from beamlit_controller.envoy.gateway_params import GatewayParams
from beamlit_controller.envoy.messages import Message, extension, headers_to_set

ADMIN = "admin"
SHARES = "shares"

STATS = "stats"

LIMITS: Message = {
    # By default Envoy rejects regular expressions of more than 100 instructions. Ours match local-only requests, in linear time.
    "re2.max_program_size.error_level": 200_000,
    "re2.max_program_size.warn_level": 200_000,
    # Of probes and scrapes, which `overload.most_connections` does not count.
    f"envoy.resource_limits.listener.{STATS}.connection_limit": 100,
}

ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to reach what is bound everywhere


def bootstrap(spec: OffloadSpec, params: GatewayParams) -> Message:
    """Return the Bootstrap. A change of it takes effect only with a restart, so it contains what hardly changes."""
    return {
        "node": {"id": params.node, "cluster": "gateways"},
        # The controller gets in, however many clients are connected.
        "admin": {"address": _only_ours(addresses.message(params.admin)), "ignore_global_conn_limit": True},
        "bootstrap_extensions": [
            extension(
                "envoy.bootstrap.internal_listener",
                "envoy.extensions.bootstrap.internal_listener.v3.InternalListener",
                buffer_size_kb=upstream.MOST_BUFFERED // 1024,
            )
        ],
        "dynamic_resources": {
            "cds_config": params.watched("cds.json"),
            "lds_config": params.watched("lds.json"),
        },
        "layered_runtime": {
            "layers": [
                {"name": "limits", "static_layer": LIMITS},
                {"name": "share", "rtds_layer": _share(spec.key, params)},
            ]
        },
        "overload_manager": overload.manager(spec.gateway, in_container=params.mounted, descriptors=params.descriptors),
        # By default, scraped values are up to 5 s old.
        "stats_flush_on_admin": True,
        "static_resources": {
            "clusters": _clusters(params),
            "listeners": [_stats(params)],
        },
    }


def _only_ours(address: Message) -> Message:
    """Restrict the socket to our user: Envoy sets the mode of pipes, whatever the umask."""
    match address:
        case {"pipe": dict() as pipe}:
            return {"pipe": {**pipe, "mode": 0o600}}
        case _:
            return address


def _share(key: ModelKey, params: GatewayParams) -> Message:
    """Subscribe to this model's share at the RTDS server; Envoy waits at most one second for it before it starts to serve."""
    service = {
        "cluster_name": SHARES,
        "retry_policy": {"retry_back_off": {"base_interval": "0.5s", "max_interval": "5s"}},
    }
    token = f"Bearer {params.shares_token}"
    metadata = [{"key": "authorization", "value": token}] if params.shares_token else []
    return {
        "name": str(key),
        "rtds_config": {
            "resource_api_version": "V3",
            "initial_fetch_timeout": "1s",
            "api_config_source": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": service, **({"initial_metadata": metadata} if metadata else {})}],
            },
        },
    }


def _clusters(params: GatewayParams) -> list[Message]:
    own_front = _own_front(params)
    return [
        _static(ADMIN, params.admin),
        *([_static(routes.FRONT, own_front)] if own_front else []),
        _shares(params),
    ]


def _stats(params: GatewayParams) -> Message:
    """Return the listener for metrics and probes. It exposes nothing else, because the admin interface could stop Envoy."""
    manager = extension(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=STATS,
        common_http_protocol_options={"idle_timeout": "120s"},
        request_headers_timeout="10s",
        request_timeout="10s",
        early_header_mutation_extensions=[_no_headers()],
        http_filters=[extension("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router")],
        route_config={
            "name": STATS,
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [_get("/stats/prometheus", ADMIN), _ready(params), _reach()],
                }
            ],
            # The model's servers are not known at startup.
            "validate_clusters": False,
        },
    )
    return {
        "name": STATS,
        "address": addresses.message(params.stats),
        "ignore_global_conn_limit": True,
        **overload.first_byte_in_time(),
        "filter_chains": [{"filters": [manager]}],
    }


def _no_headers() -> Message:
    """Remove all headers: these requests need none, and none of them should reach a local server."""
    headers = {"remove_on_match": {"key_matcher": {"safe_regex": {"regex": "[^:].*"}}}}
    return extension(
        "envoy.http.early_header_mutation.header_mutation",
        "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[headers],
    )


def _ready(params: GatewayParams) -> Message:
    """Answer `/ready` with the response of our own front: Envoy's own is 200 even if the front could not be bound."""
    if not _own_front(params):
        return _get("/ready", ADMIN)
    probe = headers_to_set([(routes.PROBE_HEADER, params.node)])
    return {**_get("/ready", routes.FRONT, prefix_rewrite=routes.PROBE_PATH), "request_headers_to_add": probe}


def _reach() -> Message:
    """Request `/` from a local server, to show whether it can be reached."""
    route = _get(routes.REACH_PATH, LOCAL, prefix_rewrite="/", timeout="2s")
    method = {"name": ":method", "string_match": {"exact": "GET"}}
    without_query = {"name": ":path", "string_match": {"exact": routes.REACH_PATH}}
    return {**route, "match": {"path": routes.REACH_PATH, "headers": [method, without_query]}}


def _get(path: str, cluster: str, **rewrite: object) -> Message:
    method = {"name": ":method", "string_match": {"exact": "GET"}}
    return {"match": {"path": path, "headers": [method]}, "route": {"cluster": cluster, **rewrite}}


def _own_front(params: GatewayParams) -> str:
    """Return the address at which clients reach our front; "" if the system chooses its port."""
    host, port = addresses.split(params.front)
    return addresses.join(ANYWHERE.get(host, host), port) if port else ""


def _shares(params: GatewayParams) -> Message:
    # An RTDS server that vanished without closing the connection is noticed within 15 s, and Envoy reconnects.
    http2 = {"connection_keepalive": {"interval": "10s", "timeout": "5s"}}
    speaks = upstream.protocols(explicit_http_config={"http2_protocol_options": http2})
    secured = {"transport_socket": tls.to_rtds_server(params)} if params.shares_ca else {}
    return {**_static(SHARES, params.shares), "typed_extension_protocol_options": speaks, **secured}


def _static(name: str, server: str) -> Message:
    return {
        "name": name,
        **upstream.discovery([server], dns_lookup_family="V4_PREFERRED"),
        "connect_timeout": "1s",
        "load_assignment": upstream.load_assignment(name, [upstream.server(addresses.message(server))]),
    }
