"""The listeners: the front for clients, and the internal listeners (hops) for requests to the remote.

The front accepts, bounds and normalizes requests, and routes them by `envoy.routes`. A remote's hop turns a request
into one for the remote: it removes what the remote must not see, replaces the model's name, and adds the credential.
"""

from collections.abc import Iterable

from beamlit_controller.core.spec import OffloadSpec, RemoteBackend
from beamlit_controller.envoy import (
    access_log,
    addresses,
    credentials,
    hop_headers,
    identity,
    local_replies,
    lua,
    model_name,
    overload,
    remote_usage,
    retry_after,
    routes,
    sessions,
    tracing,
    upstream,
)
from beamlit_controller.envoy.failover import EJECTED, LOCAL_HOP, REMOTE_HOP
from beamlit_controller.envoy.gateway_params import GatewayParams
from beamlit_controller.envoy.messages import Message, extension

# No client may control Envoy by headers. By default, clients with a private address could.
NOBODY: Message = {"cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]}

# From the first byte of a request to the end of its body, however slowly it arrives; responses are not limited.
BODY_TIMEOUT = "300s"


MOST_HEADERS = 100
MOST_KIB_OF_HEADERS = 60


def front(spec: OffloadSpec, params: GatewayParams, *, filters: Iterable[Message] = ()) -> Message:
    """Return the listener that clients connect to. It hardly depends on the spec, because a change of it ends long streams.

    `filters` come before all others.
    """
    manager = _connection_manager(
        routes.FRONT,
        params,
        filters=[*filters, *sessions.filters(spec.stickiness)],
        access_log=access_log.of_front(params.access_log),
        **tracing.of_front(params),
        # The peer's address is appended to x-forwarded-for. Whether to trust the entries of a proxy in front of us is up to
        # the model's servers.
        use_remote_address=True,
        xff_num_trusted_hops=1,
        internal_address_config=NOBODY,
        preserve_external_request_id=True,
        # Normalize `/a/../metrics` to `/metrics`, or a local-only request could be spelled so that it leaves.
        normalize_path=True,
        merge_slashes=True,
        path_with_escaped_slashes_action="KEEP_UNCHANGED",
        early_header_mutation_extensions=[_without(sessions.SESSION, prefixes=("x-envoy-",))],
        local_reply_config=local_replies.of_front(),
    )
    return {
        "name": routes.FRONT,
        "address": addresses.message(params.front),
        # With SO_REUSEPORT a second Envoy would silently share the port instead of failing to bind.
        "enable_reuse_port": False,
        # Limit of what is buffered for a client that reads slowly.
        "per_connection_buffer_limit_bytes": upstream.MOST_BUFFERED,
        **overload.first_byte_in_time(),
        "filter_chains": [{"filters": [manager]}],
    }


def passthrough_name(listen: str) -> str:
    """Return the name of the listener and cluster of a passed-through port."""
    return f"passed_{addresses.split(listen)[1]}"


def tcp_passthrough(listen: str) -> Message:
    """Return the listener of a port whose connections are passed through to the model's servers as TCP."""
    proxy = extension(
        "envoy.filters.network.tcp_proxy",
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        stat_prefix=passthrough_name(listen),
        cluster=passthrough_name(listen),
        # As without a gateway, silent connections are not closed.
        idle_timeout="0s",
        max_connect_attempts=3,
    )
    return {
        "name": passthrough_name(listen),
        "address": addresses.message(listen),
        "enable_reuse_port": False,
        "per_connection_buffer_limit_bytes": upstream.MOST_BUFFERED,
        "filter_chains": [{"filters": [proxy]}],
    }


def remote_hop(remote: RemoteBackend, params: GatewayParams, *, max_request_bytes: int) -> Message:
    """Return the internal listener that turns a client's request into the remote's; only offloaded requests pass it.

    It has to be a hop, because all attempts of a request share their headers: if they were changed before, a request
    that falls back to local would carry there what is meant for the remote.
    """
    name = identity.named(REMOTE_HOP, remote)
    manager = _connection_manager(
        name,
        params,
        filters=[
            *_watching(remote, params),
            *hop_headers.filters(remote),
            *model_name.filters(remote),
            *remote_usage.filters(remote, max_request_bytes=max_request_bytes),
            *credentials.filters(remote, params),
        ],
        access_log=[*access_log.of_hop(params.access_log, remote.name), *remote_usage.counters(remote)],
        use_remote_address=False,
        generate_request_id=False,
        scheme_header_transformation={"scheme_to_overwrite": remote.scheme.value},
        local_reply_config=local_replies.of_remote_hop(),
        early_header_mutation_extensions=[hop_headers.withheld(remote)],
    )
    return _internal(name, manager)


def _watching(remote: RemoteBackend, params: GatewayParams) -> list[Message]:
    """Return the HTTP filter that watches the remote's responses, for Retry-After and for token usage."""
    programs = (*retry_after.programs(remote, params), *remote_usage.programs(remote))
    return [lua.filter_of(lua.together(*programs))] if programs else []


def local_hop(params: GatewayParams) -> Message:
    """Return the internal listener that marks why no local server answered; requests pass it unchanged."""
    manager = _connection_manager(
        LOCAL_HOP,
        params,
        use_remote_address=False,
        generate_request_id=False,
        local_reply_config=local_replies.of_local_hop(),
    )
    return _internal(LOCAL_HOP, manager)


def ejected(params: GatewayParams) -> Message:
    """Return the internal listener that answers in place of an ejected remote, so that the next one is tried."""
    manager = _connection_manager(EJECTED, params, use_remote_address=False, generate_request_id=False)
    return _internal(EJECTED, manager)


def _internal(name: str, manager: Message) -> Message:
    return {
        "name": name,
        "internal_listener": {},
        # As at the front, for a client that reads slowly.
        "per_connection_buffer_limit_bytes": upstream.MOST_BUFFERED,
        "filter_chains": [{"filters": [manager]}],
    }


def _connection_manager(
    name: str, params: GatewayParams, *, filters: Iterable[Message] = (), **options: object
) -> Message:
    is_front = name == routes.FRONT
    common: Message = {
        "idle_timeout": overload.longest_idle(params.descriptors if is_front else 0),
        "max_headers_count": MOST_HEADERS if is_front else upstream.MOST_HEADERS_IN_HOP,
        # Servers may treat `x_data_class` as `x-data-class`, but a header rule would not match it.
        **({"headers_with_underscores_action": "REJECT_REQUEST"} if is_front else {}),
    }
    return extension(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=name,
        rds={"route_config_name": name, "config_source": params.watched(f"rds-{name}.json")},
        http_filters=[
            *filters,
            extension(
                "envoy.filters.http.router",
                "envoy.extensions.filters.http.router.v3.Router",
                suppress_envoy_headers=True,
            ),
        ],
        upgrade_configs=[{"upgrade_type": "websocket"}],
        # Java's client offers an upgrade to h2c by default: ignore it, rather than reject the request.
        http_protocol_options={"accept_http_10": True, "ignore_http_11_upgrade": [{"exact": "h2c"}]},
        http2_protocol_options={
            "max_concurrent_streams": 100,
            "allow_connect": True,
            "initial_stream_window_size": 64 * 1024,
            "initial_connection_window_size": 1024 * 1024,
        },
        max_request_headers_kb=MOST_KIB_OF_HEADERS if is_front else upstream.MOST_KIB_OF_HEADERS_IN_HOP,
        common_http_protocol_options=common,
        # Long responses and long silence are usual in inference, so a stream ends only after 15 minutes of silence.
        stream_idle_timeout="900s",
        request_timeout=BODY_TIMEOUT if is_front else "0s",
        request_headers_timeout="10s",
        server_header_transformation="PASS_THROUGH",
        request_id_extension={"typed_config": _plain_request_ids()},
        **options,
    )


def _plain_request_ids() -> Message:
    """Keep a client's x-request-id unchanged; by default Envoy encodes its trace decision in it."""
    return {
        "@type": "type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
        "pack_trace_reason": False,
    }


def _without(*names: str, prefixes: tuple[str, ...]) -> Message:
    """Remove headers with these prefixes before anything reads them."""
    by_prefix = [{"remove_on_match": {"key_matcher": {"prefix": prefix, "ignore_case": True}}} for prefix in prefixes]
    return extension(
        "envoy.http.early_header_mutation.header_mutation",
        "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[*by_prefix, *({"remove": name} for name in names)],
    )
