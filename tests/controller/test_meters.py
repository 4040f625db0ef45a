"""Counts of gateways while the clock is set, in virtual time."""

import asyncio
from datetime import timedelta

import pytest

from beamlit_controller.controller.clock import AnchoredClock
from beamlit_controller.controller.meters import Meters
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.metric_spec import GatewayFigure
from beamlit_controller.core.signals import Sample
from beamlit_controller.core.traffic import RequestCounters
from builders import NOW, spec

MODEL = spec()
POLL = 5
PER_POLL = 200

pytestmark = pytest.mark.looptime
STEPS = pytest.mark.parametrize("step", [timedelta(hours=hours) for hours in (-8, 0, 8)], ids=str)


class Polled:
    """Meters whose gateway ends 40 requests per second, and a wall clock that can be set."""

    def __init__(self) -> None:
        self._time = asyncio.get_running_loop().time
        self._began = self._time()
        self._served = 0
        self.ahead = timedelta(0)
        self.clock = AnchoredClock(lambda: NOW + timedelta(seconds=self._time() - self._began) + self.ahead)
        self.meters = Meters(self.clock)

    async def poll(self, times: int) -> None:
        for _ in range(times):
            await asyncio.sleep(POLL)
            self._served += PER_POLL
            self.meters.feed(MODEL.key, {"gateway": RequestCounters(in_flight=30, local=self._served)})


@STEPS
async def test_rates_are_the_same_though_the_clock_is_set(step: timedelta) -> None:
    polled = Polled()
    await polled.poll(20)
    polled.meters.flow(MODEL)
    polled.ahead = step

    await polled.poll(2)
    flow, minute = polled.meters.flow(MODEL), polled.meters.minute(MODEL.key)

    assert isinstance(flow, Flow)
    assert (flow.until - flow.since, flow.served) == (2 * timedelta(seconds=POLL), 2 * PER_POLL)
    assert minute is not None
    assert (minute.span, minute.counted.local) == (timedelta(seconds=60), 12 * PER_POLL)


@STEPS
async def test_no_sample_is_of_another_clock_not_even_before_the_next_poll(step: timedelta) -> None:
    polled = Polled()
    await polled.poll(20)
    polled.ahead = step
    now = polled.clock.now()

    sample, flow = polled.meters.sample(MODEL.key, GatewayFigure.RATE), polled.meters.flow(MODEL)

    assert sample == Sample(40_000, now, timedelta(seconds=15))
    assert isinstance(flow, Flow)
    assert flow.until == now
