"""Drains an Envoy without losing a request.

Envoy closes each connection after its current request. The end is waited for, but idle connections delay it for a short
time only.
"""

import asyncio
from pathlib import Path

import structlog

from beamlit_controller.standalone.admin import Admin, AdminError

log = structlog.stdlib.get_logger(__name__)

PERIOD = 0.5
IDLE_SECONDS = 30.0
"""Seconds that idle connections may delay the end: a client closes them at its next request, or never."""


async def drain(socket: Path, *, least: float, most: float) -> None:
    """Close connections after their current request, then wait until none is left, for `least` to `most` seconds."""
    clock, admin = asyncio.get_running_loop(), Admin(socket)
    began = clock.time()
    try:
        await admin.drain()
        while (spent := clock.time() - began) < most:
            if spent >= least and await _is_empty(admin, idle_counts=spent < IDLE_SECONDS):
                return
            await asyncio.sleep(PERIOD)
    except AdminError as error:
        # Envoy is not running, so there is nothing to drain.
        log.warning("gateway not drained", error=str(error))


async def _is_empty(admin: Admin, *, idle_counts: bool) -> bool:
    if await admin.active_requests() > 0:
        return False
    return not idle_counts or await admin.active_connections() == 0
