"""A namespace that is deleted is told when the last gateway pod in it is gone, and no other one is."""

import asyncio

import pytest

from fakes import api_faults, api_users
from fakes.api_controllers import Controllers
from fakes.api_kinds import RefusedError
from fakes.api_server import Logged
from fakes.objects_of_models import Seen, gateway_pods, model, service, workload
from fakes.replica import World, world
from waiting import eventually

pytestmark = pytest.mark.looptime
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "models"}}
PLACE = "/api/v1/namespaces/models"


async def taken_over(given: World) -> None:
    for each in (workload(), service()):
        api_users.put(given.server, each)
    given.start()
    api_users.put(given.server, model())
    await eventually(lambda: Seen(given.server).ready, within=300, every=0.1)


def annotated(given: World) -> list[tuple[float, object]]:
    """Return when the Namespace was written, and what."""
    return [(each.at, each.asked.body["metadata"]["annotations"]) for each in given.server.writes() if is_there(each)]


def is_there(each: Logged) -> bool:
    return each.asked.path == PLACE


async def test_a_namespace_that_is_deleted_is_annotated_once_the_last_gateway_pod_is_gone() -> None:
    async with world() as given, Controllers(given.server).running() as controllers:
        await taken_over(given)
        controllers.delays.termination = 60

        api_users.delete(given.server, NAMESPACE)
        await eventually(lambda: not gateway_pods(given.server), within=300, every=0.1)
        gone_at = asyncio.get_running_loop().time()
        await eventually(lambda: annotated(given), within=5, every=0.1)

        [(at, annotations)] = annotated(given)
        assert annotations == {"deployment.beamlit.com/gateway-gone": "llama"}
        assert gone_at - 1 <= at  # what takes long is looked at seldom


async def test_a_namespace_that_stays_is_left_as_it_is() -> None:
    async with world() as given, Controllers(given.server).running():
        await taken_over(given)

        api_users.merge(given.server, model(), {"spec": {"enabled": False}})
        await eventually(lambda: not gateway_pods(given.server), within=300, every=0.1)
        await eventually(lambda: Seen(given.server).condition("Ready") == ("True", "Disabled"), within=300, every=0.1)

        assert annotated(given) == []


@pytest.mark.parametrize("refusal", [api_faults.forbidden(), api_faults.broken()], ids=["forbidden", "broken"])
async def test_where_it_may_not_be_annotated_the_model_is_given_back_all_the_same(refusal: RefusedError) -> None:
    async with world() as given, Controllers(given.server).running():
        await taken_over(given)
        given.server.faults.refuse("get merge", PLACE, refusal)

        api_users.delete(given.server, NAMESPACE)

        await eventually(lambda: given.server.find("v1", "Namespace", "", "models") is None, within=300)
