"""Failover: which server is tried next for a request. Only this module knows how one request tries several servers.

Envoy's composite cluster assigns a cluster to each attempt of a request, and the route's retry policy determines when
there is a next attempt. Nothing is retried once a byte of the response has been received. All attempts share one
policy, so the response has to tell who gave it: the hops mark their responses with a header that clients never see.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from beamlit_controller.core import weighted_remotes
from beamlit_controller.core.spec import OffloadSpec, OnRemoteFailure, RemoteBackend
from beamlit_controller.envoy import identity, remote_marks, response_headers, retries, upstream
from beamlit_controller.envoy.messages import Message, extension

LOCAL = "local"
LOCAL_ANYWAY = "local_anyway"
"""The same servers for requests that nobody else can answer, once all of them are ejected."""
LOCAL_HOP = "local_hop"
REMOTE_HOP = "remote_hop"
REMOTE_ANYWAY = "remote_hop_anyway"
"""The way to the remote for requests that local can't answer; it works even while the remote is ejected."""
EJECTED = "left_out"
"""The hop that answers in place of an ejected remote, so that the next attempt is at the next remote."""
LOCAL_ONLY = "local_only"
LOCAL_FIRST = "local_first"
REMOTE_FIRST = "remote_first"

# The mark of the remote hop: `CODE:GRPC-STATUS,UPGRADE` of the remote's response (the upgrade is what the client requested), or
# a word for a response of the hop itself.
REMOTE_MARK = "x-offload-remote"
ANSWERED = "%RESPONSE_CODE%:%RESP(GRPC-STATUS)%"
REMOTE_ANSWERED = f"{ANSWERED},%REQ(UPGRADE)%"

# The mark of the local hop.
LOCAL_MARK = "x-offload-local"
UNAVAILABLE = "unavailable"
RESET = "reset"
SLOW = "slow"


@dataclass(frozen=True, slots=True)
class Chain:
    """The cluster to route to, the route's retry policy, and the cluster's definition, except for `local` itself."""

    cluster: str
    retry_policy: Message
    definition: Message | None = None


def chains(spec: OffloadSpec, *, servers: int) -> tuple[Chain, ...]:
    """Return all chains that the routes of this spec lead to, including those of routes it is about to replace."""
    kept = (local_only(spec, servers=servers),) if spec.remotes else ()
    return (*kept, local_first(spec, servers=servers), remote_first(spec, servers=servers))


def all_local(spec: OffloadSpec, *, servers: int) -> Chain:
    """Return the chain of all requests while none may leave: one local server, then another."""
    return Chain(LOCAL, _two_servers(spec, servers))


def local_only(spec: OffloadSpec, *, servers: int) -> Chain:
    """Return the chain of requests that must stay while others may leave: as `all_local`, even if all servers are ejected.

    Servers may be ejected because they were slow or broke off other requests, and nobody else can answer these.
    """
    # The last member is not for a third attempt: it takes the place of the others while they are skipped.
    members = (LOCAL, LOCAL, LOCAL_ANYWAY)
    return _named(LOCAL_ONLY, members, _two_servers(spec, servers), http_filters=response_headers.stripped())


def _two_servers(spec: OffloadSpec, servers: int) -> Message:
    return retries.policy(_failures(spec), retries=1, statuses=_means_full(spec, servers))


def local_first(spec: OffloadSpec, *, servers: int) -> Chain:
    """Return the chain of requests that start locally: two local servers, the remotes, and local once more if these fail.

    `servers` is the number of local servers, or 0 if it is not known; a single one is not tried twice in a row.
    """
    return _chain(LOCAL_FIRST, spec, _local_first(spec, servers), most=_attempts_under_a_cap(spec, servers))


def local_first_under_a_cap(spec: OffloadSpec, *, servers: int) -> Chain:
    """Return `local_first` for a route that leads to `remote_first` above the cap: a route has one policy for all its clusters."""
    chain = local_first(spec, servers=servers)
    return replace(chain, retry_policy={**chain.retry_policy, "num_retries": _attempts_under_a_cap(spec, servers) - 1})


def remote_first(spec: OffloadSpec, *, servers: int) -> Chain:
    """Return the chain of offloaded requests: the remotes, then two local servers unless the spec forbids it.

    If all fail, the remotes are tried once more, because they may have been skipped as ejected; local has the last try.
    """
    return _chain(REMOTE_FIRST, spec, _remote_first(spec, servers))


def _attempts_under_a_cap(spec: OffloadSpec, servers: int) -> int:
    return max(len(_local_first(spec, servers)), len(_remote_first(spec, servers)))


def _local_first(spec: OffloadSpec, servers: int) -> tuple[str, ...]:
    if not spec.remotes or not overflows(spec):
        return (LOCAL,) * _tries(servers)
    begin = (LOCAL_HOP,) if hops_locally(spec) else (LOCAL,) * _tries(servers)
    return (*begin, *_remotes_in_turn(spec), *((LOCAL,) if comes_back(spec) else ()))


def _remote_first(spec: OffloadSpec, servers: int) -> tuple[str, ...]:
    local = (LOCAL,) * _tries(servers) if comes_back(spec) else ()
    if not spec.remotes:
        return local
    hops, anyway = (_hop_names(kind, spec.remotes) for kind in (REMOTE_HOP, REMOTE_ANYWAY))
    if spec.on_remote_failure is OnRemoteFailure.FAIL:
        hops = (*hops, *_hop_names(REMOTE_ANYWAY, weighted_remotes.passed_over(spec)))
    last = (*anyway, LOCAL) if spec.on_remote_failure is OnRemoteFailure.LOCAL and overflows(spec) else ()
    return (*hops, *local, *last)


def _remotes_in_turn(spec: OffloadSpec) -> tuple[str, ...]:
    """Return the ways to the remotes for requests that local can't answer; ejected remotes are skipped at first.

    The last remote is tried even if it is ejected. Then the others are, if a remote's failure is not returned to the
    client.
    """
    first = spec.remotes[:-1]
    again = first if spec.on_remote_failure is OnRemoteFailure.LOCAL else weighted_remotes.passed_over(spec)
    return (*_hop_names(REMOTE_HOP, first), *_hop_names(REMOTE_ANYWAY, (*spec.remotes[-1:], *again)))


def _hop_names(kind: str, remotes: Iterable[RemoteBackend]) -> tuple[str, ...]:
    return tuple(identity.named(kind, remote) for remote in remotes)


def in_local_hop(spec: OffloadSpec, *, servers: int) -> Chain:
    """Return the chain within the local hop: another server is tried, but not after waiting for a slow one.

    Ejected servers are skipped only if the request then goes to the remote.
    """
    waits = spec.overflow.after is not None
    on = "connect-failure,refused-stream,reset-before-request" if waits else _failures(spec)
    cluster = LOCAL if spec.overflow.on_unavailable else local_only(spec, servers=servers).cluster
    return Chain(cluster, retries.policy(on, retries=1, statuses=_means_full(spec, servers)))


def overflows(spec: OffloadSpec) -> bool:
    """Return whether a request that local did not answer may go to the remote."""
    overflow = spec.overflow
    return overflow.on_unavailable or overflow.on_reset or bool(overflow.on_status) or overflow.after is not None


def hops_locally(spec: OffloadSpec) -> bool:
    """Return whether requests pass the local hop, which distinguishes why no server answered, at the cost of a hop.

    Weighted remotes need it as well: without a usable local server, Envoy skips that member of the chain for the first
    attempt but not for the second one, which then goes to the same remote as the first and not to the one after it.
    """
    overflow = spec.overflow
    some_only = not overflow.on_unavailable and (overflow.on_reset or bool(overflow.on_status))
    shared = bool(weighted_remotes.passed_over(spec))
    return spec.remote is not None and (
        overflow.after is not None or some_only or shared or _remote_may_look_full(spec)
    )


def comes_back(spec: OffloadSpec) -> bool:
    """Return whether a request for the remotes may still be answered by local."""
    if not spec.remotes or spec.on_remote_failure is OnRemoteFailure.LOCAL:
        return True
    return may_decline(spec.remotes[-1])


def may_decline(remote: RemoteBackend) -> bool:
    """Return whether the hop may decline a request that the remote itself did not fail."""
    return remote.max_in_flight is not None or remote.model_names is not None or remote.budget is not None


def is_replaced(spec: OffloadSpec, remote: RemoteBackend) -> bool:
    """Return whether another server (the next remote, or local) answers when this remote fails, so that it may be ejected."""
    is_last = remote == spec.remotes[-1] and not weighted_remotes.passed_over(spec)
    return spec.on_remote_failure is OnRemoteFailure.LOCAL or not is_last


def _remote_may_look_full(spec: OffloadSpec) -> bool:
    """Return whether a status that means "full" locally is returned to the client if it came from the remote."""
    fails = spec.on_remote_failure is OnRemoteFailure.FAIL
    return fails and bool(spec.overflow.on_status) and bool(spec.remotes) and may_decline(spec.remotes[-1])


def _means_full(spec: OffloadSpec, servers: int) -> tuple[int, ...]:
    """Return the statuses after which another local server is tried; none if there is only one server."""
    return () if servers == 1 else spec.overflow.on_status


def _tries(servers: int) -> int:
    return 1 if servers == 1 else 2


def _failures(spec: OffloadSpec) -> str:
    """Return the failures that lead to another attempt; `reset` includes a server that closed after reading the request."""
    return f"connect-failure,refused-stream,{'reset' if spec.overflow.on_reset else 'reset-before-request'}"


def _marks(spec: OffloadSpec) -> list[Message]:
    """Return the marks of the hops that lead to another attempt."""
    local = [
        *([_full(spec.overflow.on_status)] if spec.overflow.on_status else []),
        *([UNAVAILABLE] if spec.overflow.on_unavailable else []),
        *([RESET] if spec.overflow.on_reset else []),
        *([SLOW] if spec.overflow.after is not None else []),
    ]
    marks = [_marked(LOCAL_MARK, "local", "|".join(local))] if local and hops_locally(spec) else []
    return [
        *marks,
        *(_of_remote(spec, remote) for remote in spec.remotes if is_replaced(spec, remote) or comes_back(spec)),
    ]


def _of_remote(spec: OffloadSpec, remote: RemoteBackend) -> Message:
    """Return the marks of a remote's hop that lead to another attempt; failures only if another server answers instead."""
    failed = (remote_marks.WITHOUT_CREDENTIAL, remote_marks.PAUSED, remote_marks.failed_remote(remote))
    goes_on = (remote_marks.DECLINED, *(failed if is_replaced(spec, remote) else ()))
    return _marked(REMOTE_MARK, remote_marks.hop(remote), "|".join(goes_on))


def _full(statuses: tuple[int, ...]) -> str:
    codes, grpc = (
        "|".join(map(str, statuses)),
        [str(retries.GRPC_OF_STATUS[each][1]) for each in statuses if each in retries.GRPC_OF_STATUS],
    )
    return f"(?:{codes}):.*" + (f"|200:(?:{'|'.join(grpc)})" if grpc else "")


def _marked(name: str, hop: str, regex: str) -> Message:
    """Return the HeaderMatcher of a mark that was made by this hop, and by no other hop or server."""
    return _matches(name, _signed(hop, regex))


def _signed(hop: str, regex: str) -> str:
    return f"{hop}/(?:{regex})"


def _matches(name: str, regex: str) -> Message:
    return {"name": name, "string_match": {"safe_regex": {"regex": regex}}}


def _chain(kind: str, spec: OffloadSpec, members: tuple[str, ...], *, most: int = 0) -> Chain:
    """Return the chain that tries each member once, in order. If local is the last, it is tried even if all servers are ejected.

    `most` is the number of attempts that a route to it may ask for; without a member for each, the last response would be lost.
    """
    # As in `local_only`, this member gets an attempt of its own only where `most` is larger.
    anyway = (LOCAL_ANYWAY,) * max(1, most - len(members)) if spec.remotes and members[-1] == LOCAL else ()
    policy = retries.policy(
        _failures(spec),
        retries=len(members) - 1,
        # The response may be the local hop's own, so its mark decides rather than the status.
        statuses=()
        if LOCAL_HOP in members or LOCAL not in members or _remote_may_look_full(spec)
        else spec.overflow.on_status,
        marks=_marks(spec),
    )
    signed = response_headers.signed(REMOTE_MARK, LOCAL_MARK)
    return _named(kind, (*members, *anyway), policy, http_filters=signed, **_counted_as_errors(spec))


def _named(kind: str, members: tuple[str, ...], policy: Message, **options: object) -> Chain:
    """Return the chain with these members, of which those without a usable server are skipped.

    Its name is derived from its content, so that only a change of the front's routes replaces it.
    """
    content: Message = {
        "alt_stat_name": kind,
        "connect_timeout": "1s",
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": extension(
            "envoy.clusters.composite",
            "envoy.extensions.clusters.composite.v3.ClusterConfig",
            clusters=[{"name": member} for member in members],
        ),
        # Envoy counts retries against the composite cluster, not against its members.
        "circuit_breakers": upstream.UNLIMITED,
        "typed_extension_protocol_options": upstream.as_the_client(**options),
    }
    name = identity.named_by_content(kind, content)
    return Chain(name, policy, {"name": name, **content})


def _counted_as_errors(spec: OffloadSpec) -> Message:
    """Return what counts towards ejecting a remote. Envoy looks for it here, not at the chain's members."""
    if not spec.remotes:
        return {}
    broken = (_signed(remote_marks.hop(each), remote_marks.broken_remote(each)) for each in spec.remotes)
    # One matcher, because several would have to match all at once.
    headers = [_matches(REMOTE_MARK, "|".join(broken))]
    return {"outlier_detection": {"error_matcher": {"http_response_headers_match": {"headers": headers}}}}
