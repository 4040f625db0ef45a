"""What is deleted, what waits, and a namespace that ends."""

from contextlib import suppress
from dataclasses import replace

from beamlit_controller.kubernetes.api_server import ApiError
from beamlit_controller.kubernetes.paths import CONFIG_MAPS, DEPLOYMENTS, MODEL_DEPLOYMENTS, SERVICES
from fakes.semantics.world import REFUSED, Play, World, let_go, made, refusal

_OTHER_UID = "in the precondition (other) does not match the UID in record (#). The object might have been deleted and then recreated"


_OTHER_VERSION = (
    "in the precondition (1) does not match the ResourceVersion in record (#). The object might have been modified"
)


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
        await let_go(inside)
    return phase, refused


TABLE = (
    Play(
        "only the object that is meant is deleted",
        _preconditions,
        (
            [
                (409, "Conflict", f'{REFUSED} ConfigMap "a": the UID {_OTHER_UID}'),
                (409, "Conflict", f'{REFUSED} ConfigMap "a": the ResourceVersion {_OTHER_VERSION}'),
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
)
