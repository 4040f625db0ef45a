"""Draining an Envoy whose admin interface answers late, oddly or not at all, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from beamlit_controller.core.spec import ModelKey
from beamlit_controller.standalone import drain, gateway
from beamlit_controller.standalone.admin import AdminError, NotRunningError
from beamlit_controller.standalone.gateway import Gateway
from beamlit_controller.standalone.gateway_template import GatewayTemplate

pytestmark = pytest.mark.looptime
SLOW = 3.0


@dataclass
class Envoy:
    """Requests in flight end after 20 s; from 4 to 8 s the admin interface does not answer in time, and after `ends` it is gone."""

    ends: float = 1000

    async def drain(self) -> None:
        await self._asked()

    async def active_requests(self) -> int:
        return 3 if await self._asked() < 20 else 0

    async def active_connections(self) -> int:
        return await self.active_requests()

    async def _asked(self) -> float:
        now = asyncio.get_running_loop().time()
        if now >= self.ends:
            raise NotRunningError("no such file")
        if 4 <= now < 8:
            await asyncio.sleep(SLOW)
            raise AdminError("no answer in time")
        return now


async def hook(most: float) -> None:
    await drain.drain(Path("admin.sock"), least=2, most=most)


async def stop(most: float) -> None:
    template = GatewayTemplate(
        files=lambda *_: {}, command=lambda *_: [], secrets=lambda _: [], stats="", attempts=lambda _: {}
    )
    drained = Gateway(ModelKey("a", "b"), Path("nowhere"), template)._drained()  # noqa: SLF001 - its process is another matter
    await gateway._within(most, asyncio.Event(), drained)  # noqa: SLF001 - the same


@pytest.mark.parametrize("end", [hook, stop])
@pytest.mark.parametrize(
    ("envoy", "most", "spent"),
    [(Envoy(), 60, 20), (Envoy(), 7, 7), (Envoy(ends=10), 60, 10), (Envoy(ends=0), 60, 0)],
    ids=["until the requests end", "for the longest time at most", "until it ends", "not if it does not run"],
)
async def test_a_slow_answer_ends_no_drain(
    monkeypatch: pytest.MonkeyPatch, end: Callable[[float], Awaitable[None]], envoy: Envoy, most: float, spent: float
) -> None:
    for module in (drain, gateway):
        monkeypatch.setattr(module, "Admin", lambda _: envoy)

    await end(most)

    assert spent <= asyncio.get_running_loop().time() <= spent + 1
