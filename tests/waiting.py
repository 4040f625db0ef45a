"""Waiting for the state of the world, with a deadline. What takes long is looked at less often: looking costs, too."""

import asyncio
import time
from collections.abc import Awaitable, Callable

SELDOM = 0.5
"""Seconds between two looks, at most."""
PART = 0.05
"""Part of the time waited so far that the next pause takes."""


async def eventually(
    reached: Callable[[], object | Awaitable[object]], *, within: float = 60, every: float = 0.02, what: str = ""
) -> None:
    """Wait until `reached` gives something true; AssertionError says what it gave last."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while True:
        given = reached()
        if isinstance(given, Awaitable):
            given = await given
        if given:
            return
        waited = loop.time() - began
        assert waited < within, f"not within {within} s: {what or reached}; last: {given!r}"
        await asyncio.sleep(_pause(waited, every))


def patiently(reached: Callable[[], object], *, within: float = 60, every: float = 0.1, what: str = "") -> None:
    """Wait as `eventually` does, where there is no loop."""
    began = time.monotonic()
    while not (given := reached()):
        waited = time.monotonic() - began
        assert waited < within, f"not within {within} s: {what or reached}; last: {given!r}"
        time.sleep(_pause(waited, every))


def _pause(waited: float, every: float) -> float:
    return max(every, min(PART * waited, SELDOM))
