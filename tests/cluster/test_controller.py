"""The controller against the real API server, with the chart's rights: what a user applies, and what comes of it.

One controller serves all tests here, each of which has a namespace of its own.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from beamlit_controller.kubernetes.api_server import ApiError
from beamlit_controller.wiring import override as overriding
from fakes.controller import COMMAND
from kube import controllers
from kube.control_plane import ControlPlane
from kube.controllers import Replica
from kube.metrics_api import MetricsApis
from kube.world import LONG, SERVICE, SETTINGS, World, lease, model
from waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one(
    control_plane: ControlPlane, metrics_apis: MetricsApis, rights: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Replica]:
    replica = controllers.replica(control_plane.client, tmp_path_factory.mktemp("one"), "one", SETTINGS, rights)
    async with controllers.running(replica):
        yield replica
    assert '"level": "error"' not in replica.log


async def test_an_applied_model_gets_its_gateway_and_is_decided_for_by_the_metrics_apis(
    world: World, one: Replica
) -> None:
    world.apply(SERVICE, model())

    await world.complete()
    await world.reaches(0)
    world.queue(14)
    await world.reaches(50)

    service = world.get("service", "llama-gateway")["spec"]
    assert service["ports"][0]["port"] == 80
    assert world.get("service", "llama-local")["spec"]["selector"] == {"app": "llama"}
    assert world.status()["currentMetrics"][0]["external"]["current"] == {"value": "14"}
    assert world.condition("Offloading")["message"] == "queue 14 > 10"
    await eventually(lambda: ("Normal", "MetricAboveTarget") in world.events(), within=LONG)


async def test_each_remote_of_a_list_has_a_way_by_its_name_its_own_secrets_and_its_budget(
    world: World, one: Replica
) -> None:
    credentials, certificate = {"name": "aws", "key": "credentials"}, {"name": "shown", "key": "tls.crt"}
    signed = {"type": "aws", "awsConfig": {"region": "us-west-2", "credentialsSecretRef": credentials}}
    shown = {"certSecretRef": certificate, "keySecretRef": {**certificate, "key": "tls.key"}}
    several = [
        {"name": "contract", "host": "api.example.com", "weight": 3, "authConfig": signed},
        {"name": "fallback", "host": "api.example.com:8443", "weight": 1, "tls": shown},
    ]
    several[0] |= {
        "price": {"outputPerMillion": "0.60"},
        "budget": {"amount": 50, "per": "Day", "timeZone": "Europe/Berlin"},
    }
    given = model()
    given["spec"]["offloadingConfig"] |= {"remoteBackends": several}
    del given["spec"]["offloadingConfig"]["remoteBackend"]

    world.apply(SERVICE, given)
    await world.complete()

    volumes = world.get("deployment", "llama-gateway")["spec"]["template"]["spec"]["volumes"]
    mounted = {each["secret"]["secretName"]: each["secret"]["items"] for each in volumes if "secret" in each}
    assert [item["key"] for item in mounted["aws"]] == ["credentials"]
    assert [item["key"] for item in mounted["shown"]] == ["tls.crt", "tls.key"]
    files = world.get("configmap", "llama-gateway")["data"]
    clusters = json.loads(files["cds.json"])["resources"]
    assert {"remote-contract", "remote-fallback"} <= {each.get("alt_stat_name") for each in clusters}
    assert [name for name in ("contract", "fallback") if f"offload.spent.{name}" in "".join(files.values())] == [
        "contract"
    ]


async def test_what_the_deployment_says_of_its_pods_is_what_kubectl_waits_for(world: World, one: Replica) -> None:
    world.apply(SERVICE, model())
    await world.complete()
    assert world.condition("Ready")["status"] == "False"

    await world.play_pods()

    world.client.kubectl("wait", "--for=condition=Ready", "md/llama", "-n", world.namespace, "--timeout=60s")
    row = world.client.kubectl("get", "md", "llama", "-n", world.namespace, "--no-headers").split()
    assert row[:8] == ["llama", "llama", "0%", "MetricBelowTarget", "False", "Unknown", "True", "AsAsked"]


async def test_in_a_quiet_cluster_nothing_is_written(world: World, one: Replica) -> None:
    """The lease is the clock: it is renewed every two seconds, whatever else happens."""
    world.apply(SERVICE, model())
    await world.complete()
    await world.reaches(0)
    before, status = world.versions(), world.get("md", "llama")["metadata"]["resourceVersion"]

    for _ in range(5):
        renewed = lease(world.client)["renewTime"]
        await eventually(lambda seen=renewed: lease(world.client)["renewTime"] != seen, within=LONG)

    assert world.versions() == before
    assert world.get("md", "llama")["metadata"]["resourceVersion"] == status


async def test_what_somebody_deletes_or_changes_is_put_right(world: World, one: Replica) -> None:
    world.apply(SERVICE, model())
    await world.complete()

    world.client.kubectl("delete", "service", "llama-local", "-n", world.namespace)
    world.client.patch("deployment", "llama-gateway", {"spec": {"replicas": 0}}, namespace=world.namespace)
    world.client.patch("configmap", "llama-gateway", {"data": {"cds.json": "broken"}}, namespace=world.namespace)

    await eventually(lambda: "llama-local" in world.names("service"), within=LONG)
    await eventually(lambda: world.get("deployment", "llama-gateway")["spec"]["replicas"] == 2, within=LONG)
    await eventually(lambda: world.get("configmap", "llama-gateway")["data"]["cds.json"] != "broken", within=LONG)


async def test_an_object_of_that_name_that_is_not_ours_is_left_alone_and_told(world: World, one: Replica) -> None:
    theirs = {**SERVICE, "metadata": {"name": "llama-local"}}
    world.apply(SERVICE, theirs, model())

    await eventually(lambda: world.condition("Ready").get("reason") == "NameTaken", within=LONG)

    assert "llama-local" in world.condition("Ready")["message"]
    assert "ownerReferences" not in world.get("service", "llama-local")["metadata"]
    world.client.kubectl("delete", "service", "llama-local", "-n", world.namespace)
    await world.complete()


async def test_a_disabled_model_keeps_a_way_to_its_pods_and_nothing_else_of_ours(world: World, one: Replica) -> None:
    world.queue(14)
    world.apply(SERVICE, model())
    await world.complete()
    await world.reaches(50)

    world.patch({"spec": {"enabled": False}})

    await eventually(lambda: set(world.versions()) == {"Service/llama-gateway"}, within=LONG)
    assert world.get("service", "llama-gateway")["spec"]["selector"] == {"app": "llama"}
    await world.reaches(0)
    assert world.status()["offloading"]["reason"] == "Disabled"
    world.patch({"spec": {"enabled": True}})
    await world.complete()


async def test_a_deleted_model_leaves_nothing_of_ours(world: World, one: Replica) -> None:
    world.apply(SERVICE, model())
    await world.complete()

    world.client.kubectl("delete", "md", "llama", "-n", world.namespace)

    await eventually(lambda: world.versions() == {}, within=LONG)
    assert "llama" in world.names("service")


async def test_a_spec_that_the_settings_forbid_is_told_and_the_last_good_one_stays_in_force(
    world: World, one: Replica
) -> None:
    world.queue(14)
    world.apply(SERVICE, model())
    await world.reaches(50)

    world.patch(
        {"spec": {"offloadingConfig": {"remoteBackend": {"host": "evil.example"}, "behavior": {"percentage": 90}}}}
    )

    await eventually(lambda: world.condition("Ready").get("reason") == "SpecInvalid", within=LONG)
    assert "remoteBackend.host" in world.condition("Ready")["message"]
    assert world.percentage() == 50
    assert "evil.example" not in str(world.get("configmap", "llama-gateway")["data"])


async def test_a_service_that_is_not_there_is_told_and_waited_for(world: World, one: Replica) -> None:
    world.apply(model())
    await eventually(lambda: world.condition("Ready").get("reason") == "ServiceNotFound", within=LONG)

    world.apply(SERVICE)

    await world.complete()


async def test_what_is_worth_knowing_of_a_spec_is_told(world: World, one: Replica) -> None:
    world.apply(SERVICE, model())
    await world.complete()
    await world.play_pods()

    world.patch({"spec": {"offloadingConfig": {"behavior": {"release": {"tolerance": "1"}}}}})

    await eventually(lambda: "hardly any demand is low" in world.condition("Ready").get("message", ""), within=LONG)
    assert world.condition("TriggerReachable")["reason"] == "MetricsRead"


async def test_a_dry_run_shows_what_it_would_do_and_sends_nothing(world: World, one: Replica) -> None:
    world.queue(14)
    world.apply(SERVICE, model())
    await world.reaches(50)

    world.patch({"spec": {"offloadingConfig": {"behavior": {"dryRun": True}}}})

    await world.reaches(0)
    assert world.status()["offloading"]["message"].startswith("dry run, would offload 50%: ")
    assert world.condition("Offloading")["status"] == "False"


async def test_a_person_overrides_the_metrics_and_takes_it_back(world: World, rights: Path, one: Replica) -> None:
    async def override(*arguments: str) -> tuple[int, str]:
        line = (str(COMMAND), "override", "llama", *arguments, f"--namespace={world.namespace}")
        kubeconfig = f"--kubeconfig={world.client.kubeconfig}"
        ran = await asyncio.create_subprocess_exec(
            *line, kubeconfig, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await ran.communicate()
        return ran.returncode or 0, said.decode()

    world.apply(SERVICE, model())
    await world.reaches(0)

    code, said = await override("25%", "--for=1h", "--reason=a rehearsal", "--author=ada")
    await world.reaches(25)
    offloading = world.status()["offloading"]
    assert (code, offloading["reason"]) == (0, "Overridden")
    assert "by ada, a rehearsal" in offloading["message"]
    assert "25 %" in said

    assert (await override("--clear"))[0] == 0
    await eventually(lambda: world.status()["offloading"]["reason"] != "Overridden", within=LONG, every=0.2)
    assert (await override("250%"))[0] == 1
    assert (await override("25", "--for=soon"))[0] == 1
    assert (await override())[0] == 1
    with pytest.raises(ApiError, match=f"there is no ModelDeployment nobody in namespace {world.namespace}"):
        await overriding.override(f"{world.namespace}/nobody", None, kubeconfig=world.client.kubeconfig)


async def test_an_autoscaler_on_the_same_workload_is_warned_of(world: World, one: Replica) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama"}
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "scaler"},
        "spec": {"scaleTargetRef": target, "maxReplicas": 3},
    }
    world.apply(SERVICE, autoscaler, model(modelSourceRef=target))

    await eventually(lambda: "scaler" in world.condition("AutoscalerInterference").get("message", ""), within=LONG)

    world.client.kubectl("delete", "hpa", "scaler", "-n", world.namespace)
    await eventually(lambda: world.condition("AutoscalerInterference") == {}, within=LONG)


async def test_metrics_that_can_not_be_read_hold_the_share_and_say_why(
    world: World, one: Replica, metrics_apis: MetricsApis
) -> None:
    world.queue(14)
    world.apply(SERVICE, model())
    await world.reaches(50)

    world.values.external.clear()
    await eventually(lambda: world.condition("MetricsAvailable").get("status") == "False", within=LONG)

    assert world.percentage() == 50
    assert world.condition("MetricsAvailable")["reason"] in {"NoSeries", "MetricNotFound"}
