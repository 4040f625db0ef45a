"""A deadline for I/O that doesn't discard what was received while the event loop was held up."""

import asyncio
from types import TracebackType
from typing import Final, Self

HANDSHAKE: Final = 0.4
"""Part of a deadline that a TCP or a TLS handshake may take. The HTTP client leaves the socket open if it is cancelled in one of them."""
LATE: Final = 0.02
"""Seconds after which a timer is late: the loop was held up, or the process was paused."""
STEPS: Final = 5
STEP: Final = 0.02
"""A late deadline is extended by `STEPS` steps of `STEP` seconds, each of which is at least one iteration of the loop."""


class Deadline:
    """Raises TimeoutError if its block takes longer than `seconds`; used as `async with`, like `asyncio.timeout`.

    A loop that was held up handles overdue timers before the tasks that the data received meanwhile wakes up, so
    `asyncio.timeout` cancels a task whose response is already in the socket's buffer. A deadline that comes late is
    therefore extended once, by a tenth of a second.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(None)
        self._timer: asyncio.Handle | None = None

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        loop = asyncio.get_running_loop()
        due = loop.time() + self._seconds
        self._timer = loop.call_at(due, self._is_due, due)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cancel_timer()
        await self._timeout.__aexit__(kind, error, trace)

    def expire(self) -> None:
        """Expire immediately. Must be called within the block."""
        self._cancel_timer()
        if not self._timeout.expired():
            self._timeout.reschedule(asyncio.get_running_loop().time())

    def _is_due(self, due: float) -> None:
        if asyncio.get_running_loop().time() - due > LATE:
            self._extend(STEPS)
        else:
            self.expire()

    def _extend(self, steps: int) -> None:
        if steps == 0:
            self.expire()
        else:
            self._timer = asyncio.get_running_loop().call_later(STEP, self._extend, steps - 1)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
