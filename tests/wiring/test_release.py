"""`release`: it stops the controller, if there is one, and releases what it may when a namespace may not be listed."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from beamlit_controller.kubernetes.api_server import ApiError
from beamlit_controller.wiring import release
from fakes import api_faults, api_users
from fakes.api_controllers import Controllers
from fakes.api_server import FakeApiServer
from fakes.objects_of_models import Seen, model, service, workload
from fakes.replica import World, world
from waiting import eventually

pytestmark = pytest.mark.looptime

CONTROLLER = workload("controller", "beamlit-system")


async def test_the_controller_is_scaled_to_nothing() -> None:
    server = FakeApiServer("beamlit-system")
    api_users.put(server, CONTROLLER)

    await release.stop_controller(server.connect(), "beamlit-system", "controller")

    found = server.find("apps/v1", "Deployment", "beamlit-system", "controller")
    assert found is not None
    assert found["spec"]["replicas"] == 0


async def test_a_controller_that_is_not_there_is_stopped_already() -> None:
    """After a half-finished uninstall, the Job failed with 404 and Helm could never remove the release."""
    await release.stop_controller(FakeApiServer("beamlit-system").connect(), "beamlit-system", "controller")


async def test_the_lease_goes_with_the_controller() -> None:
    """`kubectl offload` took it for that of a second controller in the namespace."""
    async with world(namespaces=("models",)) as given, Controllers(given.server).running():
        server = given.server.connect("release")

        await release.release_all(server, given.given("release"), "controller")

        assert lease_of(given) is None


async def test_a_lease_that_must_not_be_deleted_stays() -> None:
    async with world(namespaces=("models",)) as given, Controllers(given.server).running():
        given.server.faults.refuse("delete", "*/leases/*", api_faults.forbidden("no delete"))

        await release.release_all(given.server.connect("release"), given.given("release"), "controller")

        assert lease_of(given) is not None


async def test_a_controller_that_must_not_be_stopped_ends_the_release() -> None:
    server = FakeApiServer("beamlit-system")
    api_users.put(server, CONTROLLER)
    server.faults.refuse("merge", "*/scale", api_faults.RefusedError(403, "Forbidden", "not allowed"))

    with pytest.raises(ApiError, match="not allowed"):
        await release.stop_controller(server.connect(), "beamlit-system", "controller")


def lease_of(given: World) -> dict[str, Any] | None:
    options = given.given("release")
    return given.server.find("coordination.k8s.io/v1", "Lease", options.namespace, options.lease)


async def served(given: World) -> None:
    """Have a model whose Service was taken over by a replica that ended."""
    for build in (workload, service, model):
        api_users.put(given.server, build())
    replica = given.start("one")
    await eventually(lambda: Seen(given.server).taken, within=120, every=0.05)
    await replica.end()


async def released(given: World) -> str:
    """Release everything; return the error's message."""
    server = given.server.connect("release")
    with pytest.raises(ExceptionGroup) as raised:
        async with asyncio.timeout(300):
            await release.release_all(server, given.given("release"), "")
    (error,) = raised.value.exceptions
    assert isinstance(error, ApiError)
    return error.message


@pytest.mark.parametrize("namespaces", [("models", "others"), ("others", "models")], ids=str)
async def test_a_namespace_that_may_not_be_listed_is_named_when_the_others_are_released(
    namespaces: tuple[str, ...],
) -> None:
    """It waited for that namespace until its time was over."""
    async with world(namespaces=namespaces) as given, Controllers(given.server).running():
        given.server.faults.refuse("get watch", "*/namespaces/others/*", api_faults.forbidden("no list in others"))
        await served(given)

        message = await released(given)

        assert message == "not everything was released: others: no list in others"
        assert not Seen(given.server).taken
        assert Seen(given.server).object["status"]["offloading"]["reason"] == "Released"


async def test_so_it_is_after_the_resource_is_gone() -> None:
    async with world(namespaces=("models",)) as given, Controllers(given.server).running():
        await served(given)
        gone = api_faults.RefusedError(404, "NotFound", "the server could not find the requested resource")
        given.server.faults.refuse("get watch", "*/modeldeployments*", gone)
        given.server.faults.refuse("get watch", "*/namespaces/others/*", api_faults.forbidden("no list in others"))
        given.settings = replace(given.settings, namespaces=("others", "models"))

        message = await released(given)

        assert message == "not everything was released: others: no list in others"
        assert not Seen(given.server).taken
