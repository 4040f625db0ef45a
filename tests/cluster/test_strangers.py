"""What one tenant writes in a namespace of its own must cost no other tenant anything: at the real API server.

The controller is the one that the chart gives its rights to; each stranger writes what the API server accepts of a user who
may edit a namespace. Afterwards a model in another namespace is decided for as before, and a controller that is started
anew becomes ready.
"""

import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from beamlit_controller.kubernetes.paths import CONFIG_MAPS
from fakes import http
from kube import controllers
from kube.controllers import Replica
from kube.world import LONG, SERVICE, SETTINGS, World, lease, model
from waiting import eventually

Json = dict[str, Any]
SELECTION = "deployment.beamlit.com"


def service(annotations: Json) -> Json:
    return {**SERVICE, "metadata": {"name": "web", "annotations": annotations}}


def pod(amount: str) -> Json:
    asked = {"requests": {"memory": amount}, "limits": {"memory": amount}}
    containers = [{"name": "a", "image": "a", "resources": asked}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"p{abs(hash(amount))}"},
        "spec": {"containers": containers},
    }


def wide_selector() -> Json:
    values = [f"v{number:05x}" for number in range(30_000)]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "llama"},
        "spec": {
            "replicas": 0,
            "selector": {"matchExpressions": [{"key": "app", "operator": "In", "values": values}]},
            "template": {
                "metadata": {"labels": {"app": values[0]}},
                "spec": {"containers": [{"name": "a", "image": "a"}]},
            },
        },
    }


CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama"}
LATE = ",".join(["9999-12-31T23:59:59+00:00"] * 3)
STRANGERS: dict[str, Callable[[], list[Json]]] = {
    "a selector that is deeper than any parser": lambda: [service({f"{SELECTION}/original-selector": "[" * 100_000})],
    "reverts at the end of all time": lambda: [
        {**SERVICE, "metadata": {"name": "llama", "annotations": {f"{SELECTION}/reverted-at": LATE}}},
        model(routing={"mode": "Takeover"}),
    ],
    "amounts that no machine has": lambda: [pod(amount) for amount in ("1e100", "1e300", "1e-9", "5E18", "0.1e120")],
    "a selector of thirty thousand values": lambda: [
        wide_selector(),
        SERVICE,
        model(
            modelSourceRef=TARGET,
            offloadingConfig={"remoteBackend": {"host": "api.example.com"}, "metrics": [CPU]},
        ),
    ],
    "an override of a hundred thousand digits": lambda: [
        SERVICE,
        {
            **model(),
            "metadata": {"name": "llama", "annotations": {"offloading.beamlit.com/override": "9" * 100_000}},
        },
    ],
    "lines and separators of every kind": lambda: [service({"a": "\u0085\u2028\u2029\u202e\x0b\x0c" * 1000})],
}


async def test_what_strangers_write_stops_nobody(world: World, rights: Path, tmp_path: Path) -> None:
    first = controllers.replica(world.client, tmp_path, "one", SETTINGS, rights)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(controllers.running(first))
        world.apply(SERVICE, model())
        await world.reaches(0)

        for written in STRANGERS.values():
            elsewhere = stack.enter_context(world.client.namespace())
            text = json.dumps({"apiVersion": "v1", "kind": "List", "items": written()})
            world.client.kubectl("apply", "--server-side", "-n", elsewhere, "-f", "-", stdin=text)

        world.queue(14)
        await world.reaches(50)
        assert await first.answers("/healthz")
        await _started_anew(world, rights, tmp_path)


async def _started_anew(world: World, rights: Path, folder: Path) -> None:
    second: Replica = controllers.replica(world.client, folder, "two", SETTINGS, rights)
    async with controllers.running(second):
        assert await second.answers("/healthz")


ATTEMPTS = 'envoy_offload_remote_attempts{{result="answered",code="{}"}} {}\n'
PAGES = {
    "a code that is a digit and no number": http.page(ATTEMPTS.format("²", 1).encode()),
    "a count of five thousand digits": http.page(ATTEMPTS.format(200, "9" * 5000).encode()),
    "a page that never ends": http.endless(),
    "a redirect": http.redirect("http://169.254.169.254/"),
    "a page that is no text": http.page(b"\xff\x00" * 100_000),
}


def gateway_of_its_own(port: int) -> Json:
    ports = [{"name": "offload-stats", "containerPort": port}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "rogue", "labels": {"deployment.beamlit.com/gateway": "llama"}},
        "spec": {"containers": [{"name": "a", "image": "a", "ports": ports}], "terminationGracePeriodSeconds": 0},
    }


RUNNING = {
    "phase": "Running",
    "podIP": "127.0.0.1",
    "podIPs": [{"ip": "127.0.0.1"}],
    "conditions": [{"type": "Ready", "status": "True"}],
}


async def test_what_gateways_of_a_strangers_own_say_stops_nobody(world: World, rights: Path, tmp_path: Path) -> None:
    first = controllers.replica(world.client, tmp_path, "one", SETTINGS, rights)
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(http.serve(page)) for page in PAGES.values()]
        await stack.enter_async_context(controllers.running(first))
        world.apply(SERVICE, model())
        await world.reaches(0)

        for server in servers:
            elsewhere = stack.enter_context(world.client.namespace())
            world.client.apply(SERVICE, model(), gateway_of_its_own(server.port), namespace=elsewhere)
            world.client.set_status("pod", "rogue", RUNNING, namespace=elsewhere)
        for server in servers:
            await eventually(lambda page=server: len(page.requests) >= 2, within=LONG, what="its page was read twice")

        world.queue(14)
        await world.reaches(50)
        assert await first.answers("/healthz")
        await _started_anew(world, rights, tmp_path)


async def test_large_config_maps_with_our_label_cost_a_new_controller_no_memory(
    world: World, rights: Path, tmp_path: Path
) -> None:
    before = controllers.replica(world.client, tmp_path, "before", SETTINGS, rights)
    async with controllers.running(before):
        least = before.peak_mebibytes()
    with world.client.namespace() as elsewhere:
        async with world.client.api_server() as server:
            for number in range(80):
                about = {"name": f"c{number}", "labels": {"app.kubernetes.io/managed-by": "beamlit-controller"}}
                content = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": {"a": "x" * 1_000_000}}
                await server.create(CONFIG_MAPS.collection(elsewhere), content)

        after = controllers.replica(world.client, tmp_path, "after", SETTINGS, rights)
        async with controllers.running(after):
            # Whole, they would be 80 MB of text before anything is made of it.
            assert after.peak_mebibytes() < least + 40


async def test_a_model_that_is_refused_from_the_start_hears_why(world: World, rights: Path, tmp_path: Path) -> None:
    replica = controllers.replica(world.client, tmp_path, "one", SETTINGS, rights)
    async with controllers.running(replica):
        config = {"remoteBackend": {"host": "evil.example"}, "metrics": []}

        world.apply(SERVICE, model(offloadingConfig=config))

        await eventually(lambda: world.condition("Ready").get("reason") == "SpecInvalid", within=LONG)
        assert "remoteBackend.host" in world.condition("Ready")["message"]
        await eventually(lambda: ("Warning", "SpecInvalid") in world.events(), within=LONG)


async def test_the_last_good_spec_stays_in_force_for_a_controller_that_is_started_anew(
    world: World, rights: Path, tmp_path: Path
) -> None:
    async with controllers.running(controllers.replica(world.client, tmp_path, "one", SETTINGS, rights)):
        world.apply(SERVICE, model())
        await world.reaches(0)
        world.patch({"spec": {"offloadingConfig": {"remoteBackend": {"host": "evil.example"}}}})
        await eventually(lambda: world.condition("Ready").get("reason") == "SpecInvalid", within=LONG)

    world.queue(14)
    async with controllers.running(controllers.replica(world.client, tmp_path, "two", SETTINGS, rights)):
        await world.reaches(50)

        assert "the last good one stays in force" in world.condition("Ready")["message"]


async def test_a_new_leader_writes_nothing_where_all_is_as_it_should_be(
    world: World, rights: Path, tmp_path: Path
) -> None:
    async with controllers.running(controllers.replica(world.client, tmp_path, "one", SETTINGS, rights)):
        world.apply(SERVICE, model(gateway={"resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}}}))
        await world.complete()
        await world.play_pods()
        world.client.kubectl("wait", "--for=condition=Ready", "md/llama", "-n", world.namespace, "--timeout=60s")
        # Figures are written every half minute.
        await eventually(lambda: "2 of 2" in world.condition("GatewayReady")["message"], within=LONG)
    before, resource = world.versions(), world.get("md", "llama")["metadata"]["resourceVersion"]

    second = controllers.replica(world.client, tmp_path, "two", SETTINGS, rights)
    async with controllers.running(second):
        await eventually(second.leads, within=LONG)
        await eventually(second.models, within=LONG, what="it has decided")
        for _ in range(2):
            renewed = lease(world.client)["renewTime"]
            await eventually(lambda seen=renewed: lease(world.client)["renewTime"] != seen, within=LONG)

        assert world.versions() == before
        assert world.get("md", "llama")["metadata"]["resourceVersion"] == resource
