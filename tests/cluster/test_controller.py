"""The controller against the real API server, with the chart's rights: what a user applies, and what comes of it."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from cluster import assets, controllers
from cluster.client import Client
from cluster.control_plane import ControlPlane
from cluster.controllers import Replica
from cluster.metrics_api import MetricsApis, Values
from fakes.controller import COMMAND
from waiting import eventually

Json = dict[str, Any]
LONG = 90
SETTINGS = {"metricInformer": {"periodSeconds": 1}, "allowedRemoteHosts": ["api.example.com"]}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "llama"},
    "spec": {"selector": {"app": "llama"}, "ports": [{"name": "http", "port": 80, "targetPort": 8000}]},
}
GATEWAY = ("deployment", "configmap", "serviceaccount", "poddisruptionbudget")
OWNED = (
    ("", "services"),
    ("", "configmaps"),
    ("", "serviceaccounts"),
    ("apps", "deployments"),
    ("policy", "poddisruptionbudgets"),
)


def model(**spec: Any) -> Json:  # noqa: ANN401 - whatever a spec has
    config = {
        "behavior": {"percentage": 50},
        "remoteBackend": {"scheme": "https", "host": "api.example.com"},
        "metrics": [
            {"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "Value", "value": 10}}}
        ],
    }
    return {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "llama"},
        "spec": {
            "serviceRef": {"name": "llama", "targetPort": 8000},
            "routing": {"mode": "Service"},
            "offloadingConfig": config,
            **spec,
        },
    }


class World:
    """A namespace with a model in it, as its user and an onlooker see it."""

    def __init__(self, client: Client, namespace: str, values: Values) -> None:
        self.client = client
        self.namespace = namespace
        self.values = values

    def queue(self, length: int) -> None:
        self.values.external["queue"] = [str(length)]

    def apply(self, *objects: Json) -> None:
        self.client.apply(*objects, namespace=self.namespace)

    def patch(self, change: Json) -> None:
        self.client.patch("md", "llama", change, namespace=self.namespace)

    def get(self, kind: str, name: str) -> Json:
        return self.client.get(kind, name, namespace=self.namespace)

    def status(self) -> Json:
        return self.get("md", "llama").get("status") or {}

    def condition(self, kind: str) -> Json:
        found = [each for each in self.status().get("conditions") or () if each["type"] == kind]
        return found[0] if found else {}

    def percentage(self) -> int | None:
        return (self.status().get("offloading") or {}).get("percentage")

    def names(self, kind: str) -> set[str]:
        return {each["metadata"]["name"] for each in self.client.get(kind, namespace=self.namespace)["items"]}

    def versions(self) -> dict[str, str]:
        """Give the resourceVersion of everything that is ours."""
        ours = "app.kubernetes.io/managed-by=beamlit-controller"
        kinds = ",".join((*GATEWAY, "service"))
        listed = self.client.kubectl("get", kinds, "-n", self.namespace, "-l", ours, "-o", _VERSIONS)
        return dict(line.split(" ") for line in listed.splitlines())

    def events(self) -> set[tuple[str, str]]:
        items = self.client.get("events.events.k8s.io", namespace=self.namespace)["items"]
        return {(each["type"], each["reason"]) for each in items if each["regarding"]["kind"] == "ModelDeployment"}

    async def reaches(self, percentage: int) -> None:
        await eventually(lambda: self.percentage() == percentage, within=LONG, every=0.2, what=f"{percentage} %")

    async def complete(self) -> None:
        """Wait until all of the gateway is there."""
        await eventually(lambda: len(self.versions()) == 6, within=LONG, every=0.2, what="six objects")


_VERSIONS = 'jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.resourceVersion}{"\\n"}{end}'


@pytest.fixture(scope="module")
def rights(control_plane: ControlPlane) -> Iterator[Path]:
    yield controllers.install(control_plane.client, assets.need("helm")["helm"])
    controllers.uninstall(control_plane.client)


@pytest.fixture
def world(control_plane: ControlPlane, metrics_apis: MetricsApis, namespace: str) -> World:
    world = World(control_plane.client, namespace, metrics_apis.values(namespace))
    world.queue(4)
    return world


@pytest_asyncio.fixture
async def one(world: World, rights: Path, tmp_path: Path) -> AsyncIterator[Replica]:
    replica = controllers.replica(world.client, tmp_path, "one", SETTINGS, rights)
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


async def test_what_the_deployment_says_of_its_pods_is_what_kubectl_waits_for(world: World, one: Replica) -> None:
    world.apply(SERVICE, model())
    await world.complete()
    assert world.condition("Ready")["status"] == "False"

    for pod in world.names("pod"):
        ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        world.client.set_status("pod", pod, ready, namespace=world.namespace)

    world.client.kubectl("wait", "--for=condition=Ready", "md/llama", "-n", world.namespace, "--timeout=60s")
    row = world.client.kubectl("get", "md", "llama", "-n", world.namespace, "--no-headers").split()
    assert row[:6] == ["llama", "llama", "0", "MetricBelowTarget", "False", "True"]


async def test_in_a_quiet_cluster_nothing_is_written(world: World, one: Replica) -> None:
    """The lease is the clock: it is renewed every two seconds, whatever else happens."""
    world.apply(SERVICE, model())
    await world.complete()
    await world.reaches(0)
    before, status = world.versions(), world.get("md", "llama")["metadata"]["resourceVersion"]

    for _ in range(5):
        renewed = _lease(world.client)["renewTime"]
        await eventually(lambda seen=renewed: _lease(world.client)["renewTime"] != seen, within=LONG)

    assert world.versions() == before
    assert world.get("md", "llama")["metadata"]["resourceVersion"] == status


def _lease(client: Client) -> Json:
    lease: Json = client.get("lease", "beamlit-controller", namespace=controllers.SYSTEM)["spec"]
    return lease


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
    for pod in world.names("pod"):
        ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        world.client.set_status("pod", pod, ready, namespace=world.namespace)

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


@pytest_asyncio.fixture
async def two(world: World, rights: Path, tmp_path: Path) -> AsyncIterator[tuple[Replica, Replica]]:
    pair = tuple(controllers.replica(world.client, tmp_path, name, SETTINGS, rights) for name in ("first", "second"))
    async with controllers.running(*pair):
        world.queue(14)
        world.apply(SERVICE, model())
        await world.reaches(50)
        yield pair[0], pair[1]


async def test_a_killed_leader_is_followed_within_20_seconds_by_one_that_goes_on(
    world: World, two: tuple[Replica, Replica]
) -> None:
    first, second = two
    since = world.status()["offloading"]["since"]
    assert await first.leads()

    first.send(signal.SIGKILL)
    killed = asyncio.get_running_loop().time()
    await eventually(second.leads, within=LONG)
    took = asyncio.get_running_loop().time() - killed
    world.patch({"spec": {"offloadingConfig": {"behavior": {"percentage": 70}}}})
    await world.reaches(70)

    (known,) = [each for each in await second.models() if each["namespace"] == world.namespace]
    assert took <= 20
    assert world.status()["offloading"]["since"] >= since
    assert [(change["previous"], change["percentage"]) for change in known["changes"]] == [(50, 70), (0, 50)]


async def test_a_leader_that_is_told_to_stop_hands_over_at_once(world: World, two: tuple[Replica, Replica]) -> None:
    first, second = two

    first.send(signal.SIGTERM)
    assert await first.ended() == 0
    stopped = asyncio.get_running_loop().time()
    await eventually(second.leads, within=LONG)

    assert asyncio.get_running_loop().time() - stopped <= 5
    assert world.percentage() == 50


async def test_a_frozen_leader_writes_nothing_when_it_goes_on(world: World, two: tuple[Replica, Replica]) -> None:
    first, second = two
    first.send(signal.SIGSTOP)
    await eventually(second.leads, within=LONG)
    world.patch({"spec": {"offloadingConfig": {"behavior": {"percentage": 70}}}})
    await world.reaches(70)
    written = _written(world)

    first.send(signal.SIGCONT)
    await eventually(lambda: _follows(first), within=LONG, what="the frozen leader follows")

    assert _written(world) == written
    assert world.percentage() == 70
    assert await second.leads()


def _written(world: World) -> tuple[str, dict[str, str]]:
    """Name what was written last to the resource and to all that is ours."""
    return world.get("md", "llama")["metadata"]["resourceVersion"], world.versions()


async def _follows(replica: Replica) -> bool:
    return not await replica.leads()


async def test_every_replica_answers_and_only_one_decides(world: World, two: tuple[Replica, Replica]) -> None:
    first, second = two

    for replica in two:
        assert await replica.answers("/healthz")
        assert await replica.answers("/readyz")
    assert "beamlit_offload_percentage{" in await first.metrics()
    assert "beamlit_offload_percentage{" not in await second.metrics()


METRICS = [
    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
    {"type": "Pods", "pods": {"metric": {"name": "running"}, "target": {"type": "AverageValue", "averageValue": 1}}},
    {
        "type": "Object",
        "object": {
            "metric": {"name": "hits"},
            "describedObject": {"kind": "Service", "name": "llama"},
            "target": {"type": "Value", "value": 1},
        },
    },
    {"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "Value", "value": 10}}},
]
IMPLIED = {
    # The audit log has the patch that created an object; creating it was asked for as well.
    *(("create", group, resource) for group, resource in OWNED),
    # Asked for by an admission plugin, in the same request as the owner is named.
    ("update", "deployment.beamlit.com", "modeldeployments/finalizers"),
}


async def test_every_right_is_used_and_none_is_missing(
    control_plane: ControlPlane, world: World, rights: Path, tmp_path: Path
) -> None:
    source = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama"}
    workload = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "llama"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "llama"}},
            "template": {
                "metadata": {"labels": {"app": "llama"}},
                "spec": {"containers": [{"name": "server", "image": "model"}]},
            },
        },
    }
    config = {**model()["spec"]["offloadingConfig"], "metrics": METRICS}
    replica = controllers.replica(world.client, tmp_path, "audited", SETTINGS, rights)
    async with controllers.running(replica):
        world.apply(SERVICE, workload, model(modelSourceRef=source, offloadingConfig=config))
        await world.complete()
        await eventually(lambda: world.condition("MetricsAvailable") != {}, within=LONG)
        await eventually(lambda: "deployment.beamlit.com/config" in _annotations(world), within=LONG)
        world.queue(14)
        await world.reaches(50)
        # As if its Service had been taken over: that is given back, seen, and the model let go.
        finalizers = {"finalizers": ["deployment.beamlit.com/give-back"]}
        world.patch({"metadata": finalizers, "spec": {"enabled": False, "routing": {"mode": "Takeover"}}})
        await eventually(lambda: "llama-gateway" not in world.names("deployment"), within=LONG)
        now = ("--force", "--grace-period=0", "--ignore-not-found")
        world.client.kubectl("delete", "pod", "--all", "-n", world.namespace, *now)
        await eventually(lambda: set(world.versions()) == {"Service/llama-gateway"}, within=LONG)
        await eventually(lambda: not world.get("md", "llama")["metadata"].get("finalizers"), within=LONG)

    asked = [each for each in control_plane.asked(f"{controllers.SYSTEM}:{controllers.NAME}") if "objectRef" in each]
    # In other tests' namespaces, which are on their way out, nothing may be created any more.
    here = [each for each in asked if each["objectRef"].get("namespace") in {world.namespace, controllers.SYSTEM, None}]
    refused = {_right(event) for event in here if event["responseStatus"]["code"] == 403}
    used = {right for event in asked for right in _granted(_right(event))} | IMPLIED
    assert refused == set()
    assert {right for right in _given(world.client) if right not in used} == set()


def _annotations(world: World) -> str:
    pods = world.client.get("pods", namespace=world.namespace)["items"]
    return str([each["metadata"].get("annotations") for each in pods if "gateway" in each["metadata"]["name"]])


def _right(event: Json) -> tuple[str, str, str]:
    about = event["objectRef"]
    subresource = f"/{about['subresource']}" if "subresource" in about else ""
    return event["verb"], about.get("apiGroup", ""), f"{about['resource']}{subresource}"


def _granted(right: tuple[str, str, str]) -> set[tuple[str, str, str]]:
    """Give the ways in which a rule may grant what was asked for."""
    verb, group, resource = right
    return {right, (verb, group, "*"), (verb, "*", f"*/{resource.partition('/')[2]}")}


def _given(client: Client) -> set[tuple[str, str, str]]:
    """Give every right that the chart grants the controller."""
    ours = "app.kubernetes.io/name=beamlit-controller"
    listed = json.loads(client.kubectl("get", "role,clusterrole", "-A", "-l", ours, "-o", "json"))["items"]
    rules = [rule for each in listed if controllers.PEOPLES not in str(each["metadata"]) for rule in each["rules"]]
    return {
        (verb, group, resource)
        for rule in rules
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


async def test_everything_is_given_back_also_of_a_model_whose_remote_is_refused_by_now(
    world: World, rights: Path, tmp_path: Path
) -> None:
    world.queue(14)
    replica = controllers.replica(world.client, tmp_path, "last", SETTINGS, rights)
    async with controllers.running(replica):
        world.apply(SERVICE, model())
        await world.complete()
        await world.reaches(50)

    forbidding = tmp_path / "forbidding.yaml"
    forbidding.write_text("config: {allowedRemoteHosts: [other.example]}")
    said = await asyncio.create_subprocess_exec(
        str(COMMAND),
        "release",
        f"--namespace={controllers.SYSTEM}",
        f"--settings={forbidding}",
        f"--kubeconfig={rights}",
        "--within-seconds=80",
    )

    assert await said.wait() == 0
    assert set(world.versions()) == {"Service/llama-gateway"}
    assert world.get("service", "llama-gateway")["spec"]["selector"] == {"app": "llama"}
    assert world.status()["offloading"]["reason"] == "Released"
    assert world.percentage() == 0


async def test_limited_to_a_namespace_it_needs_no_right_elsewhere(
    control_plane: ControlPlane, world: World, rights: Path, tmp_path: Path
) -> None:
    controllers.uninstall(control_plane.client)
    settings = {**SETTINGS, "namespaces": [world.namespace]}
    kubeconfig = controllers.install(control_plane.client, assets.need("helm")["helm"], {"config": settings})
    try:
        replica = controllers.replica(world.client, tmp_path, "limited", settings, kubeconfig)
        async with controllers.running(replica):
            world.apply(SERVICE, model())
            await world.complete()
            await world.reaches(0)
    finally:
        controllers.uninstall(control_plane.client)
        controllers.install(control_plane.client, assets.need("helm")["helm"])

    assert "forbidden" not in replica.log.lower()
