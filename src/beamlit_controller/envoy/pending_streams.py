"""Bounds new RTDS streams that have not sent their first message: how long each may wait, and how many there may be."""

from collections.abc import AsyncIterator
from typing import Generic, TypeVar

from beamlit_controller.controller.deadline import Deadline

T = TypeVar("T")

TIMEOUT = 5.0
MOST = 256


class PendingStreams(Generic[T]):
    """Waits for the first message of each stream. If too many wait, the oldest is closed: gateways send theirs immediately."""

    def __init__(self, timeout: float = TIMEOUT, most: int = MOST) -> None:
        self._timeout = timeout
        self._most = most
        self._waiting: dict[Deadline, None] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    async def first(self, messages: AsyncIterator[T]) -> T | None:
        """Return the first message; None if the stream ends before it. Raises TimeoutError if it takes too long."""
        async with Deadline(self._timeout) as deadline:
            self._waiting[deadline] = None
            try:
                self._make_room()
                return await anext(messages, None)
            finally:
                self._waiting.pop(deadline, None)

    def _make_room(self) -> None:
        if len(self._waiting) > self._most:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            oldest.expire()
