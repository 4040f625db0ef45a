"""The routes of the front, which decide where each request goes.

Matchers come first: local-only requests, the `x-offload` header, sessions. Then a route with a runtime fraction sends
the share to the chain `remote_first`. All other requests start locally, in `local_first`, unless the cap sends them
away (`envoy.caps`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

from beamlit_controller.core.spec import (
    AwsSignature,
    OffloadSpec,
    RemoteBackend,
    Scheme,
)
from beamlit_controller.core.stickiness import CookieStickiness, HeaderStickiness
from beamlit_controller.envoy import (
    addresses,
    budget,
    caps,
    failover,
    identity,
    local_only,
    model_name,
    remote_marks,
    remote_routes,
    sessions,
)
from beamlit_controller.envoy.failover import Chain
from beamlit_controller.envoy.gateway_params import GatewayParams
from beamlit_controller.envoy.messages import Message, coalesced, extension, formatted_header, headers_to_set
from beamlit_controller.envoy.remote_routes import RemoteWays
from beamlit_controller.envoy.response_headers import NOBODY, SERVED_BY

FRONT = "front"
REMOTE = "remote"
REMOTE_UPGRADE = "remote_upgrade"

SHARE_KEY = "offload.percentage"
SHARE: Message = {"default_value": {"numerator": 0, "denominator": "MILLION"}, "runtime_key": SHARE_KEY}
OVERRIDE = "x-offload"
PASSED_ON = "passed_on"
"""The metadata of a route with the possible reasons why local passed a request on that the remote then answered."""
PROBE_PATH = "/-/offload/ready"
REACH_PATH = "/-/offload/reach"
"""The path at the stats port that makes the gateway send a request to a local server."""
REACHED = "x-envoy-upstream-service-time"
"""The header of a response to that request which came from a server, and not from Envoy."""
PROBE_HEADER = "x-offload-probe"

# The side that answered. Without any response, because the client has left, the side that was to answer.
SIDE = coalesced(("RESP", SERVED_BY), ("UPSTREAM_METADATA", "offload:side"))

DEFAULT_PORTS = {Scheme.HTTP: 80, Scheme.HTTPS: 443}


def front(spec: OffloadSpec, params: GatewayParams) -> Message:
    """Return the front's RouteConfiguration: local-only requests first, then the share, then all others."""
    host: Message = {
        "name": FRONT,
        "domains": ["*"],
        "request_body_buffer_limit": spec.overflow.max_request_bytes,
        # The probe's header is removed from all other requests, so that none can hide from the access log.
        "request_headers_to_remove": [PROBE_HEADER, OVERRIDE, sessions.SESSION, "x-envoy-external-address"],
        "response_headers_to_remove": [failover.REMOTE_MARK, failover.LOCAL_MARK],
        **_table(spec, params),
    }
    return {"name": FRONT, "virtual_hosts": [host]}


def remote_hop(remote: RemoteBackend, max_request_bytes: int) -> Message:
    """Return the RouteConfiguration of a remote's hop, which sets the path, Host and headers for the remote."""
    name = identity.named(failover.REMOTE_HOP, remote)
    fixed = () if remote.by_model else remote.headers_to_add
    ways = RemoteWays(authority(remote), identity.named(REMOTE, remote), identity.named(REMOTE_UPGRADE, remote))
    host: Message = {
        "name": name,
        "domains": ["*"],
        # The client's headers are removed at the beginning of the hop; this one was added by Envoy since.
        "request_headers_to_remove": ["x-forwarded-proto", *([model_name.NUMBER] if remote.by_model else [])],
        "request_headers_to_add": headers_to_set((*fixed, (local_only.OFFLOADED, "1"))),
        "request_body_buffer_limit": max_request_bytes,
        "response_headers_to_remove": [failover.LOCAL_MARK, SERVED_BY],
        "response_headers_to_add": [
            *formatted_header(failover.REMOTE_MARK, failover.REMOTE_ANSWERED),
            *headers_to_set(((SERVED_BY, "remote"),)),
        ],
        "routes": [*budget.routes(remote), *remote_routes.table(remote, ways)],
    }
    return {"name": name, "virtual_hosts": [host]}


def local_hop(spec: OffloadSpec, params: GatewayParams) -> Message:
    """Return the RouteConfiguration of the local hop: to a local server and, in time, to another."""
    after = spec.overflow.after
    # Envoy does not retry once the response has begun, so a stream may take as long as it likes.
    first_byte: Message = {"per_try_timeout": f"{after.total_seconds():g}s"} if after is not None else {}
    chain = failover.in_local_hop(spec, servers=params.servers)
    chain = replace(chain, retry_policy={**chain.retry_policy, **first_byte})
    host: Message = {
        "name": failover.LOCAL_HOP,
        "domains": ["*"],
        "request_body_buffer_limit": spec.overflow.max_request_bytes,
        "response_headers_to_remove": [failover.REMOTE_MARK],
        "response_headers_to_add": formatted_header(failover.LOCAL_MARK, failover.ANSWERED),
        "routes": [_route("local", {"prefix": "/"}, chain, params)],
    }
    return {"name": failover.LOCAL_HOP, "virtual_hosts": [host]}


def ejected() -> Message:
    """Return the RouteConfiguration of the hop that answers in place of an ejected remote: it declines."""
    host: Message = {
        "name": failover.EJECTED,
        "domains": ["*"],
        "response_headers_to_add": headers_to_set(((failover.REMOTE_MARK, remote_marks.DECLINED), (SERVED_BY, NOBODY))),
        "routes": [{"name": "declined", "match": {"prefix": "/"}, "direct_response": {"status": 503}}],
    }
    return {"name": failover.EJECTED, "virtual_hosts": [host]}


def authority(remote: RemoteBackend) -> str:
    """Return the remote's Host header, with the port if it is not the scheme's default."""
    host = addresses.bracketed(remote.host)
    return host if remote.port == DEFAULT_PORTS[remote.scheme] else addresses.join(remote.host, remote.port)


def remote_of(spec: OffloadSpec) -> RemoteBackend | None:
    """Return the first remote, if requests may leave at all."""
    return spec.remote if spec.enabled and not spec.behavior.dry_run else None


def probed(node: str) -> list[Message]:
    """Answer probes, to prove what Envoy's own `/ready` does not: that the front is bound and has its routes.

    A probe names its node, because on a port that is already taken it would reach another gateway.
    """
    return [
        _probe({"string_match": {"exact": node}}, status=200, text="ready\n"),
        _probe({"present_match": True}, status=503, text="this is another gateway\n"),
    ]


def _probe(header: Message, *, status: int, text: str) -> Message:
    return {
        "name": "probe",
        "match": {"path": PROBE_PATH, "headers": [{"name": PROBE_HEADER, **header}]},
        "direct_response": {"status": status, "body": {"inline_string": text}},
        "tracing": {"overall_sampling": {"numerator": 0}},
    }


def _table(spec: OffloadSpec, params: GatewayParams) -> Message:
    """Return the routes in order, behind matchers if headers select one of several lists."""
    lists = _choices(spec, params)
    otherwise = _list(spec, params, _split(spec, params))
    if not lists:
        return {"routes": otherwise}
    matchers = [{"predicate": predicate, "on_match": _action(routes)} for predicate, routes in lists]
    return {"matcher": {"matcher_list": {"matchers": matchers}, "on_no_match": _action(otherwise)}}


def _action(routes: list[Message]) -> Message:
    return {"action": extension("routes", "envoy.config.route.v3.RouteList", routes=routes)}


def _list(spec: OffloadSpec, params: GatewayParams, routes: list[Message]) -> list[Message]:
    """Return a complete list of routes, beginning with those that every list has: probes, and what can't be sent to a remote."""
    return [*probed(params.node), *_long(spec, params), *routes]


def _choices(spec: OffloadSpec, params: GatewayParams) -> list[tuple[Message, list[Message]]]:
    """Return predicates and their routes, of which the first match applies: local-only, requested by header, sticky."""
    if remote_of(spec) is None:
        return []
    kept = local_only.predicate(spec.keep_local, spec.may_leave)
    return [
        (kept, [*probed(params.node), _stays("keep", {"prefix": "/"}, spec, params)]),
        *(_asked_for(spec, params) if spec.allow_override else []),
        *(_sticky(spec.stickiness, spec, params) if spec.stickiness else []),
    ]


def _asked_for(spec: OffloadSpec, params: GatewayParams) -> list[tuple[Message, list[Message]]]:
    here = _stays("forced", {"prefix": "/"}, spec, params)
    there = _route("forced", {"prefix": "/"}, failover.remote_first(spec, servers=params.servers), params)
    return [
        (local_only.has(OVERRIDE, ["local"]), _list(spec, params, [here])),
        (local_only.has(OVERRIDE, ["remote"]), _list(spec, params, [there])),
    ]


def _sticky(
    stickiness: HeaderStickiness | CookieStickiness, spec: OffloadSpec, params: GatewayParams
) -> list[tuple[Message, list[Message]]]:
    there = _route("share", {"prefix": "/"}, failover.remote_first(spec, servers=params.servers), params)
    return [
        (sessions.offloaded(stickiness, SHARE), _list(spec, params, [there])),
        (sessions.has_session(stickiness), _list(spec, params, _local(spec, params))),
    ]


def _long(spec: OffloadSpec, params: GatewayParams) -> list[Message]:
    """Return the routes of requests that stay because a remote can't take them: they can't be rewritten or signed."""
    if remote_of(spec) is None:
        return []
    elsewhere = [remote_routes.elsewhere(remote) for remote in spec.remotes]
    limit = spec.overflow.max_request_bytes
    maps = [remote.model_names for remote in spec.remotes if remote.model_names is not None]
    signs = any(isinstance(remote.auth, AwsSignature) for remote in spec.remotes)
    held = model_name.unheld(limit) if signs else []
    long = model_name.unmapped(limit, _unchanged(maps)) if maps else held
    return [
        _stays("long", {"prefix": "/", "headers": headers}, spec, params) for headers in (*elsewhere, *long) if headers
    ]


def _unchanged(maps: Sequence[Iterable[tuple[str, str]]]) -> set[str]:
    """Return the names that every one of the maps leaves unchanged."""
    return set.intersection(*({here for here, there in names if here == there} for names in maps))


def _split(spec: OffloadSpec, params: GatewayParams) -> list[Message]:
    if remote_of(spec) is None:
        return [_route("local", {"prefix": "/"}, failover.all_local(spec, servers=params.servers), params)]
    share: Message = {"prefix": "/", "runtime_fraction": SHARE}
    return [
        _route("share", share, failover.remote_first(spec, servers=params.servers), params),
        *_local(spec, params),
    ]


def _local(spec: OffloadSpec, params: GatewayParams) -> list[Message]:
    """Return the routes of requests that start locally: one per step of the cap, of which at most two are active."""
    chain = failover.local_first(spec, servers=params.servers)
    may_be_full = spec.overflow.on_status or spec.overflow.after is not None
    passed_on = {"filter_metadata": {"offload": {PASSED_ON: "overflow" if may_be_full else "unavailable"}}}
    free = {**_route("local", {"prefix": "/"}, chain, params), "metadata": passed_on}
    if not caps.are_needed(spec):
        return [free]
    chain = failover.local_first_under_a_cap(spec, servers=params.servers)
    at_first = caps.at_first(spec, params)
    full = failover.remote_first(spec, servers=params.servers).cluster
    capped = partial(_capped, free, chain, params, full=full)
    return [*(capped(number, numerator=at_first[number]) for number in caps.LADDER), free]


def _capped(free: Message, chain: Chain, params: GatewayParams, number: int, *, numerator: int, full: str) -> Message:
    default: Message = {"numerator": numerator, "denominator": "MILLION"}
    in_force: Message = {"runtime_key": caps.key(number), "default_value": default}
    plugin = caps.choice(number, free=chain.cluster, full=full)
    action: Message = {"timeout": "0s", "retry_policy": chain.retry_policy, "inline_cluster_specifier_plugin": plugin}
    action |= BY_CLIENT if params.client_ip_affinity else {}
    return {**free, "match": {"prefix": "/", "runtime_fraction": in_force}, "route": action}


def _stays(name: str, match: Message, spec: OffloadSpec, params: GatewayParams) -> Message:
    return _route(name, match, failover.local_only(spec, servers=params.servers), params)


_LAST: Message = {"pattern": {"regex": r"^.*,\s*"}, "substitution": ""}
BY_CLIENT: Message = {
    "hash_policy": [{"header": {"header_name": "x-forwarded-for", "regex_rewrite": _LAST}, "terminal": True}]
}
"""Selects local servers by the client's address: the last of x-forwarded-for, which the front appends, so that hops see it, too."""


def _route(name: str, match: Message, chain: Chain, params: GatewayParams) -> Message:
    # No timeout: a completion may stream for as long as it likes; silence is bounded by stream_idle_timeout.
    sticky = BY_CLIENT if params.client_ip_affinity else {}
    action: Message = {"cluster": chain.cluster, "timeout": "0s", "retry_policy": chain.retry_policy, **sticky}
    return {"name": name, "match": match, "route": action}
