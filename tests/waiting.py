"""Waiting for the state of the world, with a deadline."""

import asyncio
import time
from collections.abc import Awaitable, Callable


async def eventually(
    reached: Callable[[], object | Awaitable[object]], *, within: float = 60, every: float = 0.02, what: str = ""
) -> None:
    """Wait until `reached` gives something true; AssertionError says what it gave last."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while True:
        given = reached()
        if isinstance(given, Awaitable):
            given = await given
        if given:
            return
        assert loop.time() < deadline, f"not within {within} s: {what or reached}; last: {given!r}"
        await asyncio.sleep(every)


def patiently(reached: Callable[[], object], *, within: float = 60, every: float = 0.1, what: str = "") -> None:
    """Wait as `eventually` does, where there is no loop."""
    deadline = time.monotonic() + within
    while not (given := reached()):
        assert time.monotonic() < deadline, f"not within {within} s: {what or reached}; last: {given!r}"
        time.sleep(every)
