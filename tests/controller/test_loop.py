"""Loop, sensor and supervisor together, with sources and sinks that are plain objects, in virtual time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from beamlit_controller.controller import loop, supervisor
from beamlit_controller.controller.clock import AnchoredClock
from beamlit_controller.controller.latest import Latest
from beamlit_controller.controller.loop import LoopDependencies
from beamlit_controller.controller.ports import WorkloadSnapshot
from beamlit_controller.controller.sensor import Sensor
from beamlit_controller.core import decision, readable
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.decision import Decision, Timers
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.metric_spec import MetricSpec
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import NOT_ASKED, LocalHealth, Missing, Reading, Scale
from beamlit_controller.core.spec import Behavior, ModelKey, OffloadSpec
from beamlit_controller.core.verdict import Unread
from builders import NOW, QUEUE, pods, sample, spec

PERIOD = timedelta(seconds=5)
OTHER = ModelKey("models", "mistral")
PATIENT = Behavior(engage=replace(Behavior().engage, stabilization_window=timedelta(seconds=30)))

pytestmark = pytest.mark.looptime


@dataclass
class Queue:
    """A source that answers with a value, after a delay."""

    value: int = 5
    delay: float = 0

    async def read(self, spec: OffloadSpec, metric: MetricSpec, *, at: datetime) -> Reading:
        await asyncio.sleep(self.delay)
        return sample(self.value, at=at, window=timedelta(0))


@dataclass
class BrokenFlows:
    """Flows that raise, of all models or of one, as no implementation should."""

    error: Exception | None = None
    of: ModelKey | None = None

    def flow(self, spec: OffloadSpec) -> Flow | Missing:
        if self.error is not None and self.of in {None, spec.key}:
            raise self.error
        return NOT_ASKED


class ThreePods:
    async def snapshot_of(self, spec: OffloadSpec) -> WorkloadSnapshot:
        return WorkloadSnapshot(pods(3), Scale(3, 3), LocalHealth(3, 3))


@dataclass
class Seen:
    """A sink that keeps all."""

    cycles: list[Cycle] = field(default_factory=list)
    failures: list[tuple[ModelKey, Exception]] = field(default_factory=list)
    forgotten: list[ModelKey] = field(default_factory=list)

    def record(self, cycle: Cycle) -> None:
        self.cycles.append(cycle)

    def failed(self, key: ModelKey, error: Exception) -> None:
        self.failures.append((key, error))

    def forget(self, key: ModelKey) -> None:
        self.forgotten.append(key)

    def of(self, key: ModelKey) -> list[Cycle]:
        return [cycle for cycle in self.cycles if cycle.spec.key == key]


@dataclass
class Folder:
    """A provider that the test writes to."""

    specs_now: Latest[Mapping[ModelKey, OffloadSpec]]

    async def specs(self) -> AsyncIterator[Mapping[ModelKey, OffloadSpec]]:
        seen = self.specs_now.value
        yield seen
        while True:
            seen = await self.specs_now.changed_from(seen)
            yield seen


class Remembered(dict[ModelKey, Decision]):
    def recall(self, key: ModelKey) -> Decision | None:
        return self.get(key)


class Wall:
    """A wall clock that begins at NOW, runs with the loop, and can be set."""

    def __init__(self) -> None:
        self._time = asyncio.get_running_loop().time
        self._began = self._time()
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return NOW + timedelta(seconds=self._time() - self._began) + self.ahead


def parts(
    source: Queue | None, seen: Seen, wall: Wall | None = None, *, flows: BrokenFlows | None = None
) -> LoopDependencies:
    sources = ((readable.from_metrics_apis, source),) if source is not None else ()
    sensor = Sensor(sources=sources, inventory=ThreePods(), flows=flows)
    return LoopDependencies(sensor, (seen,), AnchoredClock(wall or Wall()), lambda _spec: PERIOD)


async def for_seconds(seconds: float, *coroutines: Coroutine[Any, Any, None]) -> None:
    """Run for some time, then end."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            for coroutine in coroutines:
                group.create_task(coroutine)


async def test_decides_at_once_and_then_once_a_period() -> None:
    seen = Seen()

    await for_seconds(61, loop.run(Latest(spec()), parts(Queue(), seen), previous=None))

    assert seen.cycles[0].at == NOW
    assert 13 <= len(seen.cycles) <= 14
    assert all(cycle.lag < timedelta(milliseconds=1) for cycle in seen.cycles)


async def test_a_changed_spec_is_acted_on_at_once() -> None:
    seen, specs = Seen(), Latest(spec())

    async def change() -> None:
        await asyncio.sleep(0.1)
        specs.set(spec(behavior=Behavior(percentage=10)))
        await asyncio.sleep(0.01)
        assert seen.cycles[-1].spec.behavior.percentage == 10

    await for_seconds(1, loop.run(specs, parts(Queue(), seen), previous=None), change())


async def test_goes_on_from_the_remembered_decision() -> None:
    seen = Seen()
    before = replace(decision.begin(NOW), percentage=100)

    await for_seconds(1, loop.run(Latest(spec()), parts(None, seen), previous=before))

    assert seen.cycles[0].decision.percentage == 100


async def test_a_slow_source_is_missing_and_costs_no_round() -> None:
    seen = Seen()

    await for_seconds(61, loop.run(Latest(spec()), parts(Queue(delay=3600), seen), previous=None))

    assert len(seen.cycles) >= 12
    unread = seen.cycles[0].verdict.metrics[0]
    assert isinstance(unread, Unread)
    assert unread.missing == Missing(Reason.TIMED_OUT, "no answer for queue within 4 s")


async def test_an_unexpected_error_ends_the_round_and_nothing_else() -> None:
    seen, flows = Seen(), BrokenFlows()

    async def fault() -> None:
        await asyncio.sleep(12)
        flows.error = ValueError("boom")
        await asyncio.sleep(20)
        flows.error = None

    dependencies = parts(Queue(value=20), seen, flows=flows)
    await for_seconds(60, loop.run(Latest(spec()), dependencies, previous=None), fault())

    assert 3 <= len(seen.failures) <= 5
    assert seen.cycles[-1].at > NOW + timedelta(seconds=32)
    assert {cycle.decision.percentage for cycle in seen.cycles} == {100}


async def test_models_come_and_go() -> None:
    seen = Seen()
    one, two = spec(), spec(key=OTHER)
    folder = Folder(Latest({one.key: one}))

    async def change() -> None:
        await asyncio.sleep(10)
        folder.specs_now.set({one.key: one, two.key: two})
        await asyncio.sleep(10)
        folder.specs_now.set({two.key: two})
        await asyncio.sleep(1)
        count = len(seen.of(one.key))
        await asyncio.sleep(30)
        assert len(seen.of(one.key)) == count

    await for_seconds(60, supervisor.run(folder, parts(Queue(), seen), Remembered()), change())

    assert seen.forgotten == [one.key]
    assert len(seen.of(OTHER)) >= 9


async def test_a_poisoned_model_leaves_the_others_alone() -> None:
    seen = Seen()
    good, poisoned = spec(), spec(key=OTHER, metrics=(QUEUE, QUEUE))

    together = parts(Queue(), seen, flows=BrokenFlows(RuntimeError("boom"), of=OTHER))
    folder = Folder(Latest({good.key: good, OTHER: poisoned}))

    await for_seconds(30, supervisor.run(folder, together, Remembered()))

    assert len(seen.of(good.key)) >= 6
    assert not seen.of(OTHER)
    assert {key for key, _ in seen.failures} == {OTHER}


async def test_a_recorded_decision_that_can_not_be_read_keeps_no_other_model_from_being_decided() -> None:
    class Broken(Remembered):
        def recall(self, key: ModelKey) -> Decision | None:
            if key == OTHER:
                raise OverflowError("too large")
            return super().recall(key)

    seen, good = Seen(), spec()
    folder = Folder(Latest({OTHER: spec(key=OTHER), good.key: good}))

    await for_seconds(30, supervisor.run(folder, parts(Queue(), seen), Broken()))

    assert len(seen.of(good.key)) >= 6
    assert len(seen.of(OTHER)) >= 6
    assert [key for key, _ in seen.failures] == [OTHER]


HOURS = [timedelta(hours=hours) for hours in (-100, -1, 1, 100)]


@pytest.mark.parametrize("step", HOURS)
async def test_rounds_come_once_a_period_and_on_time_though_the_clock_is_set(step: timedelta) -> None:
    seen, wall = Seen(), Wall()

    async def set_clock() -> None:
        await asyncio.sleep(31)
        wall.ahead = step

    await for_seconds(61, loop.run(Latest(spec()), parts(Queue(), seen, wall), previous=None), set_clock())

    assert 13 <= len(seen.cycles) <= 14
    assert all(timedelta(0) <= cycle.lag < timedelta(milliseconds=1) for cycle in seen.cycles)
    assert all(cycle.took == timedelta(0) for cycle in seen.cycles)
    assert seen.cycles[-1].signals.at > NOW + step + timedelta(seconds=50)


@pytest.mark.parametrize("step", HOURS)
async def test_a_window_lasts_as_long_as_it_should_though_the_clock_is_set_within_it(step: timedelta) -> None:
    seen, wall = Seen(), Wall()
    patient = spec(behavior=PATIENT)

    async def set_clock() -> None:
        await asyncio.sleep(12)
        wall.ahead = step

    running = loop.run(Latest(patient), parts(Queue(value=20), seen, wall), previous=None)
    await for_seconds(50, running, set_clock())

    engaged = next(cycle.at for cycle in seen.cycles if cycle.decision.percentage == 100)
    assert timedelta(seconds=30) <= engaged - step - NOW <= timedelta(seconds=36)


async def test_a_window_lasts_as_long_as_it_should_though_each_round_is_held_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Time that passes between a decision and the end of its round is no step of the clock."""
    now, held = asyncio.get_running_loop().time, [0.0]
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now() + sum(held))

    class Slow(Seen):
        def record(self, cycle: Cycle) -> None:
            super().record(cycle)
            held.append(2.0)

    seen = Slow()

    await for_seconds(60, loop.run(Latest(spec(behavior=PATIENT)), parts(Queue(value=20), seen), previous=None))

    engaged = next(cycle.at for cycle in seen.cycles if cycle.decision.percentage == 100)
    assert timedelta(seconds=30) <= engaged - NOW <= timedelta(seconds=38)


async def test_models_are_not_decided_all_at_once_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """All are late when the process goes on, and then each keeps its own time again, without making up for lost rounds."""
    now, paused = asyncio.get_running_loop().time, [0.0]
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now() + sum(paused))
    seen = Seen()
    models = [spec(key=ModelKey("models", f"model-{number}")) for number in range(100)]

    async def pause() -> None:
        await asyncio.sleep(31)
        paused.append(18.0)

    loops = (loop.run(Latest(model), parts(Queue(), seen), previous=None) for model in models)
    await for_seconds(31 + 18 + 2 * PERIOD.total_seconds(), *loops, pause())

    began = NOW + timedelta(seconds=31 + 18)
    late = [cycle for cycle in seen.cycles if began <= cycle.at < began + timedelta(milliseconds=100)]
    after = [cycle for cycle in seen.cycles if cycle.at >= began + timedelta(milliseconds=100)]
    seconds = [sum(1 for cycle in after if int((cycle.at - began).total_seconds()) == second) for second in range(10)]
    assert len(models) <= len(late) <= 115
    assert len(after) <= 2 * len(models)
    assert max(seconds) <= 50


async def test_a_recorded_decision_whose_times_make_no_sense_is_decided_anew_and_ends_nothing() -> None:
    seen = Seen()
    naive = replace(decision.begin(NOW), since=datetime(2026, 1, 1))  # noqa: DTZ001 - a time without a zone is the point

    await for_seconds(1, loop.run(Latest(spec()), parts(Queue(), seen), previous=naive))

    assert seen.cycles
    assert seen.cycles[0].previous is None


async def test_a_decision_of_a_clock_that_went_ahead_is_gone_on_from_as_of_now() -> None:
    """A window would have lasted until the old clock's time came."""
    seen = Seen()
    later = NOW + timedelta(days=1)
    patient = spec(behavior=PATIENT)
    before = replace(decision.begin(later), timers=Timers(over_since=later))

    await for_seconds(50, loop.run(Latest(patient), parts(Queue(value=20), seen), previous=before))

    engaged = next(cycle.at for cycle in seen.cycles if cycle.decision.percentage == 100)
    assert timedelta(seconds=30) <= engaged - NOW <= timedelta(seconds=36)
