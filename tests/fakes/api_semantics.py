"""What an API server does, as a table of small plays: each gives what came of it, and what has to come.

They are played at the fake and at the real one, so that the fake can't drift.
"""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from beamlit_controller.kubernetes.api_server import ApiError, ApiServer, Json
from beamlit_controller.kubernetes.paths import CONFIG_MAPS, DEPLOYMENTS, LEASES, MODEL_DEPLOYMENTS, SERVICES, Resource


@dataclass(frozen=True, slots=True)
class World:
    """A server, as one manager sees it, and a namespace of one's own."""

    api: ApiServer
    namespace: str
    kubectl_apply: Callable[[Json], Awaitable[None]]

    def path(self, resource: Resource, name: str = "a", subresource: str = "") -> str:
        """Give the path of an object."""
        return resource.path(self.namespace, name, subresource)

    async def create(self, resource: Resource, name: str = "a", **content: Any) -> Json:  # noqa: ANN401 - its fields
        """Create an object of a good default."""
        return await self.api.create(resource.collection(self.namespace), made(resource, name, **content))

    async def get(self, resource: Resource, name: str = "a") -> Json:
        """Get an object."""
        return await self.api.get(self.path(resource, name))

    async def merge(self, resource: Resource, patch: Json, subresource: str = "") -> Json:
        """Merge fields into an object."""
        return await self.api.merge(self.path(resource, subresource=subresource), patch)

    async def apply(
        self,
        resource: Resource,
        content: Json,
        manager: str = "me",
        *,
        force: bool = False,
        subresource: str = "",
    ) -> Json:
        """Apply fields of an object as a manager."""
        about = {"name": "a", **content.get("metadata", {})}
        whole = {"apiVersion": resource.api_version, "kind": resource.kind, **content, "metadata": about}
        query = [("fieldManager", manager), *([("force", "true")] if force else [])]
        path = self.path(resource, subresource=subresource)
        sent = self.api._exchange("PATCH", path, query, whole, kind="application/apply-patch+yaml")  # noqa: SLF001 - for another manager
        return await sent


@dataclass(frozen=True, slots=True)
class Play:
    """One thing that is to be so."""

    so: str
    play: Callable[[World], Awaitable[object]]
    gives: object


def made(resource: Resource, name: str, **content: Any) -> Json:  # noqa: ANN401 - its fields
    """Give an object of a good default."""
    about = {"name": name, **content.pop("metadata", {})}
    whole = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": about}
    return {**whole, **_GOOD.get(resource, {}), **content}


_CONTAINER = {"name": "c", "image": "i"}
_GOOD: dict[Resource, Json] = {
    SERVICES: {"spec": {"selector": {"app": "a"}, "ports": [{"port": 80}]}},
    DEPLOYMENTS: {
        "spec": {
            "selector": {"matchLabels": {"app": "a"}},
            "replicas": 0,
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [_CONTAINER]}},
        }
    },
    MODEL_DEPLOYMENTS: {
        "spec": {
            "offloadingConfig": {
                "metrics": [
                    {
                        "type": "Resource",
                        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
                    }
                ]
            }
        }
    },
    CONFIG_MAPS: {"data": {"x": "1"}},
    LEASES: {"spec": {"holderIdentity": "a", "leaseDurationSeconds": 15}},
}


async def refusal(world: World, awaited: Awaitable[object]) -> tuple[int, str, str]:
    """Give the error that came, with the namespace and what is drawn by lot left out."""
    try:
        await awaited
    except ApiError as error:
        said = error.message.replace(world.namespace, "NAMESPACE")
        return error.code, error.reason, re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\b\d{2,}\b", "#", said)
    return 0, "", "not refused"


# Single objects.


async def _absent(world: World) -> object:
    asked = (CONFIG_MAPS, DEPLOYMENTS, MODEL_DEPLOYMENTS)
    return [await refusal(world, world.get(each)) for each in asked]


async def _unknown(world: World) -> object:
    return await refusal(world, world.api.get("/apis/apps/v1/nothings"))


async def _twice(world: World) -> object:
    await world.create(DEPLOYMENTS)
    return await refusal(world, world.create(DEPLOYMENTS))


async def _nowhere(world: World) -> object:
    lost = replace(world, namespace="nowhere")
    return await refusal(world, lost.create(CONFIG_MAPS))


async def _versioned_create(world: World) -> object:
    code, *_ = await refusal(world, world.create(CONFIG_MAPS, metadata={"resourceVersion": "7"}))
    return code >= 400


async def _generated_name(world: World) -> object:
    content = made(CONFIG_MAPS, "", metadata={"generateName": "b-"})
    del content["metadata"]["name"]
    name = (await world.api.create(CONFIG_MAPS.collection(world.namespace), content))["metadata"]["name"]
    return bool(re.fullmatch(r"b-[a-z0-9]{5}", name))


async def _new_metadata(world: World) -> object:
    found = {}
    for each in (CONFIG_MAPS, SERVICES, DEPLOYMENTS, MODEL_DEPLOYMENTS, LEASES):
        about = (await world.create(each))["metadata"]
        assert about["resourceVersion"].isdecimal()
        found[each.plural] = sorted(about)
    return found


_META = ["creationTimestamp", "managedFields", "name", "namespace", "resourceVersion", "uid"]
_COUNTED = sorted([*_META, "generation"])


# Replacing and patching.


async def _stale_replace(world: World) -> object:
    old = await world.create(CONFIG_MAPS)
    await world.merge(CONFIG_MAPS, {"data": {"x": "2"}})
    return await refusal(world, world.api.replace(world.path(CONFIG_MAPS), {**old, "data": {}}))


async def _unversioned_replace(world: World) -> object:
    outcomes = []
    for each in (CONFIG_MAPS, DEPLOYMENTS, LEASES, MODEL_DEPLOYMENTS):
        await world.create(each)
        code, reason, _ = await refusal(world, world.api.replace(world.path(each), made(each, "a")))
        outcomes.append((each.kind, code, reason))
    return outcomes


async def _null_merge(world: World) -> object:
    await world.create(CONFIG_MAPS, data={"x": "1", "y": "2"})
    return (await world.merge(CONFIG_MAPS, {"data": {"x": None, "z": "3"}}))["data"]


async def _stale_merge(world: World) -> object:
    old = (await world.create(CONFIG_MAPS))["metadata"]["resourceVersion"]
    await world.merge(CONFIG_MAPS, {"data": {"x": "2"}})
    return await refusal(world, world.merge(CONFIG_MAPS, {"metadata": {"resourceVersion": old}, "data": {"x": "3"}}))


async def _no_change(world: World) -> object:
    versions = set()
    for each in (CONFIG_MAPS, SERVICES, LEASES, MODEL_DEPLOYMENTS):  # that no controller writes
        before = await world.create(each)
        same = await world.merge(each, {"spec": before["spec"]} if "spec" in before else {"data": before["data"]})
        put = await world.api.replace(world.path(each), same)
        versions.add(
            before["metadata"]["resourceVersion"]
            == same["metadata"]["resourceVersion"]
            == put["metadata"]["resourceVersion"]
        )
    return versions


async def _patch(world: World) -> object:
    await world.create(CONFIG_MAPS, metadata={"annotations": {"a.com/b": "2", "c": "3"}})
    operations = [
        {"op": "test", "path": "/data/x", "value": "1"},
        {"op": "replace", "path": "/data/x", "value": "3"},
        {"op": "remove", "path": "/metadata/annotations/a.com~1b"},
        {"op": "add", "path": "/data/new", "value": "4"},
        {"op": "replace", "path": "/data/absent", "value": "5"},
    ]
    content = await world.api.patch(world.path(CONFIG_MAPS), operations)
    return content["data"], content["metadata"]["annotations"]


async def _bad_patches(world: World) -> object:
    await world.create(CONFIG_MAPS, metadata={"finalizers": ["example.com/a"]})
    bad = [
        [{"op": "test", "path": "/data/x", "value": "2"}, {"op": "remove", "path": "/data/x"}],
        [{"op": "test", "path": "/data/absent", "value": "2"}],
        [{"op": "test", "path": "/metadata/finalizers", "value": ["example.com/b"]}],
        [{"op": "remove", "path": "/data/absent"}],
        [{"op": "replace", "path": "/absent/absent", "value": "2"}],
    ]
    outcomes = [(await refusal(world, world.api.patch(world.path(CONFIG_MAPS), each)))[:2] for each in bad]
    data = (await world.get(CONFIG_MAPS))["data"]
    await _let_go(world)
    return outcomes, data


async def _let_go(world: World, resource: Resource = CONFIG_MAPS) -> None:
    await world.merge(resource, {"metadata": {"finalizers": None}})


# Deleting.


async def _preconditions(world: World) -> object:
    about = (await world.create(CONFIG_MAPS))["metadata"]
    path = world.path(CONFIG_MAPS)
    refused = [
        await refusal(world, world.api.delete(path, uid="other")),
        await refusal(world, world.api.delete(path, resource_version="1")),
    ]
    await world.api.delete(path, uid=about["uid"], resource_version=about["resourceVersion"])
    return refused, (await refusal(world, world.get(CONFIG_MAPS)))[0]


async def _deleted_answers(world: World) -> object:
    kinds = []
    for each in (CONFIG_MAPS, SERVICES, DEPLOYMENTS, MODEL_DEPLOYMENTS):
        await world.create(each)
        answer = await world.api.delete(world.path(each))
        kinds.append((answer["kind"], answer.get("status") if answer["kind"] == "Status" else ""))
    return kinds


async def _finalized(world: World) -> object:
    outcomes = []
    for each in (CONFIG_MAPS, MODEL_DEPLOYMENTS):
        before = (await world.create(each, metadata={"finalizers": ["example.com/a"]}))["metadata"]
        about = (await world.api.delete(world.path(each)))["metadata"]
        again = (await world.api.delete(world.path(each)))["metadata"]
        refused = await refusal(world, world.merge(each, {"metadata": {"finalizers": ["example.com/a", "b.com/b"]}}))
        label = (await world.merge(each, {"metadata": {"labels": {"a": "b"}}}))["metadata"]["labels"]
        last = (await world.merge(each, {"metadata": {"finalizers": None}}))["metadata"]
        outcomes.append(
            {
                "deletionTimestamp": "deletionTimestamp" in about,
                "seconds": about.get("deletionGracePeriodSeconds"),
                "generations": (before.get("generation"), about.get("generation")),
                "again": again["resourceVersion"] == about["resourceVersion"],
                "refused": refused,
                "label": label,
                "last": last.get("finalizers"),
                "gone": (await refusal(world, world.get(each)))[0],
            }
        )
    return outcomes


async def _terminating(world: World) -> object:
    name = f"{world.namespace}-ends"
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    await world.api.create("/api/v1/namespaces", space)
    inside = replace(world, namespace=name)
    await inside.create(CONFIG_MAPS, metadata={"finalizers": ["example.com/a"]})
    phase = (await world.api.delete(f"/api/v1/namespaces/{name}"))["status"]["phase"]
    refused = [
        await refusal(inside, inside.create(CONFIG_MAPS, "b")),
        await refusal(inside, inside.apply(DEPLOYMENTS, made(DEPLOYMENTS, "a"))),
    ]
    with suppress(ApiError):
        await _let_go(inside)
    return phase, refused


# Generations, status, scale.


async def _generations(world: World) -> object:
    outcomes = []
    for each in (MODEL_DEPLOYMENTS, DEPLOYMENTS):
        await world.create(each)
        spec = (
            {"serviceRef": {"name": "s", "targetPort": 80}}
            if each is MODEL_DEPLOYMENTS
            else {"replicas": 0, "paused": True}
        )
        writes = (
            {"metadata": {"labels": {"a": "b"}}},
            {"metadata": {"finalizers": ["example.com/a"]}},
            {"metadata": {"finalizers": None}},
            {"spec": spec},
            {"spec": spec},
        )
        outcomes.append([(await world.merge(each, write))["metadata"]["generation"] for write in writes])
    return outcomes


async def _paths_of_status(world: World) -> object:
    await world.create(MODEL_DEPLOYMENTS, status={"model": "created"})
    outcomes = [(await world.get(MODEL_DEPLOYMENTS)).get("status")]
    whole = await world.merge(MODEL_DEPLOYMENTS, {"status": {"model": "spec"}})
    outcomes.append(whole.get("status"))
    change = {"status": {"model": "status"}, "spec": {"enabled": False}, "metadata": {"labels": {"a": "b"}}}
    whole = await world.merge(MODEL_DEPLOYMENTS, change, "status")
    outcomes.append((whole["status"], whole["spec"].get("enabled"), whole["metadata"].get("labels")))
    return [*outcomes, whole["metadata"]["generation"]]


async def _status_of_deployment(world: World) -> object:
    await world.create(DEPLOYMENTS, spec={**_GOOD[DEPLOYMENTS]["spec"], "paused": True})
    change = {"status": {"observedGeneration": 1}, "spec": {"replicas": 3}, "metadata": {"labels": {"a": "b"}}}
    whole = await world.merge(DEPLOYMENTS, change, "status")
    return whole["spec"]["replicas"], whole["metadata"].get("labels"), whole["metadata"]["generation"]


async def _scale(world: World) -> object:
    await world.create(DEPLOYMENTS, spec={**_GOOD[DEPLOYMENTS]["spec"], "paused": True})
    made_of = await world.merge(DEPLOYMENTS, {"spec": {"replicas": 0}}, "scale")
    read = await world.api.get(world.path(DEPLOYMENTS, subresource="scale"))
    return [(each["kind"], each["spec"], each["status"]) for each in (made_of, read)]


# Values.


async def _status_limits(world: World) -> object:
    await world.create(MODEL_DEPLOYMENTS)
    condition = {"type": "Ready", "status": "True", "reason": "R", "message": "m"}
    bad: list[Json] = [
        {"model": "m" * 1025},
        {"conditions": [{**condition, "status": "Perhaps"}]},
        {"conditions": [{**condition, "message": "m" * 32769}]},
        {"conditions": [{"type": "Ready"}]},
        {"observedGeneration": -1},
        {"observedGeneration": "1"},
        {"offloading": {"percentage": 101, "reason": "R", "message": "m", "since": "2026-01-01T00:00:00Z"}},
        {"offloading": {"percentage": 1, "reason": "R", "message": "m", "since": "yesterday"}},
        {"conditions": [condition, condition]},
    ]
    return [await refusal(world, world.merge(MODEL_DEPLOYMENTS, {"status": each}, "status")) for each in bad]


async def _unknown_fields(world: World) -> object:
    await world.create(MODEL_DEPLOYMENTS)
    status = {"status": {"unknown": 1, "model": "m"}}
    return (await world.merge(MODEL_DEPLOYMENTS, status, "status"))["status"]


async def _bad_spec(world: World) -> object:
    config = _GOOD[MODEL_DEPLOYMENTS]["spec"]["offloadingConfig"]
    specs = ({"offloadingConfig": {**config, "behavior": {"percentage": 101}}}, {"gateway": {"replicas": "two"}}, None)
    return [(await refusal(world, world.create(MODEL_DEPLOYMENTS, spec=each)))[:2] for each in specs]


async def _model_defaults(world: World) -> object:
    config = _GOOD[MODEL_DEPLOYMENTS]["spec"]["offloadingConfig"]
    spec = {"offloadingConfig": {**config, "behavior": {}}, "gateway": {}, "routing": {}}
    found = (await world.create(MODEL_DEPLOYMENTS, spec=spec))["spec"]
    return found["gateway"]["replicas"], found["routing"]["mode"], found["offloadingConfig"]["behavior"]["percentage"]


async def _service_defaults(world: World) -> object:
    spec = (await world.create(SERVICES))["spec"]
    assert spec.pop("clusterIP") == spec.pop("clusterIPs")[0]
    return spec


async def _deployment_defaults(world: World) -> object:
    spec = dict(_GOOD[DEPLOYMENTS]["spec"])
    container = {**_CONTAINER, "ports": [{"containerPort": 80}], "volumeMounts": []}
    spec["template"] = {
        "metadata": {"labels": {"app": "a"}},
        "spec": {"containers": [container], "imagePullSecrets": []},
    }
    return (await world.create(DEPLOYMENTS, spec=spec))["spec"]


async def _immutable(world: World) -> object:
    await world.create(DEPLOYMENTS)
    labels = {"app": "b"}
    change = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}}
    return (await refusal(world, world.merge(DEPLOYMENTS, {"spec": change})))[:2]


async def _selector_and_template(world: World) -> object:
    spec = {**_GOOD[DEPLOYMENTS]["spec"], "selector": {"matchLabels": {"app": "b"}}}
    return (await refusal(world, world.create(DEPLOYMENTS, spec=spec)))[:2]


# Server-side apply.


def owners(content: Json) -> list[tuple[str, str, str]]:
    """Give who owns fields of an object, and which."""
    return sorted(
        (each["manager"], each["operation"], json.dumps(_leaves(each["fieldsV1"]), sort_keys=True))
        for each in content["metadata"]["managedFields"]
    )


def _leaves(tree: Json, path: str = "") -> list[str]:
    found = [leaf for name, each in tree.items() if name != "." for leaf in _leaves(each, f"{path}/{name}")]
    return sorted(found) or [path]


async def _applied_create(world: World) -> object:
    content = await world.apply(CONFIG_MAPS, {"data": {"x": "1"}, "metadata": {"labels": {"l": "1"}}})
    return owners(content), "generation" in content["metadata"]


async def _applied_same(world: World) -> object:
    first = await world.apply(CONFIG_MAPS, {"data": {"x": "1"}})
    again = await world.apply(CONFIG_MAPS, {"data": {"x": "1"}})
    other = await world.apply(CONFIG_MAPS, {"data": {"x": "1"}}, "other")
    versions = [each["metadata"]["resourceVersion"] for each in (first, again, other)]
    return versions[0] == versions[1], versions[1] == versions[2], owners(other)


async def _collisions(world: World) -> object:
    await world.apply(CONFIG_MAPS, {"data": {"x": "1", "y": "1"}})
    one = await refusal(world, world.apply(CONFIG_MAPS, {"data": {"x": "2"}}, "other"))
    two = await refusal(world, world.apply(CONFIG_MAPS, {"data": {"x": "2", "y": "2"}}, "other"))
    return one, two, (await world.get(CONFIG_MAPS))["data"]


async def _collision_with_update(world: World) -> object:
    await world.create(CONFIG_MAPS)
    code, reason, said = await refusal(world, world.apply(CONFIG_MAPS, {"data": {"x": "2"}}))
    return code, reason, said


async def _forced(world: World) -> object:
    await world.apply(CONFIG_MAPS, {"data": {"x": "1", "y": "1"}})
    content = await world.apply(CONFIG_MAPS, {"data": {"x": "2"}}, "other", force=True)
    return content["data"], owners(content)


async def _dropped(world: World) -> object:
    await world.apply(CONFIG_MAPS, {"data": {"x": "1", "y": "1", "z": "1"}})
    await world.apply(CONFIG_MAPS, {"data": {"y": "1"}}, "other")
    await world.merge(CONFIG_MAPS, {"data": {"z": "2", "w": "2"}})
    content = await world.apply(CONFIG_MAPS, {"data": {"x": "1"}})
    return content["data"], owners(content)


async def _update_takes(world: World) -> object:
    await world.apply(CONFIG_MAPS, {"data": {"x": "1", "y": "1"}})
    content = await world.merge(CONFIG_MAPS, {"data": {"x": "2"}})
    return owners(content)


async def _versioned_apply(world: World) -> object:
    about = (await world.create(CONFIG_MAPS))["metadata"]
    await world.merge(CONFIG_MAPS, {"data": {"x": "2"}})
    stale = {"metadata": {"resourceVersion": about["resourceVersion"]}, "data": {"y": "2"}}
    refused = [await refusal(world, world.apply(CONFIG_MAPS, stale, force=True))]
    refused.append(await refusal(world, world.apply(CONFIG_MAPS, {"metadata": {"uid": "u"}, "data": {"y": "2"}})))
    version = (await world.get(CONFIG_MAPS))["metadata"]["resourceVersion"]
    fresh = {"metadata": {"resourceVersion": version, "uid": about["uid"]}, "data": {"y": "2"}}
    return refused, (await world.apply(CONFIG_MAPS, fresh))["data"]


async def _apply_to_nothing(world: World) -> object:
    meant = ({"uid": "u"}, {"resourceVersion": "7", "uid": "u"}, {"resourceVersion": "7"})
    return [
        await refusal(world, world.apply(each, {**made(each, "a"), "metadata": about}))
        for about in meant
        for each in (CONFIG_MAPS, MODEL_DEPLOYMENTS)
    ]


async def _other_uid(world: World) -> object:
    outcomes = []
    for each in (CONFIG_MAPS, MODEL_DEPLOYMENTS):
        there = await world.create(each)
        other = {**there, "metadata": {**there["metadata"], "uid": "other"}}
        outcomes.append(await refusal(world, world.merge(each, {"metadata": {"uid": "other"}})))
        outcomes.append(await refusal(world, world.api.replace(world.path(each), other)))
    path = world.path(MODEL_DEPLOYMENTS, subresource="status")
    return [*outcomes, await refusal(world, world.api.merge(path, {"metadata": {"uid": "other"}, "status": {}}))]


async def _deleted_model(world: World) -> object:
    """Play what a status meets when its object went, or was made anew meanwhile."""
    old = (await world.create(MODEL_DEPLOYMENTS))["metadata"]
    await world.api.delete(world.path(MODEL_DEPLOYMENTS))
    about = {"resourceVersion": old["resourceVersion"], "uid": old["uid"]}
    said = {"metadata": about, "status": {"model": "m"}}
    outcomes = [await refusal(world, world.apply(MODEL_DEPLOYMENTS, said, subresource="status", force=True))]
    await world.create(MODEL_DEPLOYMENTS)
    for fields in (about, {"uid": old["uid"]}, {"resourceVersion": old["resourceVersion"]}):
        again = {"metadata": fields, "status": {"model": "m"}}
        outcomes.append(await refusal(world, world.apply(MODEL_DEPLOYMENTS, again, subresource="status", force=True)))
    return outcomes


async def _stale_status(world: World) -> object:
    old = (await world.create(MODEL_DEPLOYMENTS))["metadata"]["resourceVersion"]
    await world.merge(MODEL_DEPLOYMENTS, {"metadata": {"labels": {"a": "b"}}})
    said = {"metadata": {"resourceVersion": old}, "status": {"model": "m"}}
    return await refusal(world, world.apply(MODEL_DEPLOYMENTS, said, subresource="status", force=True))


async def _ports(world: World) -> object:
    await world.apply(SERVICES, {"spec": {"selector": {"app": "a"}, "ports": [{"port": 80, "name": "a"}]}})
    await world.apply(SERVICES, {"spec": {"ports": [{"port": 81, "name": "b"}]}}, "other")
    both = (await world.get(SERVICES))["spec"]["ports"]
    changed = await world.apply(
        SERVICES, {"spec": {"selector": {"app": "a"}, "ports": [{"port": 82, "name": "a"}]}}, force=True
    )
    return _numbers(both), _numbers(changed["spec"]["ports"])


def _numbers(ports: Iterable[Json]) -> list[int]:
    return sorted(each["port"] for each in ports)


async def _selector(world: World) -> object:
    await world.apply(SERVICES, {"spec": {"selector": {"app": "a"}, "ports": [{"port": 80}]}})
    refused = await refusal(world, world.apply(SERVICES, {"spec": {"selector": {"b": "b"}}}, "other"))
    content = await world.apply(SERVICES, {"spec": {"selector": {"b": "b"}}}, "other", force=True)
    return refused, content["spec"]["selector"]


async def _conditions(world: World) -> object:
    await world.create(MODEL_DEPLOYMENTS)

    def said(*kinds: str, status: str = "True") -> Json:
        rest = {"status": status, "reason": "R", "message": "m"}
        return {"status": {"conditions": [{"type": kind, **rest} for kind in kinds]}}

    async def put(content: Json, manager: str) -> Json:
        return await world.apply(MODEL_DEPLOYMENTS, content, manager, force=True, subresource="status")

    await put(said("A", "B"), "me")
    await put(said("C"), "other")
    refused = await refusal(
        world, world.apply(MODEL_DEPLOYMENTS, said("A", status="False"), "other", subresource="status")
    )
    content = await put(said("B", status="False"), "me")
    found = {each["type"]: each["status"] for each in content["status"]["conditions"]}
    return found, owners(content)[1:], refused


async def _finalizers(world: World) -> object:
    await world.create(MODEL_DEPLOYMENTS, metadata={"finalizers": ["user.com/a"]})
    await world.apply(MODEL_DEPLOYMENTS, {"metadata": {"finalizers": ["me.com/b"]}})
    both = (await world.get(MODEL_DEPLOYMENTS))["metadata"]["finalizers"]
    mine_gone = (await world.apply(MODEL_DEPLOYMENTS, {"metadata": {}}))["metadata"]["finalizers"]
    await _let_go(world, MODEL_DEPLOYMENTS)
    return sorted(both), mine_gone


async def _applied_status_elsewhere(world: World) -> object:
    content = {"status": {"model": "m"}}
    return await refusal(world, world.apply(MODEL_DEPLOYMENTS, content, subresource="status"))


async def _applied_deployment_again(world: World) -> object:
    container = {
        **_CONTAINER,
        "ports": [{"name": "http", "containerPort": 80}],
        "resources": {"limits": {"memory": "1Gi"}},
    }
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [container], "imagePullSecrets": []}}
    content = {"spec": {**_GOOD[DEPLOYMENTS]["spec"], "paused": True, "template": template}}
    versions = [(await world.apply(DEPLOYMENTS, content))["metadata"]["generation"] for _ in range(3)]
    less = {**content, "spec": {**content["spec"], "template": {**template, "spec": {"containers": [_CONTAINER]}}}}
    left = (await world.apply(DEPLOYMENTS, less))["spec"]["template"]["spec"]["containers"][0]
    return versions, left.get("ports"), left["resources"]


# kubectl.


async def _applied_by_kubectl(world: World) -> object:
    """Play a Service that another changes between two times that its user applies it."""
    service = made(SERVICES, "a", metadata={"labels": {"l": "1", "m": "1"}})
    await world.kubectl_apply(service)
    change = {"selector": {"app": "other", "more": "1"}}
    await world.merge(SERVICES, {"spec": change, "metadata": {"annotations": {"note": "1"}}})
    less = made(SERVICES, "a", metadata={"labels": {"l": "2"}})
    await world.kubectl_apply(less)
    content = await world.get(SERVICES)
    about = content["metadata"]
    again = about["resourceVersion"]
    await world.kubectl_apply(less)
    later = (await world.get(SERVICES))["metadata"]["resourceVersion"]
    return content["spec"]["selector"], about["labels"], about["annotations"].get("note"), again == later


async def _ports_by_kubectl(world: World) -> object:
    ports = [{"name": "a", "port": 80}, {"name": "b", "port": 81}]
    await world.kubectl_apply(made(SERVICES, "a", spec={"selector": {"app": "a"}, "ports": ports}))
    await world.kubectl_apply(made(SERVICES, "a", spec={"ports": ports[1:]}))
    spec = (await world.get(SERVICES))["spec"]
    return _numbers(spec["ports"]), spec.get("selector")


async def _model_by_kubectl(world: World) -> object:
    model = made(MODEL_DEPLOYMENTS, "a")
    await world.kubectl_apply({**model, "spec": {**model["spec"], "gateway": {"replicas": 3}}})
    await world.merge(MODEL_DEPLOYMENTS, {"metadata": {"finalizers": ["example.com/a"]}})
    await world.merge(MODEL_DEPLOYMENTS, {"status": {"model": "m"}}, "status")
    await world.kubectl_apply(model)
    content = await world.get(MODEL_DEPLOYMENTS)
    await _let_go(world, MODEL_DEPLOYMENTS)
    return content["spec"].get("gateway"), content["metadata"]["finalizers"], content["status"]["model"]


# Lists and watches.


async def _said_once(world: World) -> object:
    found = {}
    for each in (CONFIG_MAPS, SERVICES, DEPLOYMENTS, MODEL_DEPLOYMENTS):
        single = await world.create(each)
        listed = await world.api.get(each.collection(world.namespace))
        item = next(item for item in listed["items"] if item["metadata"]["name"] == "a")
        found[each.kind] = (listed["kind"], sorted(_SAID & item.keys()), sorted(_SAID & single.keys()))
    return found


_SAID = {"apiVersion", "kind"}


async def _pages(world: World) -> object:
    for name in "abcde":
        await world.create(CONFIG_MAPS, name, metadata={"labels": {"l": "1"}})
    query = [("limit", "2"), ("labelSelector", "l=1")]
    pages, versions, following = [], set(), ""
    while True:
        page = await world.api.get(
            CONFIG_MAPS.collection(world.namespace), [*query, *([("continue", following)] if following else [])]
        )
        pages.append([each["metadata"]["name"] for each in page["items"]])
        versions.add(page["metadata"]["resourceVersion"])
        following = page["metadata"].get("continue", "")
        await world.create(CONFIG_MAPS, f"x{len(pages)}", metadata={"labels": {"l": "1"}})
        if not following:
            return pages, len(versions)


async def _left(world: World) -> object:
    for name in "abcd":
        await world.create(LEASES, name)
    page = await world.api.get(LEASES.collection(world.namespace), [("limit", "3")])
    return page["metadata"].get("remainingItemCount"), bool(page["metadata"].get("continue"))


async def _bad_continue(world: World) -> object:
    asked = world.api.get(CONFIG_MAPS.collection(world.namespace), [("limit", "2"), ("continue", "nonsense")])
    return (await refusal(world, asked))[:2]


async def _selectors(world: World) -> object:
    for name, labels in {"a": {"l": "1", "m": "1"}, "b": {"l": "2"}, "c": {}}.items():
        await world.create(LEASES, name, metadata={"labels": labels})
    asked = [("labelSelector", each) for each in ("l", "!l", "l=1", "l!=1", "l in (1, 2),m", "l notin (1)", "l==2")]
    asked += [("fieldSelector", each) for each in ("metadata.name=b", "metadata.name!=b")]
    found = {}
    for name, text in asked:
        listed = await world.api.get(LEASES.collection(world.namespace), [(name, text)])
        found[text] = "".join(each["metadata"]["name"] for each in listed["items"])
    return found


async def _events(world: World, resource: Resource, *query: tuple[str, str], count: int) -> list[tuple[str, Json]]:
    """Give the next events of a watch."""
    events: list[tuple[str, Json]] = []
    whole = [("watch", "true"), ("timeoutSeconds", "20"), *query]
    async with world.api.stream(resource.collection(world.namespace), whole, silence=30) as lines:
        async for event in _parsed(lines):
            events.append(event)
            if len(events) == count:
                break
    return events


async def _parsed(lines: AsyncIterator[str]) -> AsyncIterator[tuple[str, Json]]:
    async for line in lines:
        event = json.loads(line)
        yield event["type"], event["object"]


async def _watched(world: World) -> object:
    started = (await world.api.get(LEASES.collection(world.namespace)))["metadata"]["resourceVersion"]
    await world.create(LEASES, metadata={"labels": {"l": "1"}})
    await world.merge(LEASES, {"spec": {"holderIdentity": "b"}})
    await world.merge(LEASES, {"spec": {"holderIdentity": "b"}})
    out = await world.merge(LEASES, {"metadata": {"labels": {"l": "2"}}})
    await world.merge(LEASES, {"spec": {"holderIdentity": "c"}})
    await world.merge(LEASES, {"metadata": {"labels": {"l": "1"}}})
    await world.api.delete(world.path(LEASES))
    query = (("resourceVersion", started), ("labelSelector", "l=1"))
    events = await _events(world, LEASES, *query, count=5)
    versions = [int(each["metadata"]["resourceVersion"]) for _, each in events]
    left = events[2][1]
    return (
        [(kind, each["kind"], each["spec"]["holderIdentity"]) for kind, each in events],
        versions == sorted(set(versions)),
        left["metadata"]["resourceVersion"] == out["metadata"]["resourceVersion"],
        left["metadata"]["labels"],
    )


async def _watched_from_now(world: World) -> object:
    await world.create(LEASES)
    events = await _events(world, LEASES, count=1)
    return [(kind, each["metadata"]["name"]) for kind, each in events]


async def _expired(world: World) -> object:
    ((kind, status),) = await _events(world, CONFIG_MAPS, ("resourceVersion", "1"), count=1)
    said = re.sub(r"\d+", "#", status["message"])
    return kind, status["code"], status["reason"], said


async def _ends(world: World) -> object:
    version = (await world.api.get(LEASES.collection(world.namespace)))["metadata"]["resourceVersion"]
    query = [("watch", "true"), ("timeoutSeconds", "1"), ("resourceVersion", version)]
    async with world.api.stream(LEASES.collection(world.namespace), query, silence=30) as lines:
        return [line async for line in lines]


_INVALID = (422, "Invalid")
_MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"
_WELL = (0, "", "not refused")
_MODEL = "ModelDeployment.deployment.beamlit.com"
_MODELS = "modeldeployments.deployment.beamlit.com"
_UID_STAYS = 'metadata.uid: Invalid value: "other": field is immutable'
_NOTHING_THERE = "uid mismatch: the provided object specified uid u, and no existing object was found"
_UNCHECKED = (
    "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)


def _other_stored(where: str) -> str:
    said = f"StorageError: invalid object, Code: 4, Key: /registry/{where}/NAMESPACE/a, ResourceVersion: 0, "
    return f"{said}AdditionalErrorMsg: Precondition failed: UID in precondition: other, UID in object meta: #"


def _limited(why: str) -> tuple[int, str, str]:
    return 422, "Invalid", f'{_MODEL} "a" is invalid: {f"[{why}]" if _UNCHECKED in why or "," in why else why}'


def _condition_fields(kind: str) -> str:
    item = f'/f:status/f:conditions/k:{{"type":"{kind}"}}'
    return json.dumps([f"{item}/f:{name}" for name in ("message", "reason", "status", "type")])


_REFUSED = "Operation cannot be fulfilled on"
_OTHER_UID = "in the precondition (other) does not match the UID in record (#). The object might have been deleted and then recreated"
_OTHER_VERSION = (
    "in the precondition (1) does not match the ResourceVersion in record (#). The object might have been modified"
)
TABLE = (
    Play(
        "what is not there is not found",
        _absent,
        [
            (404, "NotFound", 'configmaps "a" not found'),
            (404, "NotFound", 'deployments.apps "a" not found'),
            (404, "NotFound", 'modeldeployments.deployment.beamlit.com "a" not found'),
        ],
    ),
    Play(
        "a kind that is not served is not found",
        _unknown,
        (404, "NotFound", "the server could not find the requested resource"),
    ),
    Play(
        "what is there is not created again",
        _twice,
        (409, "AlreadyExists", 'deployments.apps "a" already exists'),
    ),
    Play("nothing is created in no namespace", _nowhere, (404, "NotFound", 'namespaces "nowhere" not found')),
    Play("what is created has no version yet", _versioned_create, gives=True),
    Play("a name can be generated", _generated_name, gives=True),
    Play(
        "a new object has the metadata of its kind",
        _new_metadata,
        {
            "configmaps": _META,
            "services": _META,
            "deployments": _COUNTED,
            "modeldeployments": _COUNTED,
            "leases": _META,
        },
    ),
    Play(
        "an older version is not put in place of a newer one",
        _stale_replace,
        (409, "Conflict", f'Operation cannot be fulfilled on configmaps "a": {_MODIFIED}'),
    ),
    Play(
        "some kinds are replaced only with their version",
        _unversioned_replace,
        [("ConfigMap", 0, ""), ("Deployment", 0, ""), ("Lease", *_INVALID), ("ModelDeployment", *_INVALID)],
    ),
    Play("null removes in a merge", _null_merge, {"y": "2", "z": "3"}),
    Play(
        "a merge over an older version is refused",
        _stale_merge,
        (409, "Conflict", f'Operation cannot be fulfilled on configmaps "a": {_MODIFIED}'),
    ),
    Play(
        "nothing is written over another object",
        _other_uid,
        [
            (422, "Invalid", f'ConfigMap "a" is invalid: {_UID_STAYS}'),
            (409, "Conflict", f'{_REFUSED} configmaps "a": {_other_stored("configmaps")}'),
            (422, "Invalid", f'{_MODEL} "a" is invalid: {_UID_STAYS}'),
            (409, "Conflict", f'{_REFUSED} {_MODELS} "a": {_other_stored("deployment.beamlit.com/modeldeployments")}'),
            _WELL,
        ],
    ),
    Play("what changes nothing has no new version", _no_change, {True}),
    Play("a JSON patch is carried out in order", _patch, ({"x": "3", "new": "4", "absent": "5"}, {"c": "3"})),
    Play("a JSON patch is carried out in whole or not at all", _bad_patches, ([_INVALID] * 5, {"x": "1"})),
    Play(
        "only the object that is meant is deleted",
        _preconditions,
        (
            [
                (409, "Conflict", f'{_REFUSED} ConfigMap "a": the UID {_OTHER_UID}'),
                (409, "Conflict", f'{_REFUSED} ConfigMap "a": the ResourceVersion {_OTHER_VERSION}'),
            ],
            404,
        ),
    ),
    Play(
        "a deletion is answered with a status, by some kinds with the object",
        _deleted_answers,
        [("Status", "Success"), ("Service", ""), ("Status", "Success"), ("Status", "Success")],
    ),
    Play(
        "a finalizer keeps what is deleted",
        _finalized,
        [
            {
                "deletionTimestamp": True,
                "seconds": 0,
                "generations": generations,
                "again": True,
                "refused": (
                    422,
                    "Invalid",
                    (
                        f'{kind} "a" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the '
                        'object is being deleted, found new finalizers []string{"b.com/b"}'
                    ),
                ),
                "label": {"a": "b"},
                "last": None,
                "gone": 404,
            }
            for kind, generations in (
                ("ConfigMap", (None, None)),
                ("ModelDeployment.deployment.beamlit.com", (1, 2)),
            )
        ],
    ),
    Play(
        "nothing is created in a namespace that ends",
        _terminating,
        (
            "Terminating",
            [
                (
                    403,
                    "Forbidden",
                    f"{name} is forbidden: unable to create new content in namespace NAMESPACE because it is being terminated",
                )
                for name in ('configmaps "b"', 'deployments.apps "a"')
            ],
        ),
    ),
    Play("the generation counts what the author decides", _generations, [[1, 1, 1, 2, 2]] * 2),
    Play(
        "status is written only by its own path",
        _paths_of_status,
        [None, None, ({"model": "status", "observedGeneration": 0}, True, None), 1],
    ),
    Play("the status of a Deployment is written alone", _status_of_deployment, (0, None, 1)),
    Play(
        "scale is read and written",
        _scale,
        [("Scale", {}, {"replicas": 0, "selector": "app=a"})] * 2,
    ),
    Play(
        "a status keeps to its limits",
        _status_limits,
        [
            _limited(f"status.model: Too long: may not be more than # bytes, {_UNCHECKED}"),
            _limited(
                'status.conditions[0].status: Unsupported value: "Perhaps": '
                f'supported values: "True", "False", "Unknown", {_UNCHECKED}'
            ),
            _limited(f"status.conditions[0].message: Too long: may not be more than # bytes, {_UNCHECKED}"),
            _limited(
                "status.conditions[0].status: Required value, status.conditions[0].reason: Required value, "
                f"status.conditions[0].message: Required value, {_UNCHECKED}"
            ),
            _limited(
                "status.observedGeneration: Invalid value: -1: observedGeneration in body should be greater than or equal to 0"
            ),
            _limited(
                'status.observedGeneration: Invalid value: "string": '
                f'observedGeneration in body must be of type integer: "string", {_UNCHECKED}'
            ),
            _limited(
                "status.offloading.percentage: Invalid value: #: "
                "offloading.percentage in body should be less than or equal to #"
            ),
            _limited(
                'status.offloading.since: Invalid value: "yesterday": '
                f'offloading.since in body must be of type date-time: "yesterday", {_UNCHECKED}'
            ),
            _limited('status.conditions[1]: Duplicate value: {"type":"Ready"}'),
        ],
    ),
    Play("an unknown field is dropped", _unknown_fields, {"model": "m", "observedGeneration": 0}),
    Play("a spec keeps to its limits", _bad_spec, [_INVALID] * 3),
    Play("a model has defaults", _model_defaults, (2, "Takeover", 100)),
    Play(
        "a Service has defaults",
        _service_defaults,
        {
            "internalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
            "selector": {"app": "a"},
            "sessionAffinity": "None",
            "type": "ClusterIP",
        },
    ),
    Play(
        "a Deployment has defaults",
        _deployment_defaults,
        {
            "progressDeadlineSeconds": 600,
            "replicas": 0,
            "revisionHistoryLimit": 10,
            "selector": {"matchLabels": {"app": "a"}},
            "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}, "type": "RollingUpdate"},
            "template": {
                "metadata": {"labels": {"app": "a"}},
                "spec": {
                    "containers": [
                        {
                            "image": "i",
                            "imagePullPolicy": "Always",
                            "name": "c",
                            "ports": [{"containerPort": 80, "protocol": "TCP"}],
                            "resources": {},
                            "terminationMessagePath": "/dev/termination-log",
                            "terminationMessagePolicy": "File",
                        }
                    ],
                    "dnsPolicy": "ClusterFirst",
                    "restartPolicy": "Always",
                    "schedulerName": "default-scheduler",
                    "securityContext": {},
                    "terminationGracePeriodSeconds": 30,
                },
            },
        },
    ),
    Play("a Deployment's selector stays", _immutable, _INVALID),
    Play("a Deployment selects its own pods", _selector_and_template, _INVALID),
    Play(
        "who applies owns what it applied",
        _applied_create,
        ([("me", "Apply", '["/f:data/f:x", "/f:metadata/f:labels/f:l"]')], False),
    ),
    Play(
        "who applies the same owns it as well",
        _applied_same,
        (True, False, [("me", "Apply", '["/f:data/f:x"]'), ("other", "Apply", '["/f:data/f:x"]')]),
    ),
    Play(
        "who applies another value collides",
        _collisions,
        (
            (409, "Conflict", 'Apply failed with 1 conflict: conflict with "me": .data.x'),
            (409, "Conflict", 'Apply failed with 2 conflicts: conflicts with "me":\n- .data.x\n- .data.y'),
            {"x": "1", "y": "1"},
        ),
    ),
    Play(
        "who applies collides with who updated",
        _collision_with_update,
        (409, "Conflict", 'Apply failed with 1 conflict: conflict with "beamlit-controller" using v1: .data.x'),
    ),
    Play(
        "who forces takes the field away",
        _forced,
        (
            {"x": "2", "y": "1"},
            [("me", "Apply", '["/f:data/f:y"]'), ("other", "Apply", '["/f:data/f:x"]')],
        ),
    ),
    Play(
        "what is not applied any more goes unless another owns it",
        _dropped,
        (
            {"x": "1", "y": "1", "z": "2", "w": "2"},
            [
                ("beamlit-controller", "Update", '["/f:data/f:w", "/f:data/f:z"]'),
                ("me", "Apply", '["/f:data/f:x"]'),
                ("other", "Apply", '["/f:data/f:y"]'),
            ],
        ),
    ),
    Play(
        "who updates takes what it changed",
        _update_takes,
        [("beamlit-controller", "Update", '["/f:data/f:x"]'), ("me", "Apply", '["/f:data/f:y"]')],
    ),
    Play(
        "an apply can ask for one version of one object",
        _versioned_apply,
        (
            [
                (409, "Conflict", f'{_REFUSED} configmaps "a": {_MODIFIED}'),
                (422, "Invalid", 'ConfigMap "a" is invalid: metadata.uid: Invalid value: "u": field is immutable'),
            ],
            {"x": "2", "y": "2"},
        ),
    ),
    Play(
        "an apply to nothing creates it unless it has a uid",
        _apply_to_nothing,
        [
            *((409, "Conflict", f'{_REFUSED} {name} "a": {_NOTHING_THERE}') for name in ("configmaps", _MODELS) * 2),
            _WELL,
            _WELL,
        ],
    ),
    Play(
        "a status is applied to the version that is meant, whatever uid it says",
        _deleted_model,
        [
            (404, "NotFound", f'{_MODELS} "a" not found'),
            (409, "Conflict", f'{_REFUSED} {_MODELS} "a": {_MODIFIED}'),
            _WELL,
            (409, "Conflict", f'{_REFUSED} {_MODELS} "a": {_MODIFIED}'),
        ],
    ),
    Play(
        "a status is applied only to the version that is meant",
        _stale_status,
        (409, "Conflict", f'{_REFUSED} {_MODELS} "a": {_MODIFIED}'),
    ),
    Play("ports are applied one by one", _ports, ([80, 81], [81, 82])),
    Play(
        "a selector is applied as a whole",
        _selector,
        (
            (409, "Conflict", 'Apply failed with 1 conflict: conflict with "me": .spec.selector'),
            {"b": "b"},
        ),
    ),
    Play(
        "conditions are applied one by one",
        _conditions,
        (
            {"B": "False", "C": "True"},
            [("me", "Apply", _condition_fields("B")), ("other", "Apply", _condition_fields("C"))],
            (
                409,
                "Conflict",
                (
                    'Apply failed with 1 conflict: conflict with "me" with subresource "status": '
                    '.status.conditions[type="A"].status'
                ),
            ),
        ),
    ),
    Play("finalizers are applied one by one", _finalizers, (["me.com/b", "user.com/a"], ["user.com/a"])),
    Play(
        "a status is not applied where there is no object",
        _applied_status_elsewhere,
        (404, "NotFound", 'modeldeployments.deployment.beamlit.com "a" not found'),
    ),
    Play("a Deployment is applied again without a change", _applied_deployment_again, ([1, 1, 1], None, {})),
    Play(
        "kubectl apply changes what its user wrote, and leaves what others added",
        _applied_by_kubectl,
        ({"app": "a", "more": "1"}, {"l": "2"}, "1", True),
    ),
    Play("kubectl apply removes what its user wrote before", _ports_by_kubectl, ([81], None)),
    Play(
        "kubectl apply of a model leaves its finalizers and its status",
        _model_by_kubectl,
        (None, ["example.com/a"], "m"),
    ),
    Play(
        "items of the kinds that are built in don't say what they are",
        _said_once,
        {
            "ConfigMap": ("ConfigMapList", [], ["apiVersion", "kind"]),
            "Service": ("ServiceList", [], ["apiVersion", "kind"]),
            "Deployment": ("DeploymentList", [], ["apiVersion", "kind"]),
            "ModelDeployment": ("ModelDeploymentList", ["apiVersion", "kind"], ["apiVersion", "kind"]),
        },
    ),
    Play("a list in chunks is of one version", _pages, ([["a", "b"], ["c", "d"], ["e"]], 1)),
    Play("a chunk says how many are left", _left, (1, True)),
    Play("a continuation that is none is refused", _bad_continue, (400, "BadRequest")),
    Play(
        "selectors select",
        _selectors,
        {
            "l": "ab",
            "!l": "c",
            "l=1": "a",
            "l!=1": "bc",
            "l in (1, 2),m": "a",
            "l notin (1)": "bc",
            "l==2": "b",
            "metadata.name=b": "b",
            "metadata.name!=b": "ac",
        },
    ),
    Play(
        "a watch tells what came, changed, left and went",
        _watched,
        (
            [
                ("ADDED", "Lease", "a"),
                ("MODIFIED", "Lease", "b"),
                ("DELETED", "Lease", "b"),
                ("ADDED", "Lease", "c"),
                ("DELETED", "Lease", "c"),
            ],
            True,
            True,
            {"l": "1"},
        ),
    ),
    Play("a watch of no version tells first what is there", _watched_from_now, [("ADDED", "a")]),
    Play("a watch ends when its time is up", _ends, []),
)
EXPIRED = Play(
    "a watch from a forgotten version says so",
    _expired,
    ("ERROR", 410, "Expired", "too old resource version: # (#)"),
)
