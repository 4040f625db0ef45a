"""Which way each request goes: the routes of the front, and the one route of the remote hop."""

from beamlit_controller.core.spec import OffloadSpec, RemoteBackend, Scheme
from beamlit_controller.envoy import addresses, failover, keep
from beamlit_controller.envoy.failover import Chain
from beamlit_controller.envoy.messages import Message, extension, formatted_header, headers_to_set
from beamlit_controller.envoy.place import Place

FRONT = "front"
REMOTE = "remote"
REMOTE_UPGRADE = "remote_upgrade"

SHARE_KEY = "offload.percentage"
SERVED_BY = "x-offload-served-by"
PROBE_PATH = "/-/offload/ready"
PROBE_HEADER = "x-offload-probe"

# Which side answered is told by the endpoint itself: neither a client nor a server can claim it.
SIDE = "%UPSTREAM_METADATA(offload:side)%"

# What a response says about the remote's own name, which is not the name that the client asked.
REMOTE_AUTHORITY = ("alt-svc", "strict-transport-security")

DEFAULT_PORTS = {Scheme.HTTP: 80, Scheme.HTTPS: 443}


def front(spec: OffloadSpec, place: Place) -> Message:
    """Give the front's RouteConfiguration: what must stay, then the share, then the rest."""
    host: Message = {
        "name": FRONT,
        "domains": ["*"],
        "request_body_buffer_limit": spec.overflow.max_request_bytes,
        # The probe's header is taken from all other requests, so that none can hide from the access log.
        "request_headers_to_remove": [PROBE_HEADER, "x-envoy-external-address"],
        "response_headers_to_add": formatted_header(SERVED_BY, SIDE),
        "response_headers_to_remove": [failover.REMOTE_MARK, failover.LOCAL_MARK],
        **_table(spec, place),
    }
    return {"name": FRONT, "virtual_hosts": [host]}


def remote_hop(remote: RemoteBackend) -> Message:
    """Give the hop's RouteConfiguration: the path, the host and the headers that the remote shall see."""
    upgrade = [{"name": "upgrade", "present_match": True}]
    answers = REMOTE_AUTHORITY if remote.forward_client_authorization else ("set-cookie", *REMOTE_AUTHORITY)
    host: Message = {
        "name": failover.REMOTE_HOP,
        "domains": ["*"],
        # What the client sent is taken away where the hop begins; this one Envoy itself has added since.
        "request_headers_to_remove": ["x-forwarded-proto"],
        "request_headers_to_add": headers_to_set(remote.headers_to_add),
        "response_headers_to_remove": list(answers),
        "response_headers_to_add": formatted_header(failover.REMOTE_MARK, failover.ANSWERED),
        "routes": [
            _to_remote(remote, "upgrade", REMOTE_UPGRADE, match={"prefix": "/", "headers": upgrade}),
            _to_remote(remote, "remote", REMOTE, match={"prefix": "/"}),
        ],
    }
    return {"name": failover.REMOTE_HOP, "virtual_hosts": [host]}


def local_hop(spec: OffloadSpec) -> Message:
    """Give the local hop's RouteConfiguration: to a local server and, in time, to another."""
    after = spec.overflow.after
    # Envoy asks no more once the response has begun, so a stream may take as long as it likes.
    first_byte: Message = {"per_try_timeout": f"{after.total_seconds():g}s"} if after is not None else {}
    policy = {**failover.hop_retry_policy(spec), **first_byte}
    host: Message = {
        "name": failover.LOCAL_HOP,
        "domains": ["*"],
        "request_body_buffer_limit": spec.overflow.max_request_bytes,
        "response_headers_to_add": formatted_header(failover.LOCAL_MARK, failover.ANSWERED),
        "routes": [_route("local", {"prefix": "/"}, Chain(failover.LOCAL, policy))],
    }
    return {"name": failover.LOCAL_HOP, "virtual_hosts": [host]}


def authority(remote: RemoteBackend) -> str:
    """Give the remote's Host: with the port if it is not the scheme's own, in brackets if it is an IPv6 address."""
    host = addresses.bracketed(remote.host)
    return host if remote.port == DEFAULT_PORTS[remote.scheme] else addresses.join(remote.host, remote.port)


def remote_of(spec: OffloadSpec) -> RemoteBackend | None:
    """Give the remote, if requests may leave at all."""
    return spec.remote if spec.enabled else None


def _probed(node: str) -> list[Message]:
    """Answer probes: that proves what Envoy's own `/ready` does not, that the front is bound and has its routes.

    A probe names the node it means, for with a port that is taken it reaches another gateway.
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
    }


def _table(spec: OffloadSpec, place: Place) -> Message:
    """Give the routes in their order; a matcher goes before them where headers tell what must stay."""
    by_path = [*_probed(place.node), *_kept_by_path(spec), *_split(spec, servers=place.servers)]
    kept = keep.headers(spec.keep_local) if remote_of(spec) is not None else None
    if kept is None:
        return {"routes": by_path}
    stay = _action("envoy.config.route.v3.Route", **_route("keep", {"prefix": "/"}, failover.local_only(spec)))
    others = _action("envoy.config.route.v3.RouteList", routes=by_path)
    return {"matcher": {"matcher_list": {"matchers": [{"predicate": kept, "on_match": stay}]}, "on_no_match": others}}


def _action(kind: str, /, **fields: object) -> Message:
    return {"action": extension("route", kind, **fields)}


def _kept_by_path(spec: OffloadSpec) -> list[Message]:
    match = keep.path(spec.keep_local)
    if match is None or remote_of(spec) is None:
        return []
    return [_route("keep", match, failover.local_only(spec))]


def _split(spec: OffloadSpec, *, servers: int) -> list[Message]:
    if remote_of(spec) is None:
        return [_route("local", {"prefix": "/"}, failover.local_only(spec))]
    share: Message = {
        "default_value": {"numerator": 0, "denominator": "MILLION"},
        "runtime_key": SHARE_KEY,
    }
    return [
        _route("share", {"prefix": "/", "runtime_fraction": share}, failover.remote_first(spec, servers=servers)),
        _route("local", {"prefix": "/"}, failover.local_first(spec, servers=servers)),
    ]


def _route(name: str, match: Message, chain: Chain) -> Message:
    # No timeout: a completion may stream for as long as it likes; silence is bounded by stream_idle_timeout.
    action: Message = {"cluster": chain.cluster, "timeout": "0s", "retry_policy": chain.retry_policy}
    return {"name": name, "match": match, "route": action}


def _to_remote(remote: RemoteBackend, name: str, cluster: str, *, match: Message) -> Message:
    action: Message = {"cluster": cluster, "timeout": "0s", "host_rewrite_literal": authority(remote)}
    prefix = remote.path_prefix.rstrip("/")
    if prefix:
        action["prefix_rewrite"] = f"{prefix}/"
    return {"name": name, "match": match, "route": action}
