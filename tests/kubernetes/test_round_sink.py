"""What is kept of the last round, in virtual time."""

import asyncio

import pytest

from beamlit_controller.controller.changes import Changes
from beamlit_controller.core import cycle
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.kubernetes.round_sink import Rounds
from beamlit_controller.kubernetes.takeover_memory import LastRead
from builders import NOW, missing, sample, signals, spec


@pytest.mark.looptime
async def test_whether_metrics_could_be_read_is_known_as_of_the_last_round() -> None:
    rounds, key = Rounds(Changes[ModelKey]()), spec().key
    assert rounds.last_read(key) is None

    for reading, readable in ((sample(5), True), (missing(), False)):
        recorded = asyncio.get_running_loop().time()
        rounds.record(cycle.run(spec(), signals(reading), previous=None, now=NOW))
        await asyncio.sleep(70)

        assert rounds.last_read(key) == LastRead(readable, recorded)

    rounds.clear()
    assert rounds.last_read(key) is None
