"""Drains an Envoy without losing a request.

Envoy closes each connection after its current request. The end is waited for, but idle connections delay it for a short
time only.
"""

import asyncio
import contextlib
import functools
from pathlib import Path

import structlog

from beamlit_controller.standalone.admin import Admin, NotRunningError, answered

log = structlog.stdlib.get_logger(__name__)

PERIOD = 0.5
IDLE_SECONDS = 30.0
"""Seconds that idle connections may delay the end: a client closes them at its next request, or never."""


async def drain(socket: Path, *, least: float, most: float) -> None:
    """Close connections after their current request, then wait until none is left, for `least` to `most` seconds.

    Returns early if Envoy is not running. As long as it runs but gives no usable response, requests may be in flight.
    """
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(most):
                await _drained(Admin(socket), least)
    except NotRunningError as error:
        log.warning("gateway not drained", error=str(error))


async def _drained(admin: Admin, least: float) -> None:
    clock = asyncio.get_running_loop()
    began = clock.time()
    await answered(admin.drain, period=PERIOD)
    while True:
        spent = clock.time() - began
        empty = functools.partial(_is_empty, admin, idle_counts=spent < IDLE_SECONDS)
        if spent >= least and await answered(empty, period=PERIOD):
            return
        await asyncio.sleep(PERIOD)


async def _is_empty(admin: Admin, *, idle_counts: bool) -> bool:
    if await admin.active_requests() > 0:
        return False
    return not idle_counts or await admin.active_connections() == 0
