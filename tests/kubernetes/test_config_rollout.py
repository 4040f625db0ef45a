"""A change of the remote in a cluster: the ConfigMap follows what the gateway's pods have in force, in virtual time."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from beamlit_controller.core.gateway_config import ConfigInForce, ConfigStep, Files
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.kubernetes.config_rollout import LARGEST, ConfigRollout, Progress
from beamlit_controller.kubernetes.gateway_objects import Envoy
from fakes import api_users
from fakes.api_controllers import Controllers
from fakes.objects_of_models import Seen, model, service, workload
from fakes.replica import World, world
from waiting import eventually

pytestmark = pytest.mark.looptime

FRONT = "rds-front.json"
A, B = "a.example.com", "b.example.com"


@asynccontextmanager
async def serving(*, start: bool = True) -> AsyncIterator[tuple[World, Seen]]:
    """Provide a world in which a model leads to remote A, and is ready."""
    async with world() as given, Controllers(given.server).running():
        for each in (workload(), service(), to(A)):
            api_users.put(given.server, each)
        seen = Seen(given.server)
        if start:
            given.start()
            await becomes(lambda: seen.ready)
        yield given, seen


def to(host: str) -> Any:  # noqa: ANN401 - JSON
    """Return the model with another remote."""
    content = model()
    content["spec"]["offloadingConfig"]["remoteBackend"]["host"] = host
    return content


async def becomes(what: Callable[[], object], within: float = 120) -> None:
    await eventually(what, within=within, every=0.05)


def remotes(given: World) -> set[str]:
    """Name the remotes that the gateway's files know, as each of clusters, listeners and routes does."""
    files = given.configs.files()
    hosts = {host for host in (A, B) if host in files["cds.json"]}
    listeners = sum(each["name"].startswith("remote_hop_") for each in json.loads(files["lds.json"])["resources"])
    assert listeners == len(hosts) == sum(name.startswith("rds-remote_hop_") for name in files)
    return hosts


def still(given: World) -> Callable[[ConfigInForce], ConfigInForce]:
    """Return pods to which no other files come."""
    before = dict(given.configs.says(_has(given)).versions)
    return lambda _: ConfigInForce(tuple(before.items()))


def _has(given: World) -> ConfigInForce:
    versions = {name: json.loads(text).get("version_info") for name, text in given.configs.files().items()}
    return ConfigInForce(tuple((name, text) for name, text in versions.items() if text))


async def test_the_old_remote_goes_after_the_pods_lead_to_the_new_one() -> None:
    async with serving() as (given, seen):
        steps: list[tuple[set[str], bool]] = []
        first = given.configs.files()[FRONT]

        def noted(has: ConfigInForce) -> ConfigInForce:
            steps.append((remotes(given), given.configs.files()[FRONT] == first))
            return has

        given.configs.says = noted
        api_users.merge(given.server, to(A), {"spec": to(B)["spec"]})
        await becomes(lambda: remotes(given) == {B})
        await asyncio.sleep(60)

        assert seen.ready

    once = [step for number, step in enumerate(steps) if step not in steps[:number]]
    assert once == [({A}, True), ({A, B}, True), ({A, B}, False), ({B}, False)]


async def test_no_route_leads_to_what_a_pod_has_not_in_force() -> None:
    async with serving() as (given, _):
        front = given.configs.files()[FRONT]
        given.configs.says = still(given)

        api_users.merge(given.server, to(A), {"spec": to(B)["spec"]})
        await becomes(lambda: remotes(given) == {A, B})
        await asyncio.sleep(100)
        during = given.configs.files()[FRONT]
        given.configs.says = lambda has: replace(has, warming=True)
        await asyncio.sleep(60)
        warming = given.configs.files()[FRONT]
        given.configs.says = lambda has: has
        await becomes(lambda: given.configs.files()[FRONT] != front)

    assert during == warming == front


async def test_the_old_remote_stays_until_its_last_request_whoever_leads() -> None:
    async with serving() as (given, _):
        old = next(name for name in given.configs.files() if name.startswith("rds-remote_hop_"))[-17:-5]
        given.configs.says = lambda has: replace(has, busy=frozenset({old}))
        api_users.merge(given.server, to(A), {"spec": to(B)["spec"]})
        await becomes(lambda: B in given.configs.files()["cds.json"])
        await asyncio.sleep(200)
        await given.replicas[0].end()
        given.start("two")
        await asyncio.sleep(300)
        streaming = remotes(given)

        given.configs.says = lambda has: has
        await becomes(lambda: remotes(given) == {B})

    assert streaming == {A, B}


async def test_pods_that_can_not_be_asked_keep_a_change_for_three_minutes_and_no_longer() -> None:
    async with serving() as (given, _):
        given.configs.says = lambda _: None
        api_users.merge(given.server, to(A), {"spec": to(B)["spec"]})
        await becomes(lambda: remotes(given) == {A, B})
        await asyncio.sleep(120)
        kept = remotes(given)

        await becomes(lambda: remotes(given) == {B}, within=900)

    assert kept == {A, B}


async def test_a_change_that_envoy_refuses_is_told_and_over_when_it_is_taken() -> None:
    async with serving() as (given, seen):
        had = still(given)
        given.configs.says = lambda has: replace(had(has), refused=(FRONT,))
        api_users.merge(given.server, model(), {"spec": {"offloadingConfig": {"keepLocal": KEEP}}})

        await becomes(lambda: seen.condition("Ready") == ("False", "ConfigNotTaken"))
        assert seen.condition("GatewayReady") == ("False", "ConfigNotTaken")
        assert f"has not accepted {FRONT}: Envoy refused it" in seen.message("Ready")

        given.configs.says = lambda has: replace(has, refused=(FRONT,))
        await becomes(lambda: seen.ready)


async def test_what_envoy_refuses_at_its_first_start_is_told() -> None:
    async with serving(start=False) as (given, seen):
        given.configs.says = lambda _: ConfigInForce(refused=(FRONT,))
        given.start()

        await becomes(lambda: seen.condition("Ready") == ("False", "ConfigNotTaken"))

        given.configs.says = lambda has: has
        await becomes(lambda: seen.ready)


async def test_a_kubelet_that_is_late_is_no_refusal() -> None:
    async with serving() as (given, seen):
        given.configs.says = still(given)
        api_users.merge(given.server, model(), {"spec": {"offloadingConfig": {"keepLocal": KEEP}}})
        await asyncio.sleep(100)
        late = seen.condition("Ready")

        await becomes(lambda: seen.condition("Ready") == ("False", "ConfigNotTaken"), within=300)

    assert late == ("True", "AsAsked")


class TooLarge:
    """Steps that no ConfigMap can hold."""

    def next_step(self, present: Files, asked: Files, seen: Sequence[ConfigInForce]) -> ConfigStep:
        return ConfigStep({**asked, "cds.json": "x" * (LARGEST + 1)}, settled=False)

    def missing(self, files: Files, seen: ConfigInForce) -> tuple[str, ...]:
        return ()


async def test_what_a_config_map_can_not_hold_is_changed_in_one_step() -> None:
    async with serving() as (given, _):
        snapshot = given.replicas[0].parts.store.snapshot(ModelKey("models", "llama"))
        rollout = ConfigRollout(given.server.connect("two"), given.configs, TooLarge())
        asked = Envoy({"cds.json": "new"}, "/ready", ("x-probe", "y"))

        envoy, progress = await rollout.next(snapshot, Progress(), asked)

    assert envoy == asked
    assert progress.settled


KEEP = [{"pathPrefix": "/internal"}]
