"""Adaptive mode in a cluster, in virtual time: the learned cap reaches the gateways, and outlives the replica that learned it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction

import pytest

from beamlit_controller.core.spec import ModelKey
from beamlit_controller.core.traffic import RequestCounters
from beamlit_controller.envoy.rtds import RuntimeValues
from fakes import api_users
from fakes.api_controllers import Controllers
from fakes.objects_of_models import Seen, model, service, workload
from fakes.replica import Replica, World, world
from waiting import eventually

pytestmark = pytest.mark.looptime

KEY = ModelKey("models", "llama")
CONFIG = model()["spec"]["offloadingConfig"]
ADAPTIVE = {**CONFIG, "behavior": {"mode": "Adaptive", "percentage": 80}}
CLIENTS = 60
FITS, TARGET = 10, 10
"""Requests in flight from which on the queue grows, and how long it may become."""


class Load:
    """Sixty clients that never rest and come by one gateway, and a local server with room for ten."""

    def __init__(self, given: World, replica: Replica) -> None:
        self._given = given
        self._replica = replica
        self._counted = RequestCounters()

    async def run(self) -> None:
        """Tell the replica every second what its gateways count."""
        while True:
            told = self._replica.told("llama")
            limit = CLIENTS if told is None or told.in_flight is None else int(told.in_flight)
            here = min(CLIENTS, limit)
            self._given.metrics.default = max(0, here - FITS)
            sent = self._counted.overflow + (CLIENTS - here)
            self._counted = RequestCounters(in_flight=here, local=self._counted.local + FITS, overflow=sent)
            self._given.meters[self._replica.name].feed(KEY, {"gateway": self._counted})
            await asyncio.sleep(1)


@asynccontextmanager
async def loaded(given: World, replica: Replica) -> AsyncIterator[None]:
    task = asyncio.ensure_future(Load(given, replica).run())
    try:
        yield
    finally:
        task.cancel()


async def test_a_learned_cap_reaches_the_gateways_and_is_gone_on_from_by_the_next_replica() -> None:
    async with world() as given, Controllers(given.server).running():
        for each in (workload(), service(), model(offloadingConfig=ADAPTIVE)):
            api_users.put(given.server, each)
        seen, first = Seen(given.server), given.start()

        def cap() -> Fraction:
            return Fraction((seen.status.get("offloading") or {}).get("inFlightPerReplica", "0"))

        async with loaded(given, first):
            await eventually(
                lambda: 0 < cap() < FITS + TARGET + 1 and (given.metrics.default or 0) <= TARGET, within=600, every=1
            )
        await first.end()
        second = given.start("two")
        await eventually(lambda: second.told("llama") is not None, within=60, every=0.1)

        # Two servers and two gateways are ready.
        assert second.told("llama") == RuntimeValues(80, in_flight=cap(), cap_only=True)
        assert seen.percentage == 80
