"""One Envoy per model: begun when a model appears, drained and ended when it goes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from beamlit_controller.controller.latest import Latest
from beamlit_controller.core import spec as specification
from beamlit_controller.core.remote_health import Attempts
from beamlit_controller.core.spec import ModelKey, OffloadSpec
from beamlit_controller.standalone.gateway import Gateway, Shape

log = structlog.get_logger()

ORPHANS_DRAIN = specification.Gateway().drain.total_seconds()


@dataclass(frozen=True, slots=True)
class Kept:
    """A gateway in work: where it reads its spec, and the task that keeps it."""

    gateway: Gateway
    specs: Latest[OffloadSpec]
    task: asyncio.Task[None]


class Gateways:
    """The gateways of all models, below one folder."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        self._folder = folder
        self._shape = shape
        self._kept: dict[ModelKey, Kept] = {}
        self._leaving: dict[ModelKey, asyncio.Task[None]] = {}
        self._hurry = asyncio.Event()

    async def run(self, specs: Callable[[], AsyncIterator[Mapping[ModelKey, OffloadSpec]]]) -> None:
        """Keep a gateway for every spec, until cancelled; the processes are left running then."""
        async with asyncio.TaskGroup() as group:
            async for wanted in specs():
                self._end_unwanted(group, wanted)
                for key, spec in wanted.items():
                    if key in self._kept:
                        self._kept[key].specs.set(spec)
                    else:
                        self._kept[key] = self._begin(group, spec)

    async def stop(self) -> None:
        """Drain and end every gateway."""
        async with asyncio.TaskGroup() as group:
            for kept in self._kept.values():
                drain = kept.specs.value.gateway.drain.total_seconds()
                group.create_task(kept.gateway.stop(drain=drain, hurry=self._hurry))
            for key in self._left_behind() - set(self._kept):
                gateway = Gateway(key, self._directory(key), self._shape)
                group.create_task(gateway.stop(drain=0, hurry=self._hurry))
        self._kept.clear()

    def hurry(self) -> None:
        """Stop waiting for requests in flight."""
        self._hurry.set()

    def state(self, key: ModelKey) -> dict[str, Any]:
        """Tell what is known of a model's gateway, for people."""
        return self._kept[key].gateway.state if key in self._kept else {}

    def attempts(self, key: ModelKey) -> Attempts:
        """Give what a model's gateway counted of its requests to the remote."""
        return self._kept[key].gateway.attempts if key in self._kept else Attempts()

    def waiting(self) -> tuple[ModelKey, ...]:
        """Name the models whose gateway does not answer."""
        return tuple(key for key, kept in self._kept.items() if not kept.gateway.ready)

    def _begin(self, group: asyncio.TaskGroup, spec: OffloadSpec) -> Kept:
        gateway, specs = Gateway(spec.key, self._directory(spec.key), self._shape), Latest(spec)
        task = group.create_task(self._keep(gateway, specs), name=f"gateway {spec.key}")
        return Kept(gateway, specs, task)

    async def _keep(self, gateway: Gateway, specs: Latest[OffloadSpec]) -> None:
        leaving = self._leaving.get(specs.value.key)
        if leaving is not None:
            await asyncio.wait((leaving,))  # the same model came back: its old process has the address still
        await gateway.keep(specs)

    def _end_unwanted(self, group: asyncio.TaskGroup, wanted: Mapping[ModelKey, OffloadSpec]) -> None:
        for key in [key for key in self._kept if key not in wanted]:
            kept = self._kept.pop(key)
            self._leave(group, key, self._end(kept))
        for key in self._left_behind() - set(wanted) - set(self._leaving):
            log.info("gateway of an earlier run stops, its model is gone", model=str(key))
            gateway = Gateway(key, self._directory(key), self._shape)
            self._leave(group, key, gateway.stop(drain=ORPHANS_DRAIN, hurry=self._hurry))

    def _leave(self, group: asyncio.TaskGroup, key: ModelKey, stopping: Coroutine[Any, Any, None]) -> None:
        task = group.create_task(stopping, name=f"gateway {key} leaves")
        self._leaving[key] = task
        task.add_done_callback(lambda _: self._leaving.pop(key, None))

    async def _end(self, kept: Kept) -> None:
        kept.task.cancel()
        await asyncio.wait((kept.task,))
        await kept.gateway.stop(drain=kept.specs.value.gateway.drain.total_seconds(), hurry=self._hurry)

    def _left_behind(self) -> set[ModelKey]:
        """Name the models that have a folder: an earlier controller's, or ours."""
        if not self._folder.is_dir():
            return set()
        names = (path.name.partition(".") for path in self._folder.iterdir() if path.is_dir())
        return {ModelKey(namespace, name) for namespace, _, name in names}

    def _directory(self, key: ModelKey) -> Path:
        return self._folder / f"{key.namespace}.{key.name}"
