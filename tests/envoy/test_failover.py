"""The chains, for every combination of settings that decide who is tried next."""

import itertools
from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta

import pytest

import builders
from beamlit_controller.core.spec import OnRemoteFailure, Overflow, RemoteBackend, Scheme
from beamlit_controller.envoy import failover
from beamlit_controller.envoy.failover import LOCAL, LOCAL_ANYWAY, LOCAL_HOP, Chain
from beamlit_controller.envoy.identity import NAMED

REMOTE = RemoteBackend(Scheme.HTTP, "10.0.0.9", 8080)
FULL = RemoteBackend(Scheme.HTTP, "10.0.0.9", 8080, max_in_flight=8)
REMOTES = ((REMOTE,), (FULL,), (REMOTE, replace(FULL, host="10.0.0.8"), replace(REMOTE, host="10.0.0.7")))
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
            others = [each for each in members(chain) if each != LOCAL_ANYWAY]
            ejected = members(chain)[len(others) :]

            assert attempts(chain) == len(others)
            assert set(ejected) == ({LOCAL_ANYWAY} if others[-1] == LOCAL else set())


@pytest.mark.parametrize("servers", SERVERS)
def test_a_route_with_a_cap_has_the_attempts_of_the_longer_of_its_chains(servers: int) -> None:
    """A request above the cap got the remote's failure if one that starts locally is not tried again."""
    for spec in SPECS:
        capped = failover.local_first_under_a_cap(spec, servers=servers)
        below, above = failover.local_first(spec, servers=servers), failover.remote_first(spec, servers=servers)

        assert replace(capped, retry_policy=below.retry_policy) == below
        assert attempts(capped) == max(attempts(below), attempts(above))
        # Beyond its members a chain has nobody to ask, and the last response would be lost.
        assert attempts(capped) <= len(members(below))


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


@pytest.mark.parametrize("servers", SERVERS)
def test_whoever_fails_local_has_the_last_attempt_even_if_it_is_ejected(servers: int) -> None:
    for spec in SPECS:
        for chain in (failover.local_first(spec, servers=servers), failover.remote_first(spec, servers=servers)):
            asked = tried(chain, skipped={LOCAL})

            assert (asked[-1] == LOCAL_ANYWAY) == (tried(chain)[-1] == LOCAL)
            assert asked.count(LOCAL_ANYWAY) <= tried(chain).count(LOCAL)


@pytest.mark.parametrize(("skipped", "most"), [(set(), 2), ({LOCAL}, 4), ({LOCAL, LOCAL_ANYWAY}, 4)])
@pytest.mark.parametrize("servers", SERVERS)
def test_a_remote_that_fails_gets_a_request_twice_or_in_place_of_local_four_times(
    servers: int, skipped: set[str], most: int
) -> None:
    for spec in SPECS:
        for chain in (failover.local_first(spec, servers=servers), failover.remote_first(spec, servers=servers)):
            remotes = Counter(found["id"] for name in tried(chain, skipped) if (found := NAMED.fullmatch(name)))

            assert max(remotes.values(), default=0) <= most


def test_without_a_remote_there_is_no_second_way_to_the_servers() -> None:
    for chain in failover.chains(builders.spec(), servers=2):
        assert set(members(chain)) == {LOCAL}


def members(chain: Chain) -> list[str]:
    """Return the clusters of a chain, in order."""
    assert chain.definition is not None
    clusters = chain.definition["cluster_type"]["typed_config"]["clusters"]
    return [each["name"] for each in clusters]


def tried(chain: Chain, skipped: Collection[str] = ()) -> list[str]:
    """Return the clusters that a request tries if each fails it: for the n-th attempt the n-th, or the next that is not skipped."""
    clusters = members(chain)
    usable = ([each for each in clusters[number:] if each not in skipped] for number in range(attempts(chain)))
    return [each[0] for each in usable if each]


def attempts(chain: Chain) -> int:
    """Return how often a request is tried at most."""
    return 1 + chain.retry_policy["num_retries"]
