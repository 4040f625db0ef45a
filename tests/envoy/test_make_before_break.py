"""The steps of a change: what is new comes first, the front's routes follow, and what is old goes after its last request."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

import builders
from beamlit_controller.core.gateway_config import UNKNOWN, ConfigInForce, Files
from beamlit_controller.core.spec import ApiKey, Overflow, PathPrefix, RemoteBackend, Scheme, SecretKey
from beamlit_controller.envoy import config, config_stats, identity, make_before_break
from beamlit_controller.envoy.failover import REMOTE_HOP
from beamlit_controller.envoy.gateway_params import GatewayParams
from beamlit_controller.envoy.make_before_break import MOST_LEAVING

A = RemoteBackend(Scheme.HTTP, "10.0.0.8", 80, auth=ApiKey(SecretKey("a", "key")))
B = RemoteBackend(Scheme.HTTP, "10.0.0.9", 80, auth=ApiKey(SecretKey("b", "key")))
FRONT = "rds-front.json"


def files(remote: RemoteBackend | None = A, **changes: object) -> Files:
    """Return the files of a gateway with this remote."""
    params = GatewayParams("n", "/g", "127.0.0.1:1", "127.0.0.1:2", "unix:a", "unix:s", ("10.0.0.1:8000",))
    return config.files(builders.spec(remote=remote, **changes), params)


def has(given: Files, *, busy: RemoteBackend | None = None, **changes: object) -> ConfigInForce:
    """Return what a gateway says that has all of this in force."""
    told = {name: text for name, text in given.items() if name[:3] in {"cds", "lds", "rds"}}
    versions = tuple((name, json.loads(text)["version_info"]) for name, text in told.items())
    ids = frozenset({hop(busy)[-12:]}) if busy else frozenset()
    return ConfigInForce(**{"versions": versions, "busy": ids, **changes})


def hop(remote: RemoteBackend) -> str:
    """Name the hop of this remote."""
    return identity.named(REMOTE_HOP, remote)


def hops(given: Files) -> set[str]:
    """Name the hops to remotes that there are: cluster, listener and routes of each."""
    found = [
        {each["name"] for each in json.loads(given[name])["resources"] if each["name"].startswith("remote_hop_")}
        for name in ("cds.json", "lds.json")
    ]
    tables = {name[4:-5] for name in given if name.startswith("rds-remote_hop_")}
    clusters = {name for name in found[0] if "anyway" not in name}
    assert clusters == found[1] == tables
    return tables


def settled(present: Files, asked: Files, *, busy: RemoteBackend | None = None) -> Files:
    """Return what is there after so many steps as are needed, in a gateway that takes all at once."""
    for _ in range(10):
        step = make_before_break.next_step(present, asked, [has(present, busy=busy)])
        present = step.files
        if step.settled:
            break
    return present


def test_what_is_new_stands_beside_what_is_old_before_any_route_leads_there() -> None:
    old, new = files(A), files(B)

    step = make_before_break.next_step(old, new, [has(old)])

    assert hops(step.files) == {hop(A), hop(B)}
    assert step.files[FRONT] == old[FRONT]
    assert not step.settled


def test_routes_follow_once_every_gateway_has_what_is_new() -> None:
    old, new = files(A), files(B)
    both = make_before_break.next_step(old, new, [has(old)]).files
    late = {
        "without an answer": UNKNOWN,
        "with older files": has(old),
        "still warming": has(both, warming=True),
    }

    waits = {why: make_before_break.next_step(both, new, [has(both), one]).files[FRONT] for why, one in late.items()}
    follows = make_before_break.next_step(both, new, [has(both), has(both)])

    assert waits == dict.fromkeys(late, old[FRONT])
    assert follows.files[FRONT] == new[FRONT]
    assert hops(follows.files) == {hop(A), hop(B)}


def test_what_is_old_goes_after_its_last_request() -> None:
    old, new = files(A), files(B)
    both = make_before_break.next_step(old, new, [has(old)]).files
    led = make_before_break.next_step(both, new, [has(both)]).files

    unread = make_before_break.next_step(led, new, [has(both)])
    busy = make_before_break.next_step(led, new, [has(led), has(led, busy=A)])
    idle = make_before_break.next_step(led, new, [has(led), has(led)])

    assert hops(unread.files) == hops(busy.files) == {hop(A), hop(B)}
    assert not busy.settled
    assert hops(idle.files) == {hop(B)}
    assert make_before_break.next_step(idle.files, new, [has(idle.files)]).settled


def test_an_attempt_under_old_routes_is_led_where_the_new_ones_lead() -> None:
    old, new = files(A), files(B)

    given = settled(old, new)

    clusters = {each["name"]: each for each in json.loads(given["cds.json"])["resources"]}
    chains = {name for name in clusters if name.startswith("remote_first_")}
    assert len(chains) == 2
    assert {json.dumps(clusters[name]["cluster_type"]) for name in chains} == {
        json.dumps(each["cluster_type"])
        for each in json.loads(new["cds.json"])["resources"]
        if each["name"].startswith("remote_first_")
    }
    assert hop(A) not in given["cds.json"]


def test_a_change_of_nothing_but_routes_takes_one_step() -> None:
    old, new = files(A), files(A, keep_local=(PathPrefix("/internal"),))

    step = make_before_break.next_step(old, new, [UNKNOWN])

    assert step.files == new


def test_what_is_asked_for_again_is_led_to_as_it_is_asked_for() -> None:
    a, b = files(A), files(B)
    left = settled(a, b, busy=A)

    first = make_before_break.next_step(left, a, [has(left, busy=A)])
    again = settled(first.files, a)

    assert hop(A) in hops(left)
    assert first.files[FRONT] == b[FRONT]
    assert again[FRONT] == a[FRONT]
    assert hops(again) == {hop(A)}


def test_a_remote_that_is_taken_away_goes_after_its_last_request() -> None:
    with_remote, without = files(A), files(None)

    busy, idle = settled(with_remote, without, busy=A), settled(with_remote, without)

    assert busy[FRONT] == idle[FRONT] == without[FRONT]
    assert hops(busy) == {hop(A)}
    assert hops(idle) == set()


def test_many_changes_that_are_never_taken_leave_the_routes_where_they_led_and_stay_small() -> None:
    present = first = files(A)
    remotes = [replace(B, port=port) for port in range(1000, 1012)]

    for remote in remotes:
        present = make_before_break.next_step(present, files(remote), [has(first)]).files

    assert present[FRONT] == first[FRONT]
    assert {hop(A), hop(remotes[-1])} <= hops(present)
    assert len(hops(present)) <= MOST_LEAVING + 2
    assert len("".join(present.values())) < 512 * 1024


def test_many_changes_that_are_taken_leave_little_behind() -> None:
    present = files(A)

    for port in range(1000, 1008):
        present = settled(present, files(replace(B, port=port)))

    assert hops(present) == {hop(replace(B, port=1007))}
    assert len(json.loads(present["cds.json"])["resources"]) < 12 + 2 * MOST_LEAVING


def test_files_that_are_not_ours_are_replaced_at_once() -> None:
    asked = files(A)
    foreign = ({}, {"cds.json": "{"}, {**asked, "cds.json": "[]"}, {**asked, "lds.json": '{"resources": [1]}'})

    steps = [make_before_break.next_step(present, asked, [UNKNOWN]) for present in foreign]

    assert all(step.files == asked and step.settled for step in steps)


def test_files_of_an_earlier_version_stay_until_routes_lead_past_them() -> None:
    asked = files(A)
    old = builders.without_ids(files(A))

    both = make_before_break.next_step(old, asked, [has(old)]).files
    led = make_before_break.next_step(both, asked, [has(both)]).files
    after = make_before_break.next_step(led, asked, [has(led)]).files

    assert both[FRONT] == old[FRONT]
    assert led[FRONT] == asked[FRONT]
    assert {"local_first", "remote_first", "remote_hop", "remote", hop(A)} <= names(both, "cds.json")
    assert {"remote_hop", hop(A)} <= names(both, "lds.json")
    assert both["rds-remote_hop.json"] == old["rds-remote_hop.json"]
    assert after == asked


def test_what_old_routes_lead_to_beside_the_remote_stays_as_long_as_they_do() -> None:
    overflow = Overflow(after=timedelta(seconds=2))
    old, new = files(A, overflow=overflow), files(None)

    both = make_before_break.next_step(old, new, [has(old)]).files
    after = settled(both, new)

    assert both[FRONT] == new[FRONT]
    assert "local_hop" in names(both, "cds.json") & names(both, "lds.json")
    assert both["rds-local_hop.json"] == old["rds-local_hop.json"]
    assert "local_hop" not in names(after, "cds.json") | names(after, "lds.json")


def names(given: Files, file: str) -> set[str]:
    """Name the resources of a file."""
    return {each["name"] for each in json.loads(given[file])["resources"]}


def test_a_remote_is_another_by_all_that_defines_it() -> None:
    same = (replace(A, max_in_flight=3), replace(A, on_status=(500,)))
    others = (
        B,
        replace(A, port=81),
        replace(A, scheme=Scheme.HTTPS),
        replace(A, auth=None),
        replace(A, auth=ApiKey(SecretKey("a", "other"))),
        replace(A, headers_to_add=(("x-a", "b"),)),
        replace(A, headers_to_remove=("x-a",)),
        replace(A, query_to_remove=("a",)),
        replace(A, forward_client_authorization=True),
        replace(A, path_prefix="/a"),
    )

    assert {hop(each) for each in same} == {hop(A)}
    assert len({hop(each) for each in (A, *others)}) == 1 + len(others)


@pytest.mark.parametrize("name", ["cds.json", "lds.json", FRONT, "rds-remote_hop_0123456789ab.json", "sds-mine.json"])
@pytest.mark.parametrize(
    "text",
    ["", "no JSON", "[]", "7", '{"resources": 7}', '{"resources": [7]}', "[" * 100_000],
    ids=lambda text: text[:20],
)
def test_a_file_that_somebody_has_broken_gives_way_to_all_that_is_asked_for(name: str, text: str) -> None:
    asked, broken = files(B), {**files(A), name: text}

    step = make_before_break.next_step(broken, asked, [has(files(A))])

    assert step.files == asked
    assert config_stats.missing(step.files, UNKNOWN)


# Several remotes.

ONE, TWO, THREE = replace(A, name="one"), replace(B, name="two"), replace(B, name="three")


def test_a_remote_that_is_added_is_there_before_the_routes_lead_to_it_and_the_other_one_stays() -> None:
    before, asked = files(ONE), files(ONE, next_remotes=(TWO,))

    first = make_before_break.next_step(before, asked, [has(before)]).files
    last = settled(before, asked)

    assert hops(first) == {hop(ONE), hop(TWO)}
    assert first[FRONT] == before[FRONT]
    assert (hops(last), last[FRONT]) == ({hop(ONE), hop(TWO)}, asked[FRONT])


@pytest.mark.parametrize("gone", [ONE, TWO], ids=["the first", "the second"])
def test_a_remote_that_is_removed_goes_after_its_last_request(gone: RemoteBackend) -> None:
    left = TWO if gone is ONE else ONE
    before, asked = files(ONE, next_remotes=(TWO,)), files(left)

    busy = settled(before, asked, busy=gone)
    idle = settled(busy, asked)

    assert (hops(busy), busy[FRONT]) == ({hop(ONE), hop(TWO)}, asked[FRONT])
    assert hops(idle) == {hop(left)}


def test_remotes_that_change_places_keep_their_hops() -> None:
    before, asked = files(ONE, next_remotes=(TWO,)), files(TWO, next_remotes=(ONE,))

    last = settled(before, asked)

    assert hops(before) == hops(last) == {hop(ONE), hop(TWO)}
    assert last[FRONT] == asked[FRONT] != before[FRONT]


def test_two_remotes_that_differ_by_name_alone_have_ways_of_their_own() -> None:
    assert hops(files(TWO, next_remotes=(THREE,))) == {hop(TWO), hop(THREE)}
    assert hop(TWO) != hop(THREE)
