"""The scale subresource of a model's workload: its number of replicas, and the selector of its pods.

The workload is `modelSourceRef`, anything with a scale subresource. Without it, the pods are those behind the model's
Service.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from beamlit_controller.core.metric_spec import ObjectReference
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing, Scale
from beamlit_controller.core.spec import ModelKey, OffloadSpec
from beamlit_controller.kubernetes import failures, fields, pod_selector
from beamlit_controller.kubernetes.api_server import ApiError, ApiServer
from beamlit_controller.kubernetes.discovery import Discovery, Kind
from beamlit_controller.kubernetes.pod_selector import PodSelector
from beamlit_controller.kubernetes.services import Service

Json = dict[str, Any]

FRESH_SECONDS = 0.8
"""How long a response is reused: for all metrics of a round, but not for the next round."""
FORGOTTEN_SECONDS = 600.0
SOURCE = "spec.modelSourceRef"


@dataclass(frozen=True, slots=True)
class Workload:
    """The selector of a model's pods, and its replicas if there is a scale subresource."""

    pods: PodSelector
    scale: Scale | None


class Workloads:
    """Finds a model's workload: the scale of its `modelSourceRef`, otherwise the pods behind its Service."""

    def __init__(self, server: ApiServer, discovery: Discovery, service: Callable[[str, str], Service | None]) -> None:
        self._server = server
        self._discovery = discovery
        self._service = service
        self._read: dict[ModelKey, tuple[float, ObjectReference, Workload | Missing]] = {}
        self._turns: dict[ModelKey, asyncio.Lock] = {}

    async def of(self, spec: OffloadSpec) -> Workload | Missing:
        """Return a model's workload; if it can't be read, Missing with what to do."""
        if spec.source is None:
            return self._behind_service(spec)
        now = asyncio.get_running_loop().time()
        if spec.key not in self._turns:
            self._forget_before(now - FORGOTTEN_SECONDS)
        async with self._turns.setdefault(spec.key, asyncio.Lock()):
            now = asyncio.get_running_loop().time()
            kept = self._read.get(spec.key)
            if kept is not None and now - kept[0] < FRESH_SECONDS and kept[1] == spec.source:
                return kept[2]
            found = await self._scaled(spec.key.namespace, spec.source)
            self._read[spec.key] = (asyncio.get_running_loop().time(), spec.source, found)
            return found

    def _forget_before(self, when: float) -> None:
        """Drop cached responses of models that are not read any more."""
        for key, (at, _, _) in tuple(self._read.items()):
            if at < when and not self._turns[key].locked():
                del self._read[key], self._turns[key]

    def _behind_service(self, spec: OffloadSpec) -> Workload | Missing:
        service = self._service(spec.key.namespace, spec.service.name) if spec.service else None
        if service is None or not service.selector:
            return Missing(
                Reason.NO_WORKLOAD,
                f"{SOURCE}: expected the workload that serves the model, or a Service with a selector",
            )
        return Workload(pod_selector.of_labels(service.selector), None)

    async def _scaled(self, namespace: str, source: ObjectReference) -> Workload | Missing:
        try:
            kind = await self._discovery.kind(source.api_version, source.kind, exactly=True)
            if isinstance(kind, Missing):
                return Missing(kind.reason, f"{SOURCE}: {kind.message}")
            answer = await self._server.get(path(kind, namespace, source.name))
        except ApiError as error:
            return _failure(error, source, namespace)
        return read(answer, source)


def path(kind: Kind, namespace: str, name: str) -> str:
    """Return the path of the scale subresource."""
    return f"{kind.root}/namespaces/{quote(namespace, safe='')}/{kind.plural}/{quote(name, safe='')}/scale"


def read(answer: Json, source: ObjectReference) -> Workload | Missing:
    """Parse a Scale (autoscaling/v1)."""
    status, wanted = fields.mapping(answer.get("status")), fields.mapping(answer.get("spec"))
    text = status.get("selector")
    which = f"{source.kind} {source.name}"
    if not isinstance(text, str) or not text.strip():
        return Missing(
            Reason.INVALID_SELECTOR, f"{SOURCE}: the scale of {which} has no selector, so its pods can't be found"
        )
    try:
        pods = pod_selector.parse(text)
    except ValueError as error:
        return Missing(
            Reason.INVALID_SELECTOR, f"{SOURCE}: the scale of {which} has a selector that can't be read: {error}"
        )
    return Workload(pods, Scale(*(max(0, fields.whole(each.get("replicas"))) for each in (wanted, status))))


def _failure(error: ApiError, source: ObjectReference, namespace: str) -> Missing:
    if error.code == 404:  # noqa: PLR2004 - Not Found
        group = source.api_version.rpartition("/")[0]
        message = (
            f"{SOURCE}: there is no {source.kind} {namespace}/{source.name} with a scale in {group or 'the core group'}"
        )
        return Missing(Reason.NO_WORKLOAD, message)
    return failures.missing(error, doing=f"{SOURCE}: reading the scale of {source.kind} {namespace}/{source.name}")
