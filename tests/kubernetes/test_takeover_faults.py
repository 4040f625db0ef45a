"""A Service is taken over and given back while every write fails in turn: crashed at, refused, slow, or its answer lost.

After each of them everything has to be as if nothing had happened, and on the way the Service has to lead somewhere.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fakes import api_faults, api_users
from fakes.api_controllers import Controllers
from fakes.api_server import FakeApiServer
from fakes.objects_of_models import Seen, addresses, gateway_pods, model, service, workload
from fakes.replica import World, world
from waiting import eventually

pytestmark = [pytest.mark.looptime, pytest.mark.long]

MOST_WRITES = 40
Fault = Callable[[FakeApiServer], object]


class Story:
    """One model whose Service is taken over, and given back again, with a watch over where the Service leads."""

    def __init__(self, given: World) -> None:
        self.given = given
        self.seen = Seen(given.server)
        self.blackholes: list[str] = []

    async def begin(self) -> None:
        """Have the model's own pods serve, and the controller run."""
        for each in (workload(), service()):
            api_users.put(self.given.server, each)
        await eventually(lambda: len(addresses(self.given.server)) == 2, within=60, every=0.1)
        self.given.start()

    async def watch(self) -> None:
        """Note whenever the Service leads nowhere."""
        while True:
            if not addresses(self.given.server):
                self.blackholes.append(self.given.server.log[-1].line)
            await asyncio.sleep(0.05)

    async def taken(self) -> None:
        await eventually(lambda: self.seen.ready, within=300, every=0.1, what=str(self.seen.status))
        assert self.seen.taken
        assert self.seen.object["metadata"]["finalizers"] == ["deployment.beamlit.com/give-back"]

    async def given_back(self) -> None:
        await eventually(lambda: self.seen.selector == {"app": "llama"}, within=300, every=0.1)
        await eventually(lambda: not gateway_pods(self.given.server), within=300, every=0.1)
        await eventually(
            lambda: not self.seen.object["metadata"].get("finalizers"), within=300, every=0.1, what="let go"
        )
        await eventually(lambda: self.seen.condition("Ready") == ("True", "Disabled"), within=300, every=0.1)


@asynccontextmanager
async def story() -> AsyncIterator[Story]:
    async with world() as given, Controllers(given.server).running():
        told = Story(given)
        await told.begin()
        watching = asyncio.ensure_future(told.watch())
        try:
            yield told
            assert told.blackholes == []
        finally:
            watching.cancel()


async def take(told: Story) -> None:
    api_users.put(told.given.server, model())
    await told.taken()


async def give_back(told: Story) -> None:
    api_users.merge(told.given.server, model(), {"spec": {"enabled": False}})
    await told.given_back()


async def prepared(told: Story, stage: str) -> Callable[[Story], Awaitable[None]]:
    """Bring the story to where the stage begins, and give the stage."""
    if stage == "take":
        return take
    await take(told)
    return give_back


async def survived(stage: str, number: int, *, carried_out: bool) -> bool:
    """Play a stage with a controller that dies at its write of this number, and another that is started; tell whether it died."""
    async with story() as told:
        act, died = await prepared(told, stage), []
        told.given.server.faults.crash_at(number, carried_out=carried_out)

        async def again() -> None:
            await told.given.server.crashed.wait()
            died.append(number)
            told.given.server.revive("one")
            told.given.start("one")

        restarting = asyncio.ensure_future(again())
        await act(told)
        restarting.cancel()
        return bool(died)


@pytest.mark.parametrize("carried_out", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("stage", ["take", "give_back"])
async def test_a_controller_that_dies_at_any_write_is_followed_by_one_that_goes_on(
    stage: str,
    carried_out: bool,  # noqa: FBT001 - a case
) -> None:
    died = 0
    while await survived(stage, died + 1, carried_out=carried_out):
        died += 1
        assert died < MOST_WRITES

    assert died >= 4


FAULTS: dict[str, Callable[[Any, str], object]] = {
    "forbidden": lambda faults, path: faults.refuse("write", path, api_faults.forbidden(), times=2),
    "conflict": lambda faults, path: faults.refuse("write", path, api_faults.conflict(), times=2),
    "too many": lambda faults, path: faults.refuse("write", path, api_faults.too_many(3), times=2),
    "broken": lambda faults, path: faults.refuse("write", path, api_faults.broken(), times=2),
    "slow": lambda faults, path: faults.delay("write", path, 4),
    "hangs": lambda faults, path: faults.hang("write", path, times=2),
    "lost": lambda faults, path: faults.lose("write", path, times=2),
}
WRITTEN = (
    "*/services/llama",
    "*/services/llama-local",
    "*/configmaps/*",
    "*/deployments/*",
    "*/status",
    "*/modeldeployments/llama",
    "*",
)


@pytest.mark.parametrize("path", WRITTEN)
@pytest.mark.parametrize("fault", FAULTS)
async def test_whatever_becomes_of_a_write_in_the_end_all_is_as_asked_for(fault: str, path: str) -> None:
    async with story() as told:
        FAULTS[fault](told.given.server.faults, path)
        await take(told)
        told.given.server.faults.clear()

        FAULTS[fault](told.given.server.faults, path)
        await give_back(told)


@pytest.mark.parametrize("stage", ["take", "give_back"])
async def test_an_api_server_that_is_away_for_minutes_changes_nothing_but_the_time(stage: str) -> None:
    async with story() as told:
        act = await prepared(told, stage)
        acting = asyncio.ensure_future(act(told))
        await asyncio.sleep(0.3)

        told.given.server.down = True
        told.given.server.tear("*")
        await asyncio.sleep(120)
        told.given.server.down = False

        await acting


MEDDLING: dict[str, Callable[[Any], object]] = {
    "doubled": lambda faults: faults.double("*"),
    "late": lambda faults: faults.delay("watch", "*", 1),
    "lost": lambda faults: faults.drop("*", every=5),
}


@pytest.mark.parametrize("meddling", MEDDLING)
async def test_with_watch_events_doubled_late_or_lost_it_ends_right(meddling: str) -> None:
    async with story() as told:
        MEDDLING[meddling](told.given.server.faults)

        await take(told)
        await give_back(told)
        api_users.merge(told.given.server, model(), {"spec": {"enabled": True}})
        await eventually(lambda: told.seen.taken, within=300, every=0.1)
        await give_back(told)


async def test_a_mode_without_takeover_gives_the_service_back() -> None:
    async with story() as told:
        await take(told)

        api_users.merge(told.given.server, model(), {"spec": {"routing": {"mode": "Service"}}})

        await eventually(lambda: told.seen.selector == {"app": "llama"}, within=300, every=0.1)
        await eventually(lambda: not told.seen.object["metadata"].get("finalizers"), within=300, every=0.1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"internalTrafficPolicy": "Local"}, "internalTrafficPolicy: Local"),
        ({"publishNotReadyAddresses": True}, "publishNotReadyAddresses"),
        ({"ports": [{"name": "dns", "port": 53, "protocol": "UDP"}]}, "UDP"),
    ],
)
async def test_a_service_that_becomes_unsuitable_is_given_back_with_the_reason(
    change: dict[str, object], words: str
) -> None:
    async with story() as told:
        await take(told)

        api_users.merge(told.given.server, service(), {"spec": change})

        await eventually(lambda: told.seen.selector == {"app": "llama"}, within=300, every=0.1)
        await eventually(lambda: words in str(told.seen.status), within=300, every=0.1)


async def test_a_namespace_that_is_deleted_goes_without_a_warning_for_what_can_not_be_created_there() -> None:
    async with world() as given, Controllers(given.server).running():
        told = Story(given)
        await told.begin()
        await take(told)

        given.server.act("kubectl", "delete", "/api/v1/namespaces/models", {})

        await eventually(lambda: not given.server.all("modeldeployments.deployment.beamlit.com", "models"), within=300)
        await eventually(lambda: given.server.find("v1", "Namespace", "", "models") is None, within=300)
