"""Runs one Envoy per model: started when a model appears, drained and ended when it is removed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog

from beamlit_controller.controller.latest import Latest
from beamlit_controller.core import remotes_health
from beamlit_controller.core.gateway_spec import GatewaySpec
from beamlit_controller.core.remote_health import Attempts
from beamlit_controller.core.remotes_health import Assessments
from beamlit_controller.core.spec import ModelKey, OffloadSpec
from beamlit_controller.standalone.faults import message_of
from beamlit_controller.standalone.gateway import Gateway
from beamlit_controller.standalone.gateway_template import GatewayTemplate

log = structlog.get_logger()

ORPHANS_DRAIN = GatewaySpec().drain.total_seconds()


@dataclass(frozen=True, slots=True)
class GatewayWorker:
    """A running gateway: the latest spec, and its task."""

    gateway: Gateway
    specs: Latest[OffloadSpec]
    task: asyncio.Task[None]


class Gateways:
    """The gateways of all models, below one folder."""

    def __init__(self, folder: Path, template: GatewayTemplate) -> None:
        self._folder = folder
        self._template = template
        self._kept: dict[ModelKey, GatewayWorker] = {}
        self._leaving: dict[ModelKey, asyncio.Task[object]] = {}
        self._drains: dict[ModelKey, float] = {}
        self._stop_now = asyncio.Event()

    async def run(self, specs: Callable[[], AsyncIterator[Mapping[ModelKey, OffloadSpec]]]) -> None:
        """Keep a gateway for every spec, until cancelled; the processes then keep running."""
        async with asyncio.TaskGroup() as group:
            async for wanted in specs():
                self._end_unwanted(group, wanted)
                for key, spec in wanted.items():
                    self._drains[key] = spec.gateway.drain.total_seconds()
                    if key in self._kept:
                        self._kept[key].specs.set(spec)
                    else:
                        self._kept[key] = self._begin(group, spec)

    async def stop(self) -> None:
        """Drain and end every gateway, independently of each other. Raises OSError with those that could not be ended."""
        gateways = {key: kept.gateway for key, kept in self._kept.items()}
        for key in self._left_behind() - set(gateways):
            gateways[key] = Gateway(key, self._directory(key), self._template)
        async with asyncio.TaskGroup() as group:
            tasks = {key: group.create_task(self._stopped(key, gateway)) for key, gateway in gateways.items()}
        self._kept.clear()
        running = [str(key) for key, task in tasks.items() if not task.result()]
        if running:
            raise OSError(f"gateways that could not be stopped, and may still be running: {', '.join(running)}")

    def skip_draining(self) -> None:
        """Stop waiting for requests in flight."""
        self._stop_now.set()

    def state(self, key: ModelKey, spent: Collection[str] = ()) -> dict[str, Any]:
        """Return the state of a model's gateway and of its remotes, for display; `spent` are those whose budget is spent."""
        kept = self._kept.get(key)
        return {**kept.gateway.state, **_remotes(kept.gateway.remotes, spent)} if kept else {}

    def faults(self, key: ModelKey) -> int:
        """Count the faults of a model's gateway, including each failed retry."""
        return self._kept[key].gateway.faults if key in self._kept else 0

    def attempts(self, key: ModelKey) -> Attempts:
        """Return the counters of a model's gateway for requests to the remotes, for their common 429 limit."""
        kept = self._kept.get(key)
        return remotes_health.together(kept.gateway.attempts, kept.specs.value.remotes) if kept else Attempts()

    def down(self, key: ModelKey) -> frozenset[str]:
        """Return the local servers that refuse connections, or that the model's gateway has ejected."""
        return self._kept[key].gateway.down if key in self._kept else frozenset()

    def waiting(self) -> tuple[ModelKey, ...]:
        """Return the names of the models whose gateway does not answer."""
        return tuple(key for key, kept in self._kept.items() if not kept.gateway.ready)

    def _begin(self, group: asyncio.TaskGroup, spec: OffloadSpec) -> GatewayWorker:
        gateway, specs = Gateway(spec.key, self._directory(spec.key), self._template), Latest(spec)
        task = group.create_task(self._keep(gateway, specs), name=f"gateway {spec.key}")
        return GatewayWorker(gateway, specs, task)

    async def _keep(self, gateway: Gateway, specs: Latest[OffloadSpec]) -> None:
        leaving = self._leaving.get(specs.value.key)
        if leaving is not None:
            await asyncio.wait((leaving,))  # the same model came back, but its old process still has the address
        await gateway.keep(specs)

    def _end_unwanted(self, group: asyncio.TaskGroup, wanted: Mapping[ModelKey, OffloadSpec]) -> None:
        for key in [key for key in self._kept if key not in wanted]:
            kept = self._kept.pop(key)
            self._leave(group, key, self._end(kept))
        for key in self._left_behind() - set(wanted) - set(self._leaving):
            log.info("gateway of an earlier run draining, its model is gone", model=str(key))
            self._leave(group, key, self._stopped(key, Gateway(key, self._directory(key), self._template)))

    def _leave(self, group: asyncio.TaskGroup, key: ModelKey, stopping: Coroutine[Any, Any, object]) -> None:
        task = group.create_task(stopping, name=f"gateway {key} leaves")
        self._leaving[key] = task
        task.add_done_callback(lambda _: self._leaving.pop(key, None))

    async def _end(self, kept: GatewayWorker) -> None:
        kept.task.cancel()
        await asyncio.wait((kept.task,))
        await self._stopped(kept.specs.value.key, kept.gateway)

    async def _stopped(self, key: ModelKey, gateway: Gateway) -> bool:
        """Drain and end a gateway, and return whether that succeeded. A failure is retried at the next change."""
        try:
            await gateway.stop(drain=self._drains.get(key, ORPHANS_DRAIN), stop_now=self._stop_now)
        except Exception as error:  # noqa: BLE001 - one gateway's error must not keep the others from being ended
            log.error("gateway could not be stopped", model=str(key), error=message_of(error))  # noqa: TRY400 - the message says all
            return False
        return True

    def _left_behind(self) -> set[ModelKey]:
        """Return the models that have a folder, from this controller or an earlier one."""
        try:
            names = [path.name.partition(".") for path in self._folder.iterdir() if path.is_dir()]
        except FileNotFoundError:
            return set()
        except OSError as error:
            log.warning("gateways of an earlier run can't be listed", error=str(error))
            return set()
        return {ModelKey(namespace, name) for namespace, _, name in names}

    def _directory(self, key: ModelKey) -> Path:
        return self._folder / f"{key.namespace}.{key.name}"


def _remotes(assessed: Assessments, spent: Collection[str]) -> dict[str, Any]:
    """Return the combined state of the remotes, and that of each by name if there are several."""
    each = {name: asdict(known.condition) for name, known in assessed.items() if name}
    return {"remote": asdict(remotes_health.condition(assessed, spent)), **({"remotes": each} if each else {})}
