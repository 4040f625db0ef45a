"""The chains, for every combination of settings that decide who is tried next."""

import itertools
from datetime import timedelta

import pytest

import builders
from beamlit_controller.core.spec import OnRemoteFailure, Overflow, RemoteBackend, Scheme
from beamlit_controller.envoy import failover
from beamlit_controller.envoy.failover import LOCAL, LOCAL_ANYWAY, LOCAL_HOP, Chain

REMOTE = RemoteBackend(Scheme.HTTP, "10.0.0.9", 8080)
FULL = RemoteBackend(Scheme.HTTP, "10.0.0.9", 8080, max_in_flight=8)
REMOTES = ((REMOTE,), (FULL,), (REMOTE, FULL, REMOTE))
OVERFLOWS = [
    Overflow(on_status=on_status, on_unavailable=on_unavailable, on_reset=on_reset, after=after)
    for on_status, on_unavailable, on_reset, after in itertools.product(
        ((), (503,)), (False, True), (False, True), (None, timedelta(seconds=20))
    )
]
SPECS = [
    builders.spec(remote=remotes[0], next_remotes=remotes[1:], overflow=overflow, on_remote_failure=on_remote_failure)
    for remotes, overflow, on_remote_failure in itertools.product(REMOTES, OVERFLOWS, OnRemoteFailure)
]
SERVERS = (0, 1, 2)


@pytest.mark.parametrize("servers", SERVERS)
def test_a_chain_that_ends_at_local_ends_where_no_server_is_ejected(servers: int) -> None:
    for spec in SPECS:
        for chain in failover.chains(spec, servers=servers):
            assert members(chain)[-1] != LOCAL


@pytest.mark.parametrize("servers", SERVERS)
def test_ejected_servers_take_the_place_of_the_last_attempt_and_get_none_of_their_own(servers: int) -> None:
    for spec in SPECS:
        for chain in (failover.local_first(spec, servers=servers), failover.remote_first(spec, servers=servers)):
            *others, last = members(chain)
            ends_locally = last == LOCAL_ANYWAY

            assert LOCAL_ANYWAY not in others
            assert not ends_locally or others[-1] == LOCAL
            assert attempts(chain) == len(others) + (not ends_locally)


@pytest.mark.parametrize("servers", SERVERS)
def test_the_local_hop_skips_ejected_servers_only_where_the_remote_takes_their_requests(servers: int) -> None:
    for spec in filter(failover.hops_locally, SPECS):
        kept = failover.local_only(spec, servers=servers).cluster

        assert failover.in_local_hop(spec, servers=servers).cluster == (LOCAL if spec.overflow.on_unavailable else kept)


@pytest.mark.parametrize("servers", SERVERS)
def test_a_request_that_may_not_leave_for_unavailability_ends_at_a_local_server(servers: int) -> None:
    """It got 503 while all local servers were ejected, although no remote was to answer it, and a server would have."""
    for spec in SPECS:
        if not spec.overflow.on_unavailable:
            first = members(failover.local_first(spec, servers=servers))
            way = members(failover.local_only(spec, servers=servers)) if first[0] == LOCAL_HOP else first

            assert way[-1] == LOCAL_ANYWAY
            assert failover.hops_locally(spec) == (first[0] == LOCAL_HOP) == failover.overflows(spec)


def test_without_a_remote_there_is_no_second_way_to_the_servers() -> None:
    for chain in failover.chains(builders.spec(), servers=2):
        assert set(members(chain)) == {LOCAL}


def members(chain: Chain) -> list[str]:
    """Return the clusters of a chain, in order."""
    assert chain.definition is not None
    clusters = chain.definition["cluster_type"]["typed_config"]["clusters"]
    return [each["name"] for each in clusters]


def attempts(chain: Chain) -> int:
    """Return how often a request is tried at most."""
    return 1 + chain.retry_policy["num_retries"]
