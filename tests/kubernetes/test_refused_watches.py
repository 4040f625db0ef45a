"""Namespaces whose watches are refused: deleted ones, whose Roles are gone with them, or without the rights for a while."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog

from beamlit_controller.core.spec import ModelKey
from fakes import api_faults, api_users
from fakes.api_controllers import Controllers
from fakes.objects_of_models import Seen, model, service, workload
from fakes.replica import Replica, World, world
from waiting import eventually

pytestmark = pytest.mark.looptime

LONG = 120
LLAMA = ModelKey("others", "llama")


@asynccontextmanager
async def serving(*namespaces: str) -> AsyncIterator[World]:
    """Provide a world that is limited to some namespaces, with a model in each."""
    async with world(namespaces=namespaces, enable_leader_election=True) as given, Controllers(given.server).running():
        for namespace in {"models", "others"} & set(namespaces):
            for build in (workload, service, model):
                api_users.put(given.server, build(namespace=namespace))
        yield given


def refuse(given: World, namespace: str, *, verbs: str = "get watch", resource: str = "*") -> None:
    """Refuse requests in a namespace from now on, and end its watches."""
    path = f"*/namespaces/{namespace}/{resource}"
    given.server.faults.refuse(verbs, path, api_faults.forbidden(f"cannot list it in {namespace}"))
    given.server.tear(path)


async def becomes(what: Any, within: float = LONG) -> None:  # noqa: ANN401 - anything to ask
    await eventually(what, within=within, every=0.05)


def is_alive(replica: Replica) -> bool:
    return replica.parts.web.site.alive().ok


async def metrics(replica: Replica) -> str:
    return (await replica.parts.web.site.exposition.render(""))[0].decode()


async def leaders(replica: Replica) -> list[str]:
    """Return whether the replica tells that it is the leader."""
    return re.findall(r'^beamlit_leader{lease="[^"]+"} (.*)$', await metrics(replica), re.MULTILINE)


async def test_the_others_are_served_by_a_replica_that_starts_without_it() -> None:
    """It was never ready, so no model had a leader."""
    async with serving("models", "gone") as given:
        refuse(given, "gone")
        with structlog.testing.capture_logs() as logged:
            replica = given.start()
            await becomes(lambda: Seen(given.server).ready)
            await asyncio.sleep(900)

        assert replica.parts.web.site.ready().ok
        assert is_alive(replica)
        watched = len(replica.parts.watches.refused()["gone"])
        assert f'beamlit_watches_refused{{namespace="gone"}} {watched}.0' in await metrics(replica)
        assert 'beamlit_watches_refused{namespace="models"} 0.0' in await metrics(replica)
        problems = [str(each) for each in replica.parts.web.site.models.snapshot().problems]
        assert problems == ["config.namespaces: gone: cannot list it in gone"]
        refusals = [each for each in logged if each["event"] == "watch refused"]
        assert len(refusals) == watched > 0


async def test_a_replica_goes_on_and_keeps_what_it_knew_of_it() -> None:
    """It was ended after four minutes as if a watch were stuck."""
    async with serving("models", "others") as given:
        replica = given.start()
        await becomes(lambda: Seen(given.server).ready and Seen(given.server, namespace="others").ready)

        refuse(given, "others", verbs="*")
        api_users.delete(given.server, model(namespace="others"))
        await asyncio.sleep(900)

        assert is_alive(replica)
        assert LLAMA in replica.parts.store.model_keys()
        assert replica.percentage("llama", "others") == 0
        given.metrics.default = 14
        await becomes(lambda: Seen(given.server).percentage == 50)
        given.server.faults.clear()
        await becomes(lambda: LLAMA not in replica.parts.store.model_keys())
        assert not Seen(given.server, namespace="others").taken


@pytest.mark.parametrize("late", ["modeldeployments", "pods", "services"])
async def test_its_objects_are_seen_together_once_all_may_be_listed(late: str) -> None:
    """A Service without its model would be restored as an orphan, and a model without its gateway's pods be released."""
    async with serving("models", "others") as given:
        one = given.start("one")
        seen = Seen(given.server, namespace="others")
        await becomes(lambda: seen.ready)
        await one.end()
        refuse(given, "others")
        two = given.start("two")
        await becomes(lambda: two.parts.web.site.ready().ok)

        given.server.faults.clear()
        refuse(given, "others", resource=late)
        await asyncio.sleep(LONG)
        assert LLAMA not in two.parts.store.model_keys()
        given.server.faults.clear()
        await becomes(lambda: LLAMA in two.parts.store.model_keys())
        given.metrics.default = 14
        await becomes(lambda: seen.percentage == 50)

        assert seen.taken
        written = [
            each.asked.path for each in given.server.writes(client="two") if each.asked.path.endswith("/services/llama")
        ]
        assert written == []


@pytest.mark.parametrize("namespaces", [(), ("others",), ("models", "others")], ids=str)
async def test_a_replica_that_may_watch_nothing_is_not_ready_and_does_not_decide(namespaces: tuple[str, ...]) -> None:
    async with serving(*namespaces) as given:
        given.server.faults.refuse("get watch", "*/pods", api_faults.forbidden())
        replica = given.start()
        lease = asyncio.ensure_future(replica.parts.lease.run())
        await replica.parts.lease.leading.changed_from(seen=False)
        await asyncio.sleep(LONG)

        assert not replica.parts.web.site.ready().ok
        assert await leaders(replica) == ["0.0"]
        given.server.faults.clear()
        await becomes(lambda: replica.parts.web.site.ready().ok)
        assert await leaders(replica) == ["1.0"]
        lease.cancel()
