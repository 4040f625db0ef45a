"""Lists in chunks, selectors, watches."""

import json
import re
from collections.abc import AsyncIterator

from beamlit_controller.kubernetes.api_server import Json
from beamlit_controller.kubernetes.paths import CONFIG_MAPS, DEPLOYMENTS, LEASES, MODEL_DEPLOYMENTS, SERVICES, Resource
from fakes.semantics.world import (
    Play,
    World,
    refusal,
)


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
    """Return the next events of a watch."""
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


async def _metadata_only(world: World) -> object:
    await world.create(LEASES)
    listed = await _partial(world, LEASES.collection(world.namespace), "PartialObjectMetadataList")
    single = await _partial(world, world.path(LEASES), "PartialObjectMetadata")
    path = f"{LEASES.collection(world.namespace)}?watch=true&timeoutSeconds=1"
    event = await _partial(world, path, "PartialObjectMetadata")
    item = listed["items"][0]
    return [
        (each.get("kind"), each.get("apiVersion"), sorted(each)) for each in (listed, item, single, event["object"])
    ]


async def _partial(world: World, path: str, kind: str) -> Json:
    """Ask as the client will that needs no more than metadata, and give the answer or its first line."""
    client = world.api._client  # noqa: SLF001 - for another header
    accept = {"accept": f"application/json;as={kind};g=meta.k8s.io;v=v1"}
    request = client.build_request("GET", f"{world.api._base}{path}", headers=accept)  # noqa: SLF001 - the same
    answer = await client.send(request)
    given: Json = json.loads(answer.content.splitlines()[0])
    return given


async def _expired(world: World) -> object:
    ((kind, status),) = await _events(world, CONFIG_MAPS, ("resourceVersion", "1"), count=1)
    said = re.sub(r"\d+", "#", status["message"])
    return kind, status["code"], status["reason"], said


async def _ends(world: World) -> object:
    version = (await world.api.get(LEASES.collection(world.namespace)))["metadata"]["resourceVersion"]
    query = [("watch", "true"), ("timeoutSeconds", "1"), ("resourceVersion", version)]
    async with world.api.stream(LEASES.collection(world.namespace), query, silence=30) as lines:
        return [line async for line in lines]


TABLE = (
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
    Play(
        "metadata alone can be asked for",
        _metadata_only,
        [
            ("PartialObjectMetadataList", "meta.k8s.io/v1", ["apiVersion", "items", "kind", "metadata"]),
            *[("PartialObjectMetadata", "meta.k8s.io/v1", ["apiVersion", "kind", "metadata"])] * 3,
        ],
    ),
    Play("a watch ends when its time is up", _ends, []),
)
EXPIRED = Play(
    "a watch from a forgotten version says so",
    _expired,
    ("ERROR", 410, "Expired", "too old resource version: # (#)"),
)
