"""The fake API server's own promises: time, faults, crashes and the small controllers. What it answers is compared elsewhere."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from beamlit_controller.kubernetes import paths
from beamlit_controller.kubernetes.api_server import ApiError, ApiServer
from beamlit_controller.kubernetes.lease import Lease
from beamlit_controller.kubernetes.reflector import Collection, Reflector
from fakes import api_faults, api_users
from fakes.api_controllers import Controllers
from fakes.api_deployments import is_ready
from fakes.api_faults import CrashedError
from fakes.api_server import FakeApiServer
from waiting import eventually

pytestmark = pytest.mark.looptime

Json = dict[str, Any]
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "llama", "namespace": "models"},
    "spec": {"selector": {"app": "llama"}, "ports": [{"port": 80, "targetPort": "http"}]},
}
SERVICES = paths.SERVICES.path("models", "llama")


def deployment(replicas: int = 2, image: str = "model", **about: Any) -> Json:  # noqa: ANN401 - metadata
    container = {"name": "server", "image": image, "ports": [{"name": "http", "containerPort": 8000}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "llama", "namespace": "models", **about},
        "spec": {
            "replicas": replicas,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "selector": {"matchLabels": {"app": "llama"}},
            "template": {"metadata": {"labels": {"app": "llama"}}, "spec": {"containers": [container]}},
        },
    }


def labelled(value: str) -> Json:
    return {"metadata": {"labels": {"a": value}}}


def labels(server: FakeApiServer) -> Json:
    found = server.find("v1", "Service", "models", "llama")
    return (found or {"metadata": {}})["metadata"].get("labels") or {}


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[FakeApiServer, ApiServer]]:
    server = FakeApiServer()
    api_users.put(server, SERVICE)
    async with server.connect() as api:
        yield server, api


async def test_a_refusal_comes_as_often_as_asked_for_and_is_what_the_client_makes_of_the_real_one() -> None:
    async with serving() as (server, api):
        server.faults.refuse("merge", "*/services/*", api_faults.too_many(7), times=1)

        with pytest.raises(ApiError) as refused:
            await api.merge(SERVICES, labelled("b"))
        made = await api.merge(SERVICES, labelled("b"))

    assert (refused.value.code, refused.value.reason, refused.value.retry_after) == (429, "TooManyRequests", 7)
    assert made["metadata"]["labels"] == {"a": "b"}
    assert [each.code for each in server.writes()] == [429, 200]


@pytest.mark.parametrize(("at_once", "reason", "seconds"), [(False, "Timeout", 10.0), (True, "ConnectionFailed", 0.0)])
async def test_an_answer_that_is_lost_leaves_the_write_carried_out(at_once: bool, reason: str, seconds: float) -> None:  # noqa: FBT001 - a parameter
    async with serving() as (server, api):
        server.faults.lose("merge", "*", at_once=at_once)

        with pytest.raises(ApiError) as lost:
            await api.merge(SERVICES, labelled("b"))

    assert (lost.value.code, lost.value.reason) == (0, reason)
    assert asyncio.get_running_loop().time() == pytest.approx(seconds, abs=0.1)
    assert labels(server) == {"a": "b"}


async def test_a_write_that_hangs_is_not_carried_out() -> None:
    async with serving() as (server, api):
        server.faults.hang("merge", "*")

        with pytest.raises(ApiError):
            await api.merge(SERVICES, labelled("b"))

    assert labels(server) == {}


async def test_a_slow_write_sees_what_was_written_meanwhile() -> None:
    async with serving() as (server, api):
        server.faults.delay("replace", "*", 5)
        read = await api.get(SERVICES)
        slow = asyncio.ensure_future(api.replace(SERVICES, read))
        await asyncio.sleep(1)
        api_users.merge(server, SERVICE, labelled("theirs"))

        with pytest.raises(ApiError) as refused:
            await slow

    assert (refused.value.code, refused.value.reason) == (409, "Conflict")


@pytest.mark.parametrize("carried_out", [True, False])
async def test_a_client_that_crashes_at_a_write_writes_nothing_more_until_it_is_started_anew(
    carried_out: bool,  # noqa: FBT001 - a parameter
) -> None:
    async with serving() as (server, api):
        server.faults.crash_at(2, carried_out=carried_out)
        await api.merge(SERVICES, labelled("1"))

        with pytest.raises(CrashedError):
            await api.merge(SERVICES, labelled("2"))
        with pytest.raises(CrashedError):
            await api.merge(SERVICES, labelled("3"))

        assert server.crashed.is_set()
        assert labels(server) == {"a": "2" if carried_out else "1"}
        server.revive("controller")
        await server.connect().merge(SERVICES, labelled("4"))
        assert labels(server) == {"a": "4"}


def following(api: ApiServer, silence: float = 75) -> Reflector[Json]:
    return Reflector(api, Collection(paths.SERVICES.collection()), keep=lambda content: content, silence=silence)


@asynccontextmanager
async def running(reflector: Reflector[Json]) -> AsyncIterator[Callable[[], Json]]:
    task = asyncio.ensure_future(reflector.run())
    try:
        await reflector.wait_synced()
        yield lambda: dict(reflector.items["models", "llama"]["metadata"].get("labels") or {})
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_reflector_sees_what_happens_through_tears_silence_and_forgotten_versions() -> None:
    async with serving() as (server, api), running(following(api)) as seen:
        for number, trouble in enumerate((server.restart, server.store.compact, lambda: None)):
            trouble()
            api_users.merge(server, SERVICE, labelled(str(number)))
            await eventually(lambda number=number: seen() == {"a": str(number)}, within=30)
        server.down = True
        server.tear("*")
        api_users.merge(server, SERVICE, labelled("down"))
        await asyncio.sleep(60)
        server.store.compact()
        server.down = False

        await eventually(lambda: seen() == {"a": "down"}, within=30)


async def test_a_watch_that_lags_tells_each_event_so_much_later() -> None:
    async with serving() as (server, api), running(following(api)) as seen:
        server.faults.delay("watch", "*/services", 5)
        api_users.merge(server, SERVICE, labelled("late"))

        await asyncio.sleep(4.9)
        before = seen()
        await asyncio.sleep(0.2)

        assert (before, seen()) == ({}, {"a": "late"})


async def test_a_quiet_watch_lives_on_bookmarks_and_one_that_stalls_is_given_up() -> None:
    async with serving() as (server, api), running(following(api)) as seen:
        await asyncio.sleep(200)
        lists = server.counted()["get"]
        for each in server.watched:
            each.stalled = True
        api_users.merge(server, SERVICE, labelled("unheard"))

        await eventually(lambda: seen() == {"a": "unheard"}, within=90)

        assert lists == 1


async def test_of_two_replicas_one_leads_and_the_other_follows_when_it_is_cut_off() -> None:
    server = FakeApiServer()
    leases = [Lease(server.connect(name), namespace="default", name="l", identity=name) for name in ("a", "b")]
    tasks = [asyncio.ensure_future(lease.run()) for lease in leases]

    await eventually(lambda: [lease.held() for lease in leases].count(True) == 1, within=10)
    first = next(lease for lease in leases if lease.held())
    server.cut_off.add(first.identity)
    await eventually(lambda: not first.held() and any(lease.held() for lease in leases), within=40)

    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def endpoints(server: FakeApiServer) -> dict[str, bool]:
    slices = server.all("endpointslices.discovery.k8s.io")
    return {each["addresses"][0]: each["conditions"]["ready"] for found in slices for each in found["endpoints"] or ()}


async def test_a_deployment_gets_pods_that_become_ready_and_the_service_leads_to_them() -> None:
    async with serving() as (server, _), Controllers(server).running():
        api_users.client_apply(server, deployment())

        await eventually(lambda: len(endpoints(server)) == 2 and all(endpoints(server).values()))

        status = server.all("deployments.apps")[0]["status"]
        assert (status["readyReplicas"], status["updatedReplicas"], status["observedGeneration"]) == (2, 2, 1)
        ports = server.all("endpointslices.discovery.k8s.io")[0]["ports"]
        assert [port["port"] for port in ports] == [8000]


async def test_a_rollout_never_has_less_ready_pods_than_asked_for_nor_more_than_one_too_many() -> None:
    async with serving() as (server, _), Controllers(server).running():
        api_users.client_apply(server, deployment())
        await eventually(lambda: sum(map(is_ready, server.all("pods"))) == 2)
        counts: list[tuple[int, int]] = []

        def rolled() -> bool:
            live = [pod for pod in server.all("pods") if "deletionTimestamp" not in pod["metadata"]]
            counts.append((sum(map(is_ready, live)), len(live)))
            return {pod["spec"]["containers"][0]["image"] for pod in server.all("pods")} == {"newer"}

        api_users.client_apply(server, deployment(image="newer"))
        await eventually(rolled, within=60)

        assert min(ready for ready, _ in counts) == 2
        assert max(live for _, live in counts) == 3


async def test_pods_that_stop_being_ready_leave_the_endpoints_ready_ones() -> None:
    async with serving() as (server, _), Controllers(server).running() as controllers:
        api_users.client_apply(server, deployment())
        await eventually(lambda: sum(endpoints(server).values()) == 2)

        controllers.is_ready = lambda pod: pod["metadata"]["name"].endswith("-0")
        controllers.look()

        await eventually(lambda: sorted(endpoints(server).values()) == [False, True])


async def test_what_an_object_owns_goes_with_it() -> None:
    async with serving() as (server, _), Controllers(server).running():
        api_users.client_apply(server, deployment())
        await eventually(lambda: sum(endpoints(server).values()) == 2)

        api_users.delete(server, deployment())
        api_users.delete(server, SERVICE)

        await eventually(lambda: not server.all("pods") and not server.all("endpointslices.discovery.k8s.io"))


async def test_a_namespace_goes_once_its_pods_and_then_all_else_are_gone_and_takes_nothing_new_in_meanwhile() -> None:
    async with serving() as (server, api), Controllers(server).running() as controllers:
        controllers.delays.termination = 20
        api_users.client_apply(server, deployment())
        api_users.merge(server, SERVICE, {"metadata": {"finalizers": ["example.com/stays"]}})
        await eventually(lambda: sum(endpoints(server).values()) == 2)

        server.act("kubectl", "delete", "/api/v1/namespaces/models")
        with pytest.raises(ApiError) as refused:
            await api.create(paths.CONFIG_MAPS.collection("models"), {"metadata": {"name": "late"}})
        await asyncio.sleep(10)
        during = (len(server.all("pods")), server.find("v1", "Service", "models", "llama") is not None)
        await eventually(lambda: not server.all("pods") and not server.all("deployments.apps"), within=60)
        waits = server.find("v1", "Namespace", "", "models") is not None
        api_users.merge(server, SERVICE, {"metadata": {"finalizers": None}})

        await eventually(lambda: server.find("v1", "Namespace", "", "models") is None)
        assert (refused.value.code, refused.value.reason) == (403, "Forbidden")
        assert "because it is being terminated" in refused.value.message
        assert (during, waits) == ((2, True), True)


async def test_nothing_is_written_where_nothing_happens() -> None:
    async with serving() as (server, _), Controllers(server).running():
        api_users.client_apply(server, deployment())
        await asyncio.sleep(30)
        version = server.store.version

        await asyncio.sleep(600)

        assert server.store.version == version
