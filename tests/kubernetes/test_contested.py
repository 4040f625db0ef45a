"""Other writers of a Service that is taken over: who undoes the takeover again and again gets the Service, who edits it is followed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from beamlit_controller.kubernetes import service_patches
from fakes import api_users
from fakes.api_controllers import Controllers
from fakes.api_server import FakeApiServer
from fakes.objects_of_models import Seen, addresses, model, service, workload
from fakes.replica import World, world
from waiting import eventually

pytestmark = pytest.mark.looptime

Json = dict[str, Any]
Writer = Callable[[FakeApiServer], object]
OWNED = "rollouts-pod-template-hash"
USERS = {"app": "llama", OWNED: "abc"}
MINUTES = 20


def users_service() -> Json:
    users = service()
    users["spec"]["selector"] = dict(USERS)
    return users


def replaced(server: FakeApiServer, **selector: str) -> None:
    """Put the whole Service in place of the one that is there, as `kubectl replace` and operators do."""

    def change(there: Json) -> None:
        there["metadata"].pop("annotations", None)
        there["spec"]["selector"] = {**USERS, **selector}

    api_users.edit(server, service(), change, manager="operator")


def annotations_stripped(server: FakeApiServer) -> None:
    api_users.merge(server, service(), {"metadata": {"annotations": None}}, manager="operator")


WRITERS: dict[str, Writer] = {
    "merges the selector": lambda server: api_users.merge(server, service(), {"spec": {"selector": USERS}}),
    "applies": lambda server: api_users.client_apply(server, users_service()),
    "applies by force": lambda server: api_users.server_apply(server, users_service(), force=True),
    "replaces the Service": replaced,
    "owns one key": lambda server: api_users.merge(server, service(), {"spec": {"selector": {OWNED: "abc"}}}),
    "strips annotations": annotations_stripped,
}


@asynccontextmanager
async def taken_over() -> AsyncIterator[tuple[World, Seen]]:
    """Provide a model whose Service is taken over."""
    async with controlled() as (given, seen, _):
        yield given, seen


@asynccontextmanager
async def controlled() -> AsyncIterator[tuple[World, Seen, Controllers]]:
    """Provide the same with the cluster's own controllers."""
    async with world() as given, Controllers(given.server).running() as controllers:
        served = workload()
        served["spec"]["template"]["metadata"]["labels"] |= USERS
        api_users.put(given.server, served)
        api_users.client_apply(given.server, users_service())
        given.start()
        api_users.put(given.server, model())
        seen = Seen(given.server)
        await eventually(lambda: seen.ready, within=120, every=0.1)
        yield given, seen, controllers


def is_written(seen: Seen) -> bool:
    """Return whether the Service is as the controller writes it."""
    return seen.taken and service_patches.TAKEN_BY in annotations(seen)


def annotations(seen: Seen) -> Json:
    found = seen.server.find("v1", "Service", "models", "llama") or {}
    return found["metadata"].get("annotations") or {}


async def insists(seen: Seen, write: Writer, *, minutes: int = MINUTES) -> int:
    """Have the writer write whenever the Service is as the controller writes it; return how often that was."""
    times = 0
    for _ in range(minutes * 12):
        if is_written(seen):
            write(seen.server)
            times += 1
        await asyncio.sleep(5)
    return times


@pytest.mark.parametrize("writer", WRITERS)
async def test_a_writer_that_insists_gets_the_service_and_the_status_says_so(writer: str) -> None:
    """Who replaced the whole Service, or owned one key of its selector, was written over without end, with Ready at True."""
    async with taken_over() as (given, seen):
        assert await insists(seen, WRITERS[writer]) == 3

        assert seen.condition("Ready") == ("False", "ServiceContested")
        assert seen.condition("ServiceTaken") == ("False", "ServiceContested")
        assert seen.selector == USERS
        assert addresses(given.server)
        assert "3 times within an hour" in seen.message("Ready")
        assert "routing.mode: Service" in seen.message("Ready")


async def test_the_status_names_the_key_that_somebody_sets() -> None:
    async with taken_over() as (_, seen):
        await insists(seen, WRITERS["owns one key"])

        assert f"(the last time they set {OWNED}=abc)" in seen.message("Ready")


async def test_a_writer_that_removes_annotations_is_not_written_over_while_it_has_the_service() -> None:
    """Each of two writers would answer the other's write at once."""
    async with taken_over() as (given, seen):
        await insists(seen, replaced)
        began = asyncio.get_running_loop().time()

        for _ in range(100):
            replaced(given.server)
            await asyncio.sleep(5)

        ours = [each for each in given.server.writes(since=began) if each.asked.client == "one"]
        assert [each.line for each in ours if each.asked.path.endswith("/services/llama")] == []
        assert seen.condition("Ready") == ("False", "ServiceContested")


async def test_a_service_left_to_who_replaces_it_is_taken_again_after_an_hour_or_when_the_spec_changes() -> None:
    async with taken_over() as (given, seen):
        await insists(seen, replaced)
        assert "retried when the spec changes" in seen.message("Ready")

        api_users.merge(given.server, model(), {"spec": {"gateway": {"drainSeconds": 13}}})
        await eventually(lambda: seen.ready, within=120, every=0.1)

        assert await insists(seen, replaced) == 3
        await eventually(lambda: seen.ready, within=3700, every=1)


async def test_a_service_left_to_others_is_taken_again_once_the_annotation_is_removed() -> None:
    async with taken_over() as (given, seen):
        await insists(seen, WRITERS["owns one key"])
        assert f"remove the annotation {service_patches.REVERTED}" in seen.message("Ready")

        api_users.merge(given.server, service(), {"metadata": {"annotations": {service_patches.REVERTED: None}}})

        await eventually(lambda: seen.ready, within=30, every=0.1)


@pytest.mark.parametrize("writer", ["owns one key", "merges the selector"])
async def test_a_controller_that_was_restarted_goes_on_counting(writer: str) -> None:
    async with taken_over() as (given, seen):
        WRITERS[writer](given.server)
        await eventually(lambda: is_written(seen), within=30, every=0.1)
        await given.replicas[0].end()

        given.start("two")
        await asyncio.sleep(10)

        assert await insists(seen, WRITERS[writer]) == 2
        assert seen.condition("Ready") == ("False", "ServiceContested")


async def test_edits_are_followed_however_often_and_however_they_are_written() -> None:
    async with taken_over() as (given, seen):
        for number in range(8):
            version = f"v{number}"
            if number % 2:
                replaced(given.server, **{OWNED: version})
            else:
                api_users.merge(given.server, service(), {"spec": {"selector": {OWNED: version}}})
            await asyncio.sleep(20)

            local = given.server.find("v1", "Service", "models", "llama-local")
            assert local is not None
            assert local["spec"]["selector"] == {**USERS, OWNED: version}
            assert is_written(seen)
            assert seen.ready


async def test_a_service_that_is_deleted_and_created_again_is_nobodys_revert() -> None:
    async with taken_over() as (given, seen):
        for _ in range(5):
            api_users.delete(given.server, service())
            await asyncio.sleep(5)
            api_users.client_apply(given.server, users_service())
            await eventually(lambda: seen.ready and is_written(seen), within=120, every=0.1)


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_restoration_whose_answer_is_lost_is_nobodys_revert(*, at_once: bool) -> None:
    """The controller found the Service as it had itself written it, without annotations, and counted it as replaced."""
    async with controlled() as (given, seen, controllers):
        for _ in range(4):
            given.server.faults.lose("merge", "*/services/llama", times=1, at_once=at_once)
            controllers.is_ready = lambda pod: "-gateway-" not in pod["metadata"]["name"]
            controllers.look()
            await eventually(lambda: not seen.taken, within=60, every=0.1)

            controllers.is_ready = lambda _: True
            controllers.look()
            await eventually(lambda: seen.ready, within=120, every=0.1)
            assert service_patches.REVERTED not in annotations(seen)
