"""How a controller without a cluster ends its gateways."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from beamlit_controller.controller.clock import AnchoredClock
from beamlit_controller.controller.meters import Meters
from beamlit_controller.controller.usage_meters import UsageMeters
from beamlit_controller.standalone.gateways import Gateways
from beamlit_controller.standalone.state_folder import StateFolder
from beamlit_controller.wiring import standalone
from beamlit_controller.wiring.standalone import GatewayParts


@dataclass
class Ending:
    """Gateways that note that they were told to stop, and may fail to."""

    error: str = ""
    told: list[str] = field(default_factory=list)

    async def stop(self) -> None:
        self.told.append("stop")
        if self.error:
            raise OSError(self.error)

    def skip_draining(self) -> None:
        """Nothing is drained."""


async def test_shared_listeners_that_can_not_be_ended_leave_no_gateway_running(tmp_path: Path) -> None:
    shared, gateways = Ending("listeners/x may still be running"), Ending("models/llama may still be running")
    clock = AnchoredClock()
    parts = GatewayParts(clock, Meters(clock), UsageMeters(), cast("Gateways", gateways), cast("Gateways", shared))

    with pytest.raises(OSError, match=r"^listeners/x may still be running; models/llama may still be running$"):
        await standalone.stop_gateways(parts, StateFolder(tmp_path), asyncio.Event())

    assert (shared.told, gateways.told) == (["stop"], ["stop"])
