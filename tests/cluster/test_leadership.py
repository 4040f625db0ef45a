"""Replicas of the controller: one leads, and another goes on when it is gone."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from kube import controllers
from kube.controllers import Replica
from kube.world import LONG, SERVICE, SETTINGS, World, lease, model
from waiting import eventually

QUIET = 3.0
"""Seconds without a write after which a controller with nothing to do is taken to have written all."""


@pytest_asyncio.fixture
async def two(world: World, rights: Path, tmp_path: Path) -> AsyncIterator[tuple[Replica, Replica]]:
    pair = tuple(controllers.replica(world.client, tmp_path, name, SETTINGS, rights) for name in ("first", "second"))
    async with controllers.running(*pair):
        world.queue(14)
        world.apply(SERVICE, model())
        await world.reaches(50)
        yield pair[0], pair[1]


async def test_a_killed_leader_is_followed_by_one_that_goes_on(world: World, two: tuple[Replica, Replica]) -> None:
    first, second = two
    since = world.status()["offloading"]["since"]
    assert await first.leads()

    first.send(signal.SIGKILL)
    await eventually(second.leads, within=LONG)
    world.patch({"spec": {"offloadingConfig": {"behavior": {"percentage": 70}}}})
    await world.reaches(70)

    (known,) = [each for each in await second.models() if each["namespace"] == world.namespace]
    assert world.status()["offloading"]["since"] >= since
    assert [(change["previous"], change["percentage"]) for change in known["changes"]] == [(50, 70), (0, 50)]


async def test_a_leader_that_is_told_to_stop_hands_over_at_once(world: World, two: tuple[Replica, Replica]) -> None:
    first, second = two

    first.send(signal.SIGTERM)
    assert await first.ended(within=LONG) == 0

    assert lease(world.client)["holderIdentity"] != "first"  # nobody has to wait until it expires
    await eventually(second.leads, within=LONG)
    assert world.percentage() == 50


async def test_a_frozen_leader_writes_nothing_when_it_goes_on(world: World, two: tuple[Replica, Replica]) -> None:
    first, second = two
    first.send(signal.SIGSTOP)
    await eventually(second.leads, within=LONG)
    world.patch({"spec": {"offloadingConfig": {"behavior": {"percentage": 70}}}})
    await world.reaches(70)
    written = await _settled(world)

    first.send(signal.SIGCONT)
    await eventually(lambda: _follows(first), within=LONG, what="the frozen leader follows")

    assert _written(world) == written
    assert world.percentage() == 70
    assert await second.leads()


def _written(world: World) -> tuple[str, dict[str, str]]:
    """Name what was written last to the resource and to all that is ours."""
    return world.get("md", "llama")["metadata"]["resourceVersion"], world.versions()


async def _settled(world: World) -> tuple[str, dict[str, str]]:
    """Wait until nothing more is written: what follows a decision, such as what the gateways say of it, is told a little later."""
    last, since = _written(world), asyncio.get_running_loop().time()

    def quiet() -> bool:
        nonlocal last, since
        before, last = last, _written(world)
        now = asyncio.get_running_loop().time()
        since = since if before == last else now
        return now - since > QUIET

    await eventually(quiet, within=LONG, every=0.2, what="nothing more is written")
    return last


async def _follows(replica: Replica) -> bool:
    return not await replica.leads()


async def test_every_replica_answers_and_only_one_decides(world: World, two: tuple[Replica, Replica]) -> None:
    first, second = two

    for replica in two:
        assert await replica.answers("/healthz")
        assert await replica.answers("/readyz")
    assert "beamlit_offload_percentage{" in await first.metrics()
    assert "beamlit_offload_percentage{" not in await second.metrics()
