"""Server-side apply: who owns which field, what collides, what goes."""

import json

from beamlit_controller.kubernetes.api_server import Json
from beamlit_controller.kubernetes.paths import CONFIG_MAPS, DEPLOYMENTS, MODEL_DEPLOYMENTS, SERVICES
from fakes.semantics.world import (
    CONTAINER,
    GOOD,
    MODELS,
    MODIFIED,
    REFUSED,
    WELL,
    Play,
    World,
    let_go,
    made,
    port_numbers,
    refusal,
)

_NOTHING_THERE = "uid mismatch: the provided object specified uid u, and no existing object was found"


def owners(content: Json) -> list[tuple[str, str, str]]:
    """Return who owns fields of an object, and which."""
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


async def _ports(world: World) -> object:
    await world.apply(SERVICES, {"spec": {"selector": {"app": "a"}, "ports": [{"port": 80, "name": "a"}]}})
    await world.apply(SERVICES, {"spec": {"ports": [{"port": 81, "name": "b"}]}}, "other")
    both = (await world.get(SERVICES))["spec"]["ports"]
    changed = await world.apply(
        SERVICES, {"spec": {"selector": {"app": "a"}, "ports": [{"port": 82, "name": "a"}]}}, force=True
    )
    return port_numbers(both), port_numbers(changed["spec"]["ports"])


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
    await let_go(world, MODEL_DEPLOYMENTS)
    return sorted(both), mine_gone


async def _applied_deployment_again(world: World) -> object:
    container = {
        **CONTAINER,
        "ports": [{"name": "http", "containerPort": 80}],
        "resources": {"limits": {"memory": "1Gi"}},
    }
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [container], "imagePullSecrets": []}}
    content = {"spec": {**GOOD[DEPLOYMENTS]["spec"], "paused": True, "template": template}}
    versions = [(await world.apply(DEPLOYMENTS, content))["metadata"]["generation"] for _ in range(3)]
    less = {**content, "spec": {**content["spec"], "template": {**template, "spec": {"containers": [CONTAINER]}}}}
    left = (await world.apply(DEPLOYMENTS, less))["spec"]["template"]["spec"]["containers"][0]
    return versions, left.get("ports"), left["resources"]


def _condition_fields(kind: str) -> str:
    item = f'/f:status/f:conditions/k:{{"type":"{kind}"}}'
    return json.dumps([f"{item}/f:{name}" for name in ("message", "reason", "status", "type")])


TABLE = (
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
                (409, "Conflict", f'{REFUSED} configmaps "a": {MODIFIED}'),
                (422, "Invalid", 'ConfigMap "a" is invalid: metadata.uid: Invalid value: "u": field is immutable'),
            ],
            {"x": "2", "y": "2"},
        ),
    ),
    Play(
        "an apply to nothing creates it unless it has a uid",
        _apply_to_nothing,
        [
            *((409, "Conflict", f'{REFUSED} {name} "a": {_NOTHING_THERE}') for name in ("configmaps", MODELS) * 2),
            WELL,
            WELL,
        ],
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
    Play("a Deployment is applied again without a change", _applied_deployment_again, ([1, 1, 1], None, {})),
)
