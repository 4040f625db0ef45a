"""Generations, and what the paths of subresources write."""

from beamlit_controller.kubernetes.paths import DEPLOYMENTS, MODEL_DEPLOYMENTS
from fakes.semantics.world import GOOD, MODELS, MODIFIED, REFUSED, WELL, Play, World, refusal


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
    await world.create(DEPLOYMENTS, spec={**GOOD[DEPLOYMENTS]["spec"], "paused": True})
    change = {"status": {"observedGeneration": 1}, "spec": {"replicas": 3}, "metadata": {"labels": {"a": "b"}}}
    whole = await world.merge(DEPLOYMENTS, change, "status")
    return whole["spec"]["replicas"], whole["metadata"].get("labels"), whole["metadata"]["generation"]


async def _scale(world: World) -> object:
    await world.create(DEPLOYMENTS, spec={**GOOD[DEPLOYMENTS]["spec"], "paused": True})
    made_of = await world.merge(DEPLOYMENTS, {"spec": {"replicas": 0}}, "scale")
    read = await world.api.get(world.path(DEPLOYMENTS, subresource="scale"))
    return [(each["kind"], each["spec"], each["status"]) for each in (made_of, read)]


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


async def _applied_status_elsewhere(world: World) -> object:
    content = {"status": {"model": "m"}}
    return await refusal(world, world.apply(MODEL_DEPLOYMENTS, content, subresource="status"))


TABLE = (
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
        "a status is applied to the version that is meant, whatever uid it says",
        _deleted_model,
        [
            (404, "NotFound", f'{MODELS} "a" not found'),
            (409, "Conflict", f'{REFUSED} {MODELS} "a": {MODIFIED}'),
            WELL,
            (409, "Conflict", f'{REFUSED} {MODELS} "a": {MODIFIED}'),
        ],
    ),
    Play(
        "a status is applied only to the version that is meant",
        _stale_status,
        (409, "Conflict", f'{REFUSED} {MODELS} "a": {MODIFIED}'),
    ),
    Play(
        "a status is not applied where there is no object",
        _applied_status_elsewhere,
        (404, "NotFound", 'modeldeployments.deployment.beamlit.com "a" not found'),
    ),
)
