"""The loop of one model: read the spec, read the signals, run the cycle, tell the sinks, wait. The loop is the retry."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from beamlit_controller.controller.latest import Latest
from beamlit_controller.controller.ports import Clock, Sink
from beamlit_controller.controller.sensor import Sensor
from beamlit_controller.core import cycle
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.spec import OffloadSpec

DEADLINE = 0.8
"""The part of a period that reading may take, so that a slow source costs no round."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What every loop works with."""

    sensor: Sensor
    sinks: Sequence[Sink]
    clock: Clock
    period: Callable[[OffloadSpec], timedelta]


async def run(specs: Latest[OffloadSpec], parts: Parts, *, previous: Decision | None) -> None:
    """Decide for one model, once a period and at once when its spec changes, until cancelled."""
    due = parts.clock.now()
    spread = random.random()  # noqa: S311 - spreads models over the period, guards nothing
    while True:
        spec = specs.value
        previous = await _round(spec, parts, previous=previous, due=due)
        period = parts.period(spec)
        due = max(due + period * spread, parts.clock.now())
        spread = 1.0
        due = await _wait(specs, spec, parts.clock, until=due)


async def _round(spec: OffloadSpec, parts: Parts, *, previous: Decision | None, due: datetime) -> Decision | None:
    """Run one round. An error that nobody expected ends here: the share stays, and the next round tries again."""
    try:
        record = await _observe(spec, parts, previous=previous, due=due)
        for sink in parts.sinks:
            sink.record(record)
    except Exception as error:  # noqa: BLE001 - the one place where a model's unexpected error must not end the others
        for sink in parts.sinks:
            sink.failed(spec.key, error)
        return previous
    return record.decision


async def _observe(spec: OffloadSpec, parts: Parts, *, previous: Decision | None, due: datetime) -> Cycle:
    began = parts.clock.now()
    signals = await parts.sensor.read(spec, at=began, deadline=parts.period(spec) * DEADLINE)
    now = parts.clock.now()
    return cycle.run(spec, signals, previous=previous, now=now, took=now - began, lag=began - due)


async def _wait(specs: Latest[OffloadSpec], seen: OffloadSpec, clock: Clock, *, until: datetime) -> datetime:
    """Wait for the next round, and tell when it is due: as planned, or now because the spec changed."""
    try:
        async with asyncio.timeout((until - clock.now()).total_seconds()):
            await specs.other_than(seen)
    except TimeoutError:
        return until
    return clock.now()
