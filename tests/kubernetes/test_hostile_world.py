"""A whole replica on an API server where one tenant writes what it likes: the others are decided for all the same."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import looptime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import thorough
from fakes import api_kinds, api_users
from fakes.api_controllers import Controllers
from fakes.objects_of_models import Seen, model, service, workload
from fakes.replica import world
from strategies import hostile
from strategies.templates import LABELS, TEMPLATES
from waiting import eventually

Json = dict[str, Any]

KINDS = {each.kind: each for each in api_kinds.KINDS if each.kind in TEMPLATES}
EVIL = "others"


def placed(kind: str, content: Json, number: int) -> Json:
    """Put what was drawn where the hostile tenant may write: its kind and place are given, all else is as it is."""
    given = content.get("metadata")
    about = dict(given) if isinstance(given, Mapping) else {}
    labels = about.get("labels")
    about["labels"] = {**(labels if isinstance(labels, Mapping) else {}), **LABELS}
    about |= {"namespace": EVIL, "name": f"llama-{number % 3}"}
    return {**content, "apiVersion": KINDS[kind].api_version, "kind": kind, "metadata": about}


def some_objects() -> st.SearchStrategy[list[Json]]:
    drawn = st.sampled_from(sorted(KINDS)).flatmap(lambda kind: st.tuples(st.just(kind), hostile.objects(kind)))
    mappings = drawn.filter(lambda each: isinstance(each[1], dict))
    return st.lists(mappings, min_size=1, max_size=6).map(
        lambda found: [placed(kind, content, number) for number, (kind, content) in enumerate(found)]
    )


@pytest.mark.long
@given(some_objects(), some_objects())
@settings(max_examples=thorough.examples(25), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_whatever_one_tenant_writes_another_one_is_served_by_its_newest_spec(
    listed: list[Json], watched: list[Json]
) -> None:
    async def scenario() -> None:
        async with world() as given:
            server, seen = given.server, Seen(given.server)
            given.metrics.default = 100
            for content in listed:
                server.plant(content)
            async with Controllers(server, namespaces=["models"]).running():
                for content in (service(), workload(), model()):
                    api_users.put(server, content)
                replica = given.start()
                await eventually(lambda: seen.ready and seen.percentage == 50, within=60)

                for content in watched:
                    server.plant(content)
                api_users.client_apply(server, model(enabled=False))
                await eventually(lambda: seen.percentage == 0 and not seen.taken, within=60)
                assert not replica.task.done()
                assert replica.parts.watches.synced()

    virtually(scenario)


def virtually(scenario: Callable[[], Any]) -> None:
    with asyncio.Runner(loop_factory=_loop) as runner:
        runner.run(scenario())


def _loop() -> asyncio.AbstractEventLoop:
    class Loop(looptime.LoopTimeEventLoop, asyncio.SelectorEventLoop):
        pass

    loop = Loop()
    loop.setup_looptime(start=0, end=100_000)
    return loop
