"""Which source reads a metric: the first that can."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from beamlit_controller.controller.ports import Source, WorkloadSnapshot
from beamlit_controller.controller.sensor import Sensor
from beamlit_controller.core.metric_spec import MetricSpec
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import LocalHealth, Missing, Reading, Scale
from beamlit_controller.core.spec import MetricService, OffloadSpec
from beamlit_controller.wiring import common
from builders import CPU, NOW, QUEUE, RUNNING, missing, pods, sample, spec
from fakes.hold_up import hold_up


@dataclass
class Named:
    """A source that says its name instead of a value."""

    name: str

    async def read(self, spec: OffloadSpec, metric: MetricSpec, *, at: datetime) -> Reading:
        return missing(Reason.NO_SERIES, self.name)


class NoPods:
    async def snapshot_of(self, spec: OffloadSpec) -> WorkloadSnapshot:
        return WorkloadSnapshot(pods(0), Scale(0, 0), LocalHealth(0, 0))


PROMETHEUS = Named("prometheus")
SCRAPED = {"metric_service": MetricService("llama", 8000)}


async def read(given: OffloadSpec, *, prometheus: Source | None, metrics_apis: Source | None) -> list[Missing]:
    sources = common.sources(
        scrape=Named("servers"), gateways=Named("gateways"), prometheus=prometheus, metrics_apis=metrics_apis
    )
    signals = await Sensor(sources=sources, inventory=NoPods()).read(given, at=NOW, deadline=timedelta(seconds=1))
    return [each for each in signals.readings if isinstance(each, Missing)]


@pytest.mark.parametrize(
    ("prometheus", "direct", "expected"),
    [
        (PROMETHEUS, SCRAPED, ["prometheus", "servers", "apis"]),
        (PROMETHEUS, {}, ["prometheus", "apis", "apis"]),
        (None, SCRAPED, ["apis", "servers", "apis"]),
        (None, {}, ["apis", "apis", "apis"]),
    ],
)
async def test_in_a_cluster_the_metrics_apis_read_what_no_other_source_does(
    prometheus: Source | None, direct: Mapping[str, MetricService], expected: list[str]
) -> None:
    given = spec(metrics=(QUEUE, RUNNING, CPU), **direct)

    answered = await read(given, prometheus=prometheus, metrics_apis=Named("apis"))

    assert [each.message for each in answered] == expected


async def test_without_a_cluster_there_is_a_metric_that_no_source_reads() -> None:
    given = spec(metrics=(CPU,))

    (reading,) = await read(given, prometheus=PROMETHEUS, metrics_apis=None)

    assert reading.reason is Reason.UNSUPPORTED_METRIC


class HeldUp:
    """A source and an inventory whose answers have come when the loop is held up past the deadline."""

    async def read(self, spec: OffloadSpec, metric: MetricSpec, *, at: datetime) -> Reading:
        await self._answered()
        return sample(5)

    async def snapshot_of(self, spec: OffloadSpec) -> WorkloadSnapshot:
        await self._answered()
        return await NoPods().snapshot_of(spec)

    async def _answered(self) -> None:
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        loop.call_soon(loop.call_soon, answer.set_result, None)
        loop.call_soon(hold_up, 3)
        await answer


async def test_what_has_come_while_the_loop_was_held_up_is_no_timeout() -> None:
    held_up = HeldUp()
    sensor = Sensor(sources=((lambda *_: True, held_up),), inventory=held_up)

    signals = await sensor.read(spec(metrics=(QUEUE,)), at=NOW, deadline=timedelta(seconds=1))

    assert signals.readings == (sample(5),)
    assert signals.pods == ()


class Broken:
    """A source and an inventory with a bug."""

    async def read(self, spec: OffloadSpec, metric: MetricSpec, *, at: datetime) -> Reading:
        raise KeyError("_internals")

    async def snapshot_of(self, spec: OffloadSpec) -> WorkloadSnapshot:
        raise KeyError("_internals")


class Steady:
    async def read(self, spec: OffloadSpec, metric: MetricSpec, *, at: datetime) -> Reading:
        return sample(5)


async def test_a_bug_in_one_source_takes_no_value_of_another_away() -> None:
    """It ended the round: no metric of the model was read any more."""
    reported: list[str] = []
    sensor = Sensor(
        sources=((lambda _, metric: metric == QUEUE, Steady()), (lambda *_: True, Broken())),
        inventory=Broken(),
        report=lambda _, what, error: reported.append(f"{what}: {error!r}"),
    )

    for _ in range(3):
        signals = await sensor.read(spec(metrics=(QUEUE, CPU)), at=NOW, deadline=timedelta(seconds=1))

    why = "an unexpected error while reading {}: see the log"
    pods_missing = Missing(Reason.INTERNAL_ERROR, why.format("the model's pods"))
    assert signals.readings == (sample(5), Missing(Reason.INTERNAL_ERROR, why.format("cpu")))
    assert (signals.pods, signals.scale, signals.local) == (pods_missing, pods_missing, LocalHealth(0, 0))
    assert sorted(reported) == ["cpu: KeyError('_internals')", "the model's pods: KeyError('_internals')"]


async def test_a_source_that_is_cancelled_is_cancelled() -> None:
    class Cancelling:
        async def read(self, spec: OffloadSpec, metric: MetricSpec, *, at: datetime) -> Reading:
            raise asyncio.CancelledError

    sensor = Sensor(sources=((lambda *_: True, Cancelling()),), inventory=NoPods())

    with pytest.raises(asyncio.CancelledError):
        await sensor.read(spec(metrics=(QUEUE,)), at=NOW, deadline=timedelta(seconds=1))
