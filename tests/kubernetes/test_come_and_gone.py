"""What comes and goes leaves nothing in the memory of a replica that runs for months."""

import asyncio
import json
from typing import Any

import pytest

from fakes import api_kinds, api_users
from fakes.api_controllers import Controllers
from fakes.api_server import FakeApiServer
from fakes.objects_of_models import Seen, model, service, workload
from fakes.replica import World, world
from remains import mentions
from strategies.templates import TEMPLATES
from waiting import eventually

pytestmark = pytest.mark.looptime

Json = dict[str, Any]

GONE = "come-and-gone"


def remains(given: World) -> list[str]:
    """Return where a replica still knows of what is gone."""
    roots = {"replica": given.replicas[0].parts, "meters": given.meters}
    return mentions(roots, GONE, without=(given, given.server, given.configs, given.metrics, given.gateways))


def named() -> list[Json]:
    """Return an object of each kind, in which all that is named is named so."""
    kinds = [each for each in api_kinds.KINDS if each.kind in TEMPLATES]
    whole = [{"apiVersion": each.api_version, "kind": each.kind, **TEMPLATES[each.kind]} for each in kinds]
    renamed: list[Json] = json.loads(json.dumps(whole).replace("llama", GONE).replace("evil", "others"))
    return renamed


async def removed(server: FakeApiServer, content: Json) -> None:
    api_users.delete(server, content)
    place = (content["apiVersion"], content["kind"], "models", content["metadata"]["name"])
    await eventually(lambda: server.find(*place) is None, within=300, every=0.5)


async def test_a_model_that_offloaded_and_was_deleted_leaves_nothing() -> None:
    async with world() as given, Controllers(given.server).running():
        given.metrics.default = 100
        given.start()
        for name in ("llama", GONE):
            for each in (workload(name), service(name), model(name)):
                api_users.put(given.server, each)
        for name in ("llama", GONE):
            seen = Seen(given.server, name)
            await eventually(lambda seen=seen: seen.ready and seen.percentage == 50, within=60)
        known = remains(given)

        for each in (model(GONE), workload(GONE), service(GONE)):
            await removed(given.server, each)
        await asyncio.sleep(1000)

        assert len(known) > 10
        assert remains(given) == []
        assert Seen(given.server).ready


async def test_objects_of_others_that_name_models_which_never_were_leave_nothing() -> None:
    async with world() as given, Controllers(given.server, namespaces=["models"]).running():
        for each in (workload(), service(), model()):
            api_users.put(given.server, each)
        given.start()
        await eventually(lambda: Seen(given.server).ready, within=60)

        planted = named()
        for each in planted:
            given.server.plant(each)
        await asyncio.sleep(60)
        known = remains(given)
        for each in planted:
            given.server.store.remove(api_kinds.of(each).key)
        await asyncio.sleep(1000)

        assert len(known) > 10
        assert remains(given) == []
