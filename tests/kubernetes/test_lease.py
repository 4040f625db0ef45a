"""Leader election: one leader at a time, a new one soon, and a fence that a frozen leader can't jump."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from beamlit_controller.kubernetes import lease as leases
from beamlit_controller.kubernetes.lease import Lease, LeaseDurations
from beamlit_controller.kubernetes.paths import LEASES
from fakes.objects import Objects

pytestmark = pytest.mark.looptime

PATH = LEASES.path("beamlit", "controller")


@asynccontextmanager
async def running(*leases: Lease) -> AsyncIterator[list[asyncio.Task[None]]]:
    tasks = [asyncio.ensure_future(lease.run()) for lease in leases]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def candidate(objects: Objects, name: str, terms: LeaseDurations | None = None) -> Lease:
    return Lease(objects, namespace="beamlit", name="controller", identity=name, terms=terms)


async def test_the_first_leads_and_the_second_waits() -> None:
    objects = Objects()
    one, two = candidate(objects, "one"), candidate(objects, "two")
    async with running(one):
        await one.leading.changed_from(seen=False)

        async with running(two):
            await asyncio.sleep(120)

            assert one.held()
            assert not two.leading.value


async def test_a_lease_can_be_found_by_its_label_also_one_that_was_there_before() -> None:
    objects = Objects()
    one, two = candidate(objects, "one"), candidate(objects, "two")
    async with running(one):
        await one.leading.changed_from(seen=False)
        created = (await objects.get(PATH))["metadata"]["labels"]
    lease = await objects.get(PATH)
    await objects.replace(PATH, {**lease, "metadata": {**lease["metadata"], "labels": {"team": "search"}}})
    async with running(two):
        await two.leading.changed_from(seen=False)
        taken = (await objects.get(PATH))["metadata"]["labels"]

    assert created == {"app.kubernetes.io/name": "beamlit-controller"}
    assert taken == {"team": "search", **created}


async def test_who_stops_gives_the_lease_up_and_the_next_leads_within_a_try() -> None:
    objects = Objects()
    one, two = candidate(objects, "one"), candidate(objects, "two")
    async with running(one) as (task,), running(two):
        await one.leading.changed_from(seen=False)
        stopped = asyncio.get_running_loop().time()

        task.cancel()
        await two.leading.changed_from(seen=False)

        assert asyncio.get_running_loop().time() - stopped <= 3
        assert not one.held()


async def test_after_a_leader_that_vanished_the_next_one_leads_within_20_seconds() -> None:
    objects, gone = Objects(), Objects()
    one, two = candidate(objects, "one"), candidate(objects, "two")
    async with running(one), running(two):
        await one.leading.changed_from(seen=False)
        await asyncio.sleep(30)
        vanished = asyncio.get_running_loop().time()

        one._server = gone  # noqa: SLF001 - it is cut off
        gone.down = True
        await two.leading.changed_from(seen=False)

        assert asyncio.get_running_loop().time() - vanished <= 20
        assert not one.held()


async def test_a_leader_that_is_cut_off_knows_before_another_can_lead() -> None:
    objects, gone = Objects(), Objects()
    gone.down = True
    one, two = candidate(objects, "one"), candidate(objects, "two")
    both = False
    async with running(one), running(two):
        await one.leading.changed_from(seen=False)
        one._server = gone  # noqa: SLF001 - it is cut off

        while not two.leading.value:
            both = both or (one.held() and two.held())
            await asyncio.sleep(0.1)

        assert not both
        assert not one.leading.value


async def test_an_outage_shorter_than_the_trust_changes_nothing() -> None:
    objects = Objects()
    one = candidate(objects, "one")
    async with running(one):
        await one.leading.changed_from(seen=False)
        await asyncio.sleep(10)
        objects.down = True
        await asyncio.sleep(5)
        objects.down = False

        await asyncio.sleep(60)

        assert one.held()
        transitions = [content["spec"]["leaseTransitions"] for _, content in objects.writes]
        assert set(transitions) == {0}


async def test_when_two_try_at_once_the_version_lets_one_through() -> None:
    objects = Objects()
    candidates = [candidate(objects, f"replica-{number}") for number in range(5)]
    async with running(*candidates):
        await asyncio.sleep(60)

        assert sum(each.held() for each in candidates) == 1


async def test_a_lease_of_an_unknown_holder_is_waited_for_by_our_own_clock() -> None:
    """What the lease says of its times is somebody else's clock; an hour ahead or behind changes nothing."""
    objects = Objects()
    content = {
        "metadata": {"name": "controller"},
        "spec": {"holderIdentity": "ghost", "leaseDurationSeconds": 15, "renewTime": "2001-01-01T00:00:00.000000Z"},
    }
    await objects.create("/apis/coordination.k8s.io/v1/namespaces/beamlit/leases", content)
    one = candidate(objects, "one")
    async with running(one):
        began = asyncio.get_running_loop().time()

        await one.leading.changed_from(seen=False)

        assert 15 <= asyncio.get_running_loop().time() - began <= 20


async def test_a_leader_whose_machine_was_suspended_knows_as_soon_as_it_wakes_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The loop's clock stood still meanwhile, so by that clock the lease was held."""
    objects = Objects()
    one = candidate(objects, "one")
    async with running(one):
        await one.leading.changed_from(seen=False)

        monkeypatch.setattr(leases, "suspended", lambda: 60.0)

        assert not one.held()


def test_suspensions_are_what_the_two_clocks_differ_by(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = {time.CLOCK_BOOTTIME: 100.0, time.CLOCK_MONOTONIC: 40.0}
    monkeypatch.setattr(leases.time, "clock_gettime", clocks.__getitem__)

    assert leases.suspended() == 60
    monkeypatch.delattr(leases.time, "CLOCK_BOOTTIME")
    assert leases.suspended() == 0
