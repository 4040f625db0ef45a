"""Holds up the event loop, as a callback that takes long or a stopped process does, without waiting for it."""

import asyncio

from fakes import http


def hold_up(seconds: float) -> None:
    """Advance the running loop's clock by these seconds at once: all timers within them are overdue together."""
    loop = asyncio.get_running_loop()
    time = loop.time
    loop.time = lambda: time() + seconds


def after(respond: http.Respond, seconds: float) -> http.Respond:
    """Answer, and hold up the loop before anybody can read the answer."""

    async def answer_first(request: http.Request, writer: asyncio.StreamWriter) -> None:
        await respond(request, writer)
        hold_up(seconds)

    return answer_first
