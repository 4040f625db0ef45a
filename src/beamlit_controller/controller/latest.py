"""Passes on the latest value: a slow reader gets the current one, and setting an equal value wakes nobody."""

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """A value with any number of readers. No queue can grow: an unread value is replaced."""

    def __init__(self, value: T) -> None:
        self._value = value
        self._changed = asyncio.Event()

    @property
    def value(self) -> T:
        """Return the current value."""
        return self._value

    def set(self, value: T) -> None:
        """Replace the value, and wake waiting readers unless it is equal."""
        if value == self._value:
            return
        self._value = value
        woken, self._changed = self._changed, asyncio.Event()
        woken.set()

    async def changed_from(self, seen: T) -> T:
        """Wait until the value differs from `seen`, and return it."""
        while self._value == seen:
            await self._changed.wait()
        return self._value
