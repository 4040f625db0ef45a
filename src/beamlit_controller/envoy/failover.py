"""Who is asked when who was asked first did not answer: the only place that knows how one request tries several servers.

Envoy's composite cluster gives every attempt of a request a cluster of its own, and the route's retry policy says what
makes a next attempt. Nothing is tried again once a byte of the response has come.
"""

from dataclasses import dataclass

from beamlit_controller.core.spec import OffloadSpec, OnRemoteFailure
from beamlit_controller.envoy import upstream
from beamlit_controller.envoy.messages import Message, extension

LOCAL = "local"
REMOTE_HOP = "remote_hop"

# Bad gateway, service unavailable, gateway timeout; in gRPC, where the status is 200 in any case, UNAVAILABLE.
GATEWAY_ERRORS = (502, 503, 504)


@dataclass(frozen=True, slots=True)
class Chain:
    """The cluster to route to, the retry policy of the route, and the cluster's definition unless it is `local` itself."""

    cluster: str
    retry_policy: Message
    definition: Message | None = None


def local_only(spec: OffloadSpec) -> Chain:
    """Give the chain of requests that stay: one local server, then another."""
    return Chain(LOCAL, _retry_policy(_local_failures(spec), retries=1))


def local_first(spec: OffloadSpec) -> Chain:
    """Give the chain of requests that begin locally: two local servers, then the remote, unless the spec forbids it."""
    overflow = _remote(spec) if spec.overflow.on_unavailable else ()
    return _chain("local_first", (LOCAL, LOCAL, *overflow), on=_local_failures(spec))


def remote_first(spec: OffloadSpec) -> Chain:
    """Give the chain of requests that are offloaded: the remote, then two local servers, unless the spec forbids it."""
    fallback = () if _remote(spec) and spec.on_remote_failure is OnRemoteFailure.FAIL else (LOCAL, LOCAL)
    return _chain("remote_first", (*_remote(spec), *fallback), on=_local_failures(spec), statuses=GATEWAY_ERRORS)


def _remote(spec: OffloadSpec) -> tuple[str, ...]:
    """Give the remote, if there is one. Chains exist without, too: a route that is about to go may still lead to them."""
    return (REMOTE_HOP,) if spec.remote else ()


def _local_failures(spec: OffloadSpec) -> str:
    """Give what makes a next attempt; `reset` also covers a server that closed after it had read the request."""
    return f"connect-failure,refused-stream,{'reset' if spec.overflow.on_reset else 'reset-before-request'}"


def _chain(name: str, members: tuple[str, ...], *, on: str, statuses: tuple[int, ...] = ()) -> Chain:
    """Give the chain that tries each member once, in order; a member without a usable server is passed over."""
    definition: Message = {
        "name": name,
        "connect_timeout": "1s",
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": extension(
            "envoy.clusters.composite",
            "envoy.extensions.clusters.composite.v3.ClusterConfig",
            clusters=[{"name": member} for member in members],
        ),
        # Retries are counted against the composite, not against its members.
        "circuit_breakers": upstream.UNLIMITED,
        "typed_extension_protocol_options": upstream.as_the_client(),
    }
    return Chain(name, _retry_policy(on, retries=len(members) - 1, statuses=statuses), definition)


def _retry_policy(on: str, *, retries: int, statuses: tuple[int, ...] = ()) -> Message:
    by_status: Message = {"retriable_status_codes": list(statuses)} if statuses else {}
    return {
        "retry_on": f"{on},retriable-status-codes,unavailable" if statuses else on,
        **by_status,
        "num_retries": retries,
        "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.01s"},
        "retry_host_predicate": [
            extension(
                "envoy.retry_host_predicates.previous_hosts",
                "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
            )
        ],
        # A server that fails at once has the fewest requests, so it is drawn again and again: draw until another comes.
        "host_selection_retry_max_attempts": 50,
    }
