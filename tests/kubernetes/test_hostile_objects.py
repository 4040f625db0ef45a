"""Whatever stands in an object of any watched kind, it costs that object alone."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import thorough
from beamlit_controller.api import translate
from beamlit_controller.api.settings import Settings
from beamlit_controller.core.metric_spec import Selector
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.kubernetes import autoscalers, managed_objects, models, paths, pods, services
from beamlit_controller.kubernetes.api_server import Json, Query
from beamlit_controller.kubernetes.autoscalers import Autoscalers
from beamlit_controller.kubernetes.list_chunks import Collection
from beamlit_controller.kubernetes.managed_objects import ManagedObjects
from beamlit_controller.kubernetes.models import Models
from beamlit_controller.kubernetes.paths import Resource
from beamlit_controller.kubernetes.pods import Pods
from beamlit_controller.kubernetes.reflector import Reflector
from beamlit_controller.kubernetes.services import Services
from strategies import hostile
from strategies.templates import TEMPLATES

Changed = Callable[[tuple[str, str], Any], None]


@dataclass(frozen=True)
class Watched:
    """A watch of the controller: its kind, what is kept of an object, and who is told."""

    resource: Resource
    keep: Callable[[Json], Any]
    told: Callable[[], Changed]

    @property
    def kind(self) -> str:
        return self.resource.kind


def _ours(resource: Resource) -> Watched:
    return Watched(resource, managed_objects.parse(resource), lambda: ManagedObjects(lambda _: None).changed(resource))


WATCHES = {
    "models": Watched(
        paths.MODEL_DEPLOYMENTS,
        models.stored,
        lambda: Models(partial(translate.read, settings=Settings())).changed,
    ),
    "services": Watched(paths.SERVICES, services.parse, lambda: Services(lambda _namespace, _name: None).changed),
    "pods": Watched(paths.PODS, pods.parse, lambda: Pods().changed),
    "gateways": Watched(paths.PODS, managed_objects.parse_pod, lambda: ManagedObjects(lambda _: None).pod_changed),
    "autoscalers": Watched(paths.HORIZONTAL_POD_AUTOSCALERS, autoscalers.target, lambda: Autoscalers().changed),
    "our services": _ours(paths.SERVICES),
    "our deployments": _ours(paths.DEPLOYMENTS),
    "our config maps": _ours(paths.CONFIG_MAPS),
    "our budgets": _ours(paths.POD_DISRUPTION_BUDGETS),
    "our network policies": _ours(paths.NETWORK_POLICIES),
}
TOTAL = ["services", "pods", "gateways", "autoscalers"]
"""Those whose parser never raises."""

EXAMPLES = settings(
    max_examples=thorough.examples(40), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.mark.parametrize("which", TOTAL)
@EXAMPLES
@given(data=st.data())
def test_no_parser_of_what_anybody_may_write_raises_and_what_it_gives_can_be_kept(
    which: str, data: st.DataObject
) -> None:
    watched = WATCHES[which]
    content = data.draw(hostile.objects(watched.kind))
    changed = watched.told()

    kept = watched.keep(content if isinstance(content, dict) else {})
    changed(("evil", "llama"), kept)
    changed(("evil", "llama"), None)

    assert kept is None or hash(kept) is not None


@dataclass
class Scripted:
    """Lists some objects, then tells some lines, then is silent."""

    listed: list[Any]
    lines: list[str]
    asked: list[Query] = field(default_factory=list)

    async def get(self, path: str, query: Query = (), *, most: int, metadata_only: bool) -> Json:
        self.asked.append(query)
        return {"metadata": {"resourceVersion": "5"}, "items": self.listed}

    @asynccontextmanager
    async def stream(
        self, path: str, query: Query, *, silence: float, metadata_only: bool
    ) -> AsyncIterator[AsyncIterator[str]]:
        yield self._told()

    async def _told(self) -> AsyncIterator[str]:
        for line in self.lines:
            yield line
        await asyncio.Event().wait()


def good(kind: str, name: str, version: int) -> Json:
    template = TEMPLATES[kind]
    about = {**template["metadata"], "namespace": "good", "name": name, "resourceVersion": str(version), "uid": name}
    return {**template, "metadata": about}


@pytest.mark.parametrize("which", WATCHES)
@EXAMPLES
@given(data=st.data())
def test_every_watch_keeps_the_objects_of_others_whatever_stands_in_one(which: str, data: st.DataObject) -> None:
    watched = WATCHES[which]
    kind = watched.kind
    odd = data.draw(st.lists(hostile.objects(kind) | hostile.VALUES, max_size=3))
    lines = data.draw(st.lists(hostile.lines(kind), max_size=3))
    last = json.dumps({"type": "ADDED", "object": good(kind, "late", 100)})
    server = Scripted([*odd, good(kind, "early", 1)], [*lines, last])

    async def scenario() -> set[tuple[str, str]]:
        collection = Collection(watched.resource.collection())
        reflector = Reflector(server, collection, keep=watched.keep, changed=watched.told())
        task = asyncio.ensure_future(reflector.run())
        async with asyncio.timeout(20):
            while ("good", "late") not in reflector.items:
                await reflector.changes.changed_from(reflector.changes.value)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return set(reflector.items)

    items = asyncio.run(scenario())

    assert {("good", "early"), ("good", "late")} <= items
    assert len(server.asked) == 1


def test_the_keys_of_good_objects_are_found_again() -> None:
    kept = Pods()
    kept.changed(("good", "late"), pods.parse(good("Pod", "late", 1)))

    assert [each.pod.name for each in kept.known("good", Selector((("app", "llama"),)))] == ["late"]
    assert managed_objects.parse_pod(good("Pod", "late", 1)).key == ModelKey("good", "llama")
