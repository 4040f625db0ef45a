"""The control loop of one model: read the spec, read the signals, decide, notify the sinks, wait.

An unexpected error ends the round, not the loop: the sinks are notified of the failure, the percentage stays, and the
next round retries.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from beamlit_controller.controller.latest import Latest
from beamlit_controller.controller.ports import Sink, SteadyClock
from beamlit_controller.controller.sensor import Sensor
from beamlit_controller.core import clock_skew, cycle
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.spec import OffloadSpec

DEADLINE = 0.8
"""Fraction of a period that reading may take, so that a slow source does not delay the next round."""


@dataclass(frozen=True, slots=True)
class LoopDependencies:
    """Dependencies of every loop."""

    sensor: Sensor
    sinks: Sequence[Sink]
    clock: SteadyClock
    period: Callable[[OffloadSpec], timedelta]


@dataclass(frozen=True, slots=True)
class LastDecision:
    """The last decision, and the origin of the clock by which it was made."""

    decision: Decision | None
    origin: datetime


async def run(specs: Latest[OffloadSpec], dependencies: LoopDependencies, *, previous: Decision | None) -> None:
    """Decide for one model in every period, and immediately when its spec changes, until cancelled."""
    now = dependencies.clock.now()
    last = LastDecision(_recalled(previous, now), dependencies.clock.origin)
    due = _seconds()
    spread = random.random()  # noqa: S311 - jitter, not security
    while True:
        spec, began = specs.value, _seconds()
        last = await _round(spec, dependencies, last, due=due)
        period = dependencies.period(spec).total_seconds()
        due = _following(due - period * (1 - spread), period, began=began)
        spread = 1.0
        due = await _wait(specs, spec, until=due)


def _recalled(previous: Decision | None, now: datetime) -> Decision | None:
    """Return the decision recorded by an earlier process; None if its times are invalid."""
    try:
        return previous and clock_skew.clamped(previous, now)
    except (TypeError, ValueError, OverflowError):
        # For example times without a zone: anyone who may write a status may write such.
        return None


async def _round(spec: OffloadSpec, dependencies: LoopDependencies, last: LastDecision, *, due: float) -> LastDecision:
    """Run one round. An unexpected error ends here: the percentage stays, and the next round retries."""
    try:
        # In a task of its own: before Python 3.11.4 a failed TaskGroup leaves its task half cancelled, so timeouts in it fail.
        record, origin = await asyncio.create_task(_observe(spec, dependencies, last, due=due))
        for sink in dependencies.sinks:
            sink.record(record)
    except Exception as error:  # noqa: BLE001 - an unexpected error of one model ends neither its loop nor the others
        for sink in dependencies.sinks:
            sink.failed(spec.key, error)
        return last
    return LastDecision(record.decision, origin)


async def _observe(
    spec: OffloadSpec, dependencies: LoopDependencies, last: LastDecision, *, due: float
) -> tuple[Cycle, datetime]:
    """Return the round, and the origin of the clock by which it was decided."""
    began = _seconds()
    signals = await dependencies.sensor.read(
        spec, at=dependencies.clock.now(), deadline=dependencies.period(spec) * DEADLINE
    )
    now = dependencies.clock.now()
    origin, took, lag = dependencies.clock.origin, _seconds() - began, began - due
    previous = _in_step(last, origin, now)
    return cycle.run(
        spec, signals, previous=previous, now=now, took=timedelta(seconds=took), lag=timedelta(seconds=lag)
    ), origin


def _in_step(last: LastDecision, origin: datetime, now: datetime) -> Decision | None:
    """Return the last decision with its times shifted to the current clock."""
    step = origin - last.origin
    if last.decision is None or not step:
        return last.decision
    return clock_skew.clamped(clock_skew.shifted(last.decision, step), now)


async def _wait(specs: Latest[OffloadSpec], seen: OffloadSpec, *, until: float) -> float:
    """Wait for the next round, and return when it is due: as planned, or now because the spec changed."""
    try:
        async with asyncio.timeout_at(until):
            await specs.changed_from(seen)
    except TimeoutError:
        return until
    return _seconds()


def _following(due: float, period: float, *, began: float) -> float:
    """Return when the round after one that was due, and began later, is due.

    The loops of the models keep apart from each other also after the process was paused: rounds that were missed are
    skipped, and one that is late does not delay those after it.
    """
    missed = (began - due) // period
    return due + period * (1 + max(0, missed))


def _seconds() -> float:
    return asyncio.get_running_loop().time()
