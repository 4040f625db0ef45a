"""Runs one loop per model, from the appearance of its spec to its removal. A loop is woken when its spec changes."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from beamlit_controller.controller import loop
from beamlit_controller.controller.latest import Latest
from beamlit_controller.controller.loop import LoopDependencies
from beamlit_controller.controller.ports import Memory, Provider
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.spec import ModelKey, OffloadSpec


@dataclass(frozen=True, slots=True)
class Running:
    """A model's loop, and where it reads its spec."""

    specs: Latest[OffloadSpec]
    task: asyncio.Task[None]


async def run(provider: Provider, dependencies: LoopDependencies, memory: Memory) -> None:
    """Keep one loop running for every spec of the provider, until cancelled."""
    async with asyncio.TaskGroup() as group:
        running: dict[ModelKey, Running] = {}
        async for specs in provider.specs():
            await _end(running, dependencies, wanted=specs)
            for key, spec in specs.items():
                if key in running:
                    running[key].specs.set(spec)
                else:
                    running[key] = _begin(group, spec, dependencies, memory)


def _begin(group: asyncio.TaskGroup, spec: OffloadSpec, dependencies: LoopDependencies, memory: Memory) -> Running:
    specs = Latest(spec)
    task = group.create_task(
        loop.run(specs, dependencies, previous=_recalled(spec.key, dependencies, memory)), name=f"model {spec.key}"
    )
    return Running(specs, task)


def _recalled(key: ModelKey, dependencies: LoopDependencies, memory: Memory) -> Decision | None:
    """Return the recorded decision. If it can't be read, the model starts without one; other models are not affected."""
    try:
        return memory.recall(key)
    except Exception as error:  # noqa: BLE001 - one model's unexpected error must not end the others
        for sink in dependencies.sinks:
            sink.failed(key, error)
        return None


async def _end(
    running: dict[ModelKey, Running], dependencies: LoopDependencies, *, wanted: Mapping[ModelKey, OffloadSpec]
) -> None:
    """End the loops that are no longer wanted, and only then let the sinks forget their models."""
    unwanted = [key for key in running if key not in wanted]
    tasks = [running[key].task for key in unwanted]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for key in unwanted:
        del running[key]
        for sink in dependencies.sinks:
            sink.forget(key)
