"""Objects as they are made, replaced and patched."""

import re
from dataclasses import replace

from beamlit_controller.kubernetes.paths import CONFIG_MAPS, DEPLOYMENTS, LEASES, MODEL_DEPLOYMENTS, SERVICES
from fakes.semantics.world import INVALID, MODEL, MODELS, MODIFIED, REFUSED, WELL, Play, World, let_go, made, refusal

_META = ["creationTimestamp", "managedFields", "name", "namespace", "resourceVersion", "uid"]


_COUNTED = sorted([*_META, "generation"])


_UID_STAYS = 'metadata.uid: Invalid value: "other": field is immutable'


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
    await let_go(world)
    return outcomes, data


async def _other_uid(world: World) -> object:
    outcomes = []
    for each in (CONFIG_MAPS, MODEL_DEPLOYMENTS):
        there = await world.create(each)
        other = {**there, "metadata": {**there["metadata"], "uid": "other"}}
        outcomes.append(await refusal(world, world.merge(each, {"metadata": {"uid": "other"}})))
        outcomes.append(await refusal(world, world.api.replace(world.path(each), other)))
    path = world.path(MODEL_DEPLOYMENTS, subresource="status")
    return [*outcomes, await refusal(world, world.api.merge(path, {"metadata": {"uid": "other"}, "status": {}}))]


def _other_stored(where: str) -> str:
    said = f"StorageError: invalid object, Code: 4, Key: /registry/{where}/NAMESPACE/a, ResourceVersion: 0, "
    return f"{said}AdditionalErrorMsg: Precondition failed: UID in precondition: other, UID in object meta: #"


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
        (409, "Conflict", f'Operation cannot be fulfilled on configmaps "a": {MODIFIED}'),
    ),
    Play(
        "some kinds are replaced only with their version",
        _unversioned_replace,
        [("ConfigMap", 0, ""), ("Deployment", 0, ""), ("Lease", *INVALID), ("ModelDeployment", *INVALID)],
    ),
    Play("null removes in a merge", _null_merge, {"y": "2", "z": "3"}),
    Play(
        "a merge over an older version is refused",
        _stale_merge,
        (409, "Conflict", f'Operation cannot be fulfilled on configmaps "a": {MODIFIED}'),
    ),
    Play(
        "nothing is written over another object",
        _other_uid,
        [
            (422, "Invalid", f'ConfigMap "a" is invalid: {_UID_STAYS}'),
            (409, "Conflict", f'{REFUSED} configmaps "a": {_other_stored("configmaps")}'),
            (422, "Invalid", f'{MODEL} "a" is invalid: {_UID_STAYS}'),
            (409, "Conflict", f'{REFUSED} {MODELS} "a": {_other_stored("deployment.beamlit.com/modeldeployments")}'),
            WELL,
        ],
    ),
    Play("what changes nothing has no new version", _no_change, {True}),
    Play("a JSON patch is carried out in order", _patch, ({"x": "3", "new": "4", "absent": "5"}, {"c": "3"})),
    Play("a JSON patch is carried out in whole or not at all", _bad_patches, ([INVALID] * 5, {"x": "1"})),
)
