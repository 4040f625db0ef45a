"""Which server is tried next when one did not answer: the only place that knows how one request tries several servers.

Envoy's composite cluster gives every attempt of a request a cluster of its own, and the route's retry policy says what
makes a next attempt. Nothing is tried again once a byte of the response has come. All attempts share one policy,
so the answer has to say who gave it: the hops mark their answers with a header that no client sees.
"""

from dataclasses import dataclass

from beamlit_controller.core.spec import REMOTE_FAILURES, OffloadSpec, OnRemoteFailure, RemoteBackend
from beamlit_controller.envoy import answers, identity, upstream
from beamlit_controller.envoy.messages import Message, extension

LOCAL = "local"
LOCAL_HOP = "local_hop"
REMOTE_HOP = "remote_hop"
REMOTE_ANYWAY = "remote_hop_anyway"
"""The way to the remote for requests that local can't answer: it stays open even while the remote is ejected."""
LOCAL_FIRST = "local_first"
REMOTE_FIRST = "remote_first"

# What the remote hop says about an answer: `CODE:GRPC-STATUS` of the remote, or what the hop has to say itself.
REMOTE_MARK = "x-offload-remote"
ANSWERED = "%RESPONSE_CODE%:%RESP(GRPC-STATUS)%"
FAILED = "failed"
DECLINED = "declined"
WITHOUT_CREDENTIAL = "no-credential"

# The same of the local hop.
LOCAL_MARK = "x-offload-local"
UNAVAILABLE = "unavailable"
RESET = "reset"
SLOW = "slow"

# In gRPC the status is 200 in any case.
REMOTE_GRPC = {401: 16, 403: 7, 429: 8, 500: 13, 503: 14}
# Where the client's own credential is sent, a refusal of our gateway can't be distinguished from a refusal of this client.
REFUSED = (401, 402, 403)
THROTTLED = 429
SERVER_ERRORS = frozenset(range(500, 600))

GRPC_OF_STATUS = {429: ("resource-exhausted", 8), 503: ("unavailable", 14)}


@dataclass(frozen=True, slots=True)
class Chain:
    """The cluster to route to, the retry policy of the route, and the cluster's definition unless it is `local` itself."""

    cluster: str
    retry_policy: Message
    definition: Message | None = None


def chains(spec: OffloadSpec, *, servers: int) -> tuple[Chain, ...]:
    """Give every chain that a route of this spec, or one that is about to be replaced by it, leads to."""
    return (local_first(spec, servers=servers), remote_first(spec, servers=servers))


def local_only(spec: OffloadSpec, *, servers: int) -> Chain:
    """Give the chain of requests that stay: one local server, then another."""
    return Chain(LOCAL, _retry_policy(_failures(spec), retries=1, statuses=_means_full(spec, servers)))


def local_first(spec: OffloadSpec, *, servers: int) -> Chain:
    """Give the chain of requests that begin locally: two local servers, the remote, and once more local if that fails.

    `servers` is how many there are if that is known for sure, else 0: a single one is not asked twice in a row.
    """
    if not spec.remote or not overflows(spec):
        return _chain(LOCAL_FIRST, spec, (LOCAL,) * _tries(servers))
    begin = (LOCAL_HOP,) if hops_locally(spec) else (LOCAL,) * _tries(servers)
    anyway = identity.named(REMOTE_ANYWAY, spec.remote)
    return _chain(LOCAL_FIRST, spec, (*begin, anyway, *((LOCAL,) if comes_back(spec) else ())))


def remote_first(spec: OffloadSpec, *, servers: int) -> Chain:
    """Give the chain of requests that are offloaded: the remote, then two local servers, unless the spec forbids it.

    Where both fail, the remote is asked once more: it may have been left out. Then it is local's answer.
    """
    local = (LOCAL,) * _tries(servers) if comes_back(spec) else ()
    if spec.remote is None:
        return _chain(REMOTE_FIRST, spec, local)
    hop, anyway = (identity.named(each, spec.remote) for each in (REMOTE_HOP, REMOTE_ANYWAY))
    last = (anyway, LOCAL) if may_be_left_out(spec) and overflows(spec) else ()
    return _chain(REMOTE_FIRST, spec, (hop, *local, *last))


def hop_retry_policy(spec: OffloadSpec, *, servers: int) -> Message:
    """Give the policy within the local hop: another server, but no second wait for one that is slow."""
    waits = spec.overflow.after is not None
    on = "connect-failure,refused-stream,reset-before-request" if waits else _failures(spec)
    return _retry_policy(on, retries=1, statuses=_means_full(spec, servers))


def overflows(spec: OffloadSpec) -> bool:
    """Tell whether a request that local did not answer may go to the remote."""
    overflow = spec.overflow
    return overflow.on_unavailable or overflow.on_reset or bool(overflow.on_status) or overflow.after is not None


def hops_locally(spec: OffloadSpec) -> bool:
    """Tell whether requests pass a local hop: it tells apart why no server answered, and costs what a hop costs."""
    overflow = spec.overflow
    some_only = not overflow.on_unavailable and (overflow.on_reset or bool(overflow.on_status))
    return spec.remote is not None and (overflow.after is not None or some_only or _remote_may_look_full(spec))


def comes_back(spec: OffloadSpec) -> bool:
    """Tell whether a request for the remote may be answered by local after all."""
    if spec.remote is None or spec.on_remote_failure is OnRemoteFailure.LOCAL:
        return True
    return may_decline(spec.remote)


def may_decline(remote: RemoteBackend) -> bool:
    """Tell whether the hop may turn a request away without the remote having failed it."""
    return remote.max_in_flight is not None or remote.model_names is not None


def may_be_left_out(spec: OffloadSpec) -> bool:
    """Tell whether the remote is left out for a while when it fails: only where local answers in its place."""
    return spec.remote is not None and spec.on_remote_failure is OnRemoteFailure.LOCAL


def failed_remote(remote: RemoteBackend) -> str:
    """Give the regular expression of the marks that tell that the remote was asked and failed."""
    codes = remote.on_status
    if codes == REMOTE_FAILURES and not _refuses_us(remote):
        codes = tuple(code for code in codes if code not in REFUSED)
    return _failed(codes)


def broken_remote(remote: RemoteBackend) -> str:
    """Give the regular expression of the marks that count towards leaving the remote out: what may be wrong with it itself."""
    counted = {*(REFUSED if _refuses_us(remote) else ()), THROTTLED, *SERVER_ERRORS}
    return _failed(tuple(code for code in remote.on_status if code in counted))


def _refuses_us(remote: RemoteBackend) -> bool:
    return not remote.forward_client_authorization or remote.auth is not None


def _failed(codes: tuple[int, ...]) -> str:
    every = SERVER_ERRORS.issubset(codes)
    written = [str(code) for code in codes if not (every and code in SERVER_ERRORS)]
    told = "|".join((*written, *(("5[0-9][0-9]",) if every else ())))
    grpc = "|".join(str(number) for code, number in REMOTE_GRPC.items() if code in codes)
    return "|".join((FAILED, *((f"(?:{told}):.*",) if told else ()), *((f"200:(?:{grpc})",) if grpc else ())))


def _remote_may_look_full(spec: OffloadSpec) -> bool:
    """Tell whether a status that means "full" locally is passed on if the remote gave it, though declined requests come back."""
    fails = spec.on_remote_failure is OnRemoteFailure.FAIL
    return fails and bool(spec.overflow.on_status) and spec.remote is not None and may_decline(spec.remote)


def _means_full(spec: OffloadSpec, servers: int) -> tuple[int, ...]:
    """Give the statuses after which another server is asked; a single one would only be asked twice."""
    return () if servers == 1 else spec.overflow.on_status


def _tries(servers: int) -> int:
    return 1 if servers == 1 else 2


def _failures(spec: OffloadSpec) -> str:
    """Give what makes a next attempt; `reset` also covers a server that closed after it had read the request."""
    return f"connect-failure,refused-stream,{'reset' if spec.overflow.on_reset else 'reset-before-request'}"


def _marks(spec: OffloadSpec) -> list[Message]:
    """Give the answers of the hops that make a next attempt."""
    local = [
        *([_full(spec.overflow.on_status)] if spec.overflow.on_status else []),
        *([UNAVAILABLE] if spec.overflow.on_unavailable else []),
        *([RESET] if spec.overflow.on_reset else []),
        *([SLOW] if spec.overflow.after is not None else []),
    ]
    marks = [_marked(LOCAL_MARK, "local", "|".join(local))] if local and hops_locally(spec) else []
    if spec.remote is not None and comes_back(spec):
        failed = (WITHOUT_CREDENTIAL, failed_remote(spec.remote))
        back = (DECLINED, *(failed if spec.on_remote_failure is OnRemoteFailure.LOCAL else ()))
        marks.append(_marked(REMOTE_MARK, "remote", "|".join(back)))
    return marks


def _full(statuses: tuple[int, ...]) -> str:
    codes, grpc = (
        "|".join(map(str, statuses)),
        [str(GRPC_OF_STATUS[each][1]) for each in statuses if each in GRPC_OF_STATUS],
    )
    return f"(?:{codes}):.*" + (f"|200:(?:{'|'.join(grpc)})" if grpc else "")


def _marked(name: str, hop: str, regex: str) -> Message:
    """Give the HeaderMatcher of a mark that this hop has made, and nobody behind it or beside it."""
    return {"name": name, "string_match": {"safe_regex": {"regex": f"{hop}/(?:{regex})"}}}


def _chain(kind: str, spec: OffloadSpec, members: tuple[str, ...]) -> Chain:
    """Give the chain that tries each member once, in order; a member without a usable server is passed over.

    It is named by its content, so that the front's routes alone decide when another one takes its place.
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
        # Retries are counted against the composite, not against its members.
        "circuit_breakers": upstream.UNLIMITED,
        "typed_extension_protocol_options": upstream.as_the_client(
            http_filters=answers.signed(REMOTE_MARK, LOCAL_MARK), **_counted_as_errors(spec)
        ),
    }
    policy = _retry_policy(
        _failures(spec),
        retries=len(members) - 1,
        # The local hop may have given an answer itself: then the mark decides, not the status.
        statuses=()
        if LOCAL_HOP in members or LOCAL not in members or _remote_may_look_full(spec)
        else spec.overflow.on_status,
        marks=_marks(spec),
    )
    name = identity.named_by_content(kind, content)
    return Chain(name, policy, {"name": name, **content})


def _counted_as_errors(spec: OffloadSpec) -> Message:
    """Give what counts towards ejecting the remote; it is looked for here, not at the chain's members."""
    if spec.remote is None:
        return {}
    headers = [_marked(REMOTE_MARK, "remote", broken_remote(spec.remote))]
    return {"outlier_detection": {"error_matcher": {"http_response_headers_match": {"headers": headers}}}}


def _retry_policy(
    on: str, *, retries: int, statuses: tuple[int, ...] = (), marks: list[Message] | None = None
) -> Message:
    grpc = [GRPC_OF_STATUS[status][0] for status in statuses if status in GRPC_OF_STATUS]
    conditions = [
        on,
        *(["retriable-status-codes"] if statuses else []),
        *grpc,
        *(["retriable-headers"] if marks else []),
    ]
    return {
        "retry_on": ",".join(conditions),
        **({"retriable_status_codes": list(statuses)} if statuses else {}),
        **({"retriable_headers": marks} if marks else {}),
        "num_retries": retries,
        "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.01s"},
        "retry_host_predicate": [
            extension(
                "envoy.retry_host_predicates.previous_hosts",
                "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
            )
        ],
        # A server that fails at once has the fewest requests, so it is picked again and again: pick until another one comes up.
        "host_selection_retry_max_attempts": 50,
    }
