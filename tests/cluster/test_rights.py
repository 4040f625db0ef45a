"""The rights that the chart gives the controller: each is used, none is missing, and without them all is given back."""

import asyncio
import json
from pathlib import Path
from typing import Any

from fakes.controller import COMMAND
from kube import controllers
from kube.client import Client
from kube.control_plane import ControlPlane
from kube.world import LONG, SERVICE, SETTINGS, World, model
from waiting import eventually

Json = dict[str, Any]
OWNED = (
    ("", "services"),
    ("", "configmaps"),
    ("apps", "deployments"),
    ("networking.k8s.io", "networkpolicies"),
    ("policy", "poddisruptionbudgets"),
)
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
    # Asked for when the write of a status meets a newer object, which may or may not happen here.
    ("get", "deployment.beamlit.com", "modeldeployments"),
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
        world.remove_pods()
        await eventually(lambda: set(world.versions()) == {"Service/llama-gateway"}, within=LONG)
        await eventually(lambda: not world.get("md", "llama")["metadata"].get("finalizers"), within=LONG)
        await _goes(world)

    asked = [each for each in control_plane.asked(f"{controllers.SYSTEM}:{controllers.NAME}") if "objectRef" in each]
    # In other tests' namespaces, which are on their way out, nothing may be created any more.
    here = [each for each in asked if each["objectRef"].get("namespace") in {world.namespace, controllers.SYSTEM, None}]
    refused = {_right(event) for event in here if _is_refused(event)}
    used = {right for event in asked for right in _granted(_right(event))} | IMPLIED
    assert refused == set()
    assert {right for right in _given(world.client) if right not in used} == set()


async def _goes(world: World) -> None:
    """Delete the namespace with a gateway in it, and wait until it is told that the gateway's pods are gone."""
    world.patch({"spec": {"enabled": True}})
    await eventually(lambda: "deployment.beamlit.com/config" in _annotations(world), within=LONG)
    world.client.kubectl("delete", "namespace", world.namespace, "--wait=false")
    world.remove_pods()
    await eventually(lambda: "deployment.beamlit.com/gateway-gone" in str(_namespace(world)), within=LONG)


def _namespace(world: World) -> Json:
    about: Json = world.client.get("namespace", world.namespace)["metadata"]
    return about


def _annotations(world: World) -> str:
    pods = world.client.get("pods", namespace=world.namespace)["items"]
    return str([each["metadata"].get("annotations") for each in pods if "gateway" in each["metadata"]["name"]])


def _is_refused(event: Json) -> bool:
    """Return whether a right was missing; in a namespace that is deleted nothing can be created, whatever the rights."""
    answer = event["responseStatus"]
    return answer["code"] == 403 and "being terminated" not in answer.get("message", "")


def _right(event: Json) -> tuple[str, str, str]:
    about = event["objectRef"]
    subresource = f"/{about['subresource']}" if "subresource" in about else ""
    return event["verb"], about.get("apiGroup", ""), f"{about['resource']}{subresource}"


def _granted(right: tuple[str, str, str]) -> set[tuple[str, str, str]]:
    """Return the ways in which a rule may grant what was asked for."""
    verb, group, resource = right
    return {right, (verb, group, "*"), (verb, "*", f"*/{resource.partition('/')[2]}")}


def _given(client: Client) -> set[tuple[str, str, str]]:
    """Return every right that the chart grants the controller."""
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


async def test_everything_is_given_back_also_of_a_model_that_is_mistaken_by_now(
    world: World, rights: Path, tmp_path: Path
) -> None:
    """Its remote is refused by the settings, and its override is no percentage."""
    world.queue(14)
    replica = controllers.replica(world.client, tmp_path, "last", SETTINGS, rights)
    async with controllers.running(replica):
        world.apply(SERVICE, model())
        await world.complete()
        await world.reaches(50)
        world.patch({"metadata": {"annotations": {"offloading.beamlit.com/override": "150"}}})

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
    control_plane: ControlPlane, helm: Path, world: World, rights: Path, tmp_path: Path
) -> None:
    controllers.uninstall(control_plane.client)
    settings = {**SETTINGS, "namespaces": [world.namespace]}
    kubeconfig = controllers.install(control_plane.client, helm, {"config": settings})
    try:
        replica = controllers.replica(world.client, tmp_path, "limited", settings, kubeconfig)
        async with controllers.running(replica):
            world.apply(SERVICE, model())
            await world.complete()
            await world.reaches(0)
    finally:
        controllers.uninstall(control_plane.client)
        controllers.install(control_plane.client, helm)

    assert "forbidden" not in replica.log.lower()
