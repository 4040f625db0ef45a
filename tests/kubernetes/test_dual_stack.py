"""A cluster with IPv4 and IPv6: every Service leads to the addresses of its families, and each pod has one of both."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any

import pytest

from beamlit_controller.core.spec import ModelKey
from beamlit_controller.kubernetes.plan import Plan
from fakes import api_users
from fakes.api_controllers import Controllers
from fakes.api_server import FakeApiServer
from fakes.objects_of_models import Seen, addresses, gateway_pods, model, service, workload
from fakes.replica import World, world
from waiting import eventually

pytestmark = pytest.mark.looptime

Json = dict[str, Any]
BOTH = ("IPv4", "IPv6")
IP = {
    "one family": {},
    "two families": {"ipFamilyPolicy": "RequireDualStack"},
    "the secondary family": {"ipFamilies": ["IPv6"]},
}
CLUSTERS = [("IPv4",), ("IPv6",), BOTH, BOTH[::-1]]


@asynccontextmanager
async def serving(
    families: tuple[str, ...], ip: Json, *, replicas: int = 2
) -> AsyncIterator[tuple[World, Controllers]]:
    """Provide a cluster with these families, and one workload behind a Service with these fields."""
    server = FakeApiServer("models", "system", families=families)
    async with world(server) as given, Controllers(server).running() as controllers:
        users = service()
        users["spec"] |= ip
        for each in (workload(replicas=replicas), users):
            api_users.put(server, each)
        given.start()
        yield given, controllers


def of_gateway(server: FakeApiServer) -> set[str]:
    return {each["ip"] for pod in gateway_pods(server) for each in pod["status"].get("podIPs") or ()}


@pytest.mark.parametrize("mode", ["Takeover", "Service"])
@pytest.mark.parametrize(
    ("families", "ip"),
    [*((each, {}) for each in CLUSTERS), *((BOTH, each) for each in IP.values() if each)],
    ids=["IPv4", "IPv6", "IPv4 first", "IPv6 first", "two families", "the secondary family"],
)
async def test_a_model_becomes_ready_whatever_families_its_service_has(
    families: tuple[str, ...], ip: Json, mode: str
) -> None:
    """With endpoints of the secondary family it stayed at ServiceSwitching: only the primary address was compared."""
    async with serving(families, ip) as (given, _):
        api_users.put(given.server, model(routing={"mode": mode}))
        seen = Seen(given.server)

        await eventually(lambda: seen.ready, within=120, every=0.1)

        found = addresses(given.server, "llama" if mode == "Takeover" else "llama-gateway")
        assert found
        assert found <= of_gateway(given.server)


@pytest.mark.parametrize("ip", IP.values(), ids=IP)
async def test_no_gateway_pod_is_removed_while_an_endpoint_of_any_family_is_one(ip: Json) -> None:
    """The pods were removed as soon as the Service was written, with all of its endpoints still the gateway's."""
    async with serving(BOTH, ip) as (given, controllers):
        seen = Seen(given.server)
        api_users.put(given.server, model())
        await eventually(lambda: seen.ready, within=120, every=0.1)
        gateway = of_gateway(given.server)
        controllers.delays.endpoints = 60
        await asyncio.sleep(1)  # until a reaction that is under way is over

        api_users.delete(given.server, model())
        await eventually(lambda: seen.selector == {"app": "llama"}, within=10, every=0.1)
        await asyncio.sleep(30)

        assert addresses(given.server) <= gateway
        assert not any("deletionTimestamp" in pod["metadata"] for pod in gateway_pods(given.server))
        await eventually(lambda: not seen.object, within=300, every=0.1)
        assert not addresses(given.server) & gateway


@pytest.mark.parametrize("families", CLUSTERS, ids=" ".join)
async def test_a_gateway_listens_on_every_family_that_its_pods_have(families: tuple[str, ...]) -> None:
    """With a Service of IPv4 alone it listened on IPv4 alone, though NAME-gateway leads to its IPv6 addresses too."""
    async with serving(families, {"ipFamilies": [families[0]]}) as (given, _):
        api_users.put(given.server, model(routing={"mode": "Service"}))
        seen = Seen(given.server)
        await eventually(lambda: seen.ready, within=120, every=0.1)

        bootstrap = json.loads(given.configs.files()["bootstrap.json"])
        (stats,) = (each for each in bootstrap["static_resources"]["listeners"] if each["name"] == "stats")
        assert stats["address"]["socket_address"]["address"] == ("::" if "IPv6" in families else "0.0.0.0")


@pytest.mark.parametrize("mode", ["Takeover", "Service"])
@pytest.mark.parametrize("replicas", [0, 2])
async def test_a_gateway_asked_for_in_a_cluster_with_two_families_is_started_once(replicas: int, mode: str) -> None:
    """Before a pod of the model had its addresses, the gateway was started without IPv6, and then once more."""
    async with serving(BOTH, {"ipFamilies": ["IPv4"]}, replicas=replicas) as (given, _):
        api_users.put(given.server, model(routing={"mode": mode}))
        await eventually(lambda: Seen(given.server).ready, within=120, every=0.1)

        snapshot = given.replicas[0].parts.store.snapshot(ModelKey("models", "llama"))

        assert snapshot is not None
        assert isinstance(snapshot.plan, Plan)
        assert snapshot.plan.ipv6
        assert len({pod["metadata"]["labels"]["pod-template-hash"] for pod in gateway_pods(given.server)}) == 1
        assert not [each for each in given.server.log if each.asked.verb == "delete" and "/pods/" in each.asked.path]


async def test_a_gateway_that_lost_all_pods_of_a_model_without_any_is_started_as_it_was() -> None:
    """Without any pod, IPv6 was unknown: the new pods were started without it, and then once more."""
    async with serving(BOTH, {"ipFamilies": ["IPv4"]}, replicas=0) as (given, _):
        api_users.put(given.server, model())
        seen = Seen(given.server)
        await eventually(lambda: seen.ready, within=120, every=0.1)
        began = asyncio.get_running_loop().time()

        for pod in gateway_pods(given.server):
            api_users.delete(given.server, pod)
        await asyncio.sleep(60)

        written = [each.asked.path for each in given.server.writes(since=began) if each.asked.client == "one"]
        assert not [path for path in written if "/deployments/" in path or "/configmaps/" in path]


async def test_slices_that_users_write_are_compared_by_address_however_it_is_spelled() -> None:
    async with serving(BOTH, {"ipFamilies": ["IPv6"]}) as (given, controllers):
        controllers.delays.endpoints = 10_000
        api_users.put(given.server, model())
        seen = Seen(given.server)
        await eventually(lambda: seen.taken and of_gateway(given.server), within=120, every=0.1)
        ipv6 = next(ip for ip in sorted(of_gateway(given.server)) if ":" in ip)
        for there in given.server.all("endpointslices.discovery.k8s.io", "models"):
            if there["metadata"]["labels"]["kubernetes.io/service-name"] == "llama":
                endpoint = {"addresses": [ip_address(ipv6).exploded.upper()]}
                api_users.put(given.server, {**there, "endpoints": [endpoint]})

        await eventually(lambda: seen.ready, within=30, every=0.1)
