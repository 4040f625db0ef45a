"""Publishes changed keys to subscribers. A slow subscriber gets each changed key once, so no queue can grow."""

import asyncio
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Subscription(Generic[K]):
    """The keys that changed since the last read. Each key is held once, so it can't outgrow the number of keys."""

    def __init__(self) -> None:
        self._keys: dict[K, None] = {}
        self._any = asyncio.Event()

    def add(self, key: K) -> None:
        """Record that a key changed."""
        self._keys[key] = None
        self._any.set()

    async def keys(self) -> tuple[K, ...]:
        """Wait until at least one key changed; return all that did, the earliest first, and forget them."""
        await self._any.wait()
        self._any.clear()
        keys, self._keys = tuple(self._keys), {}
        return keys


class Changes(Generic[K]):
    """Publishes changes. A slow subscriber can't block the publisher."""

    def __init__(self) -> None:
        self._subscriptions: list[Subscription[K]] = []

    def publish(self, key: K) -> None:
        """Add a changed key to every subscription. Returns immediately."""
        for each in self._subscriptions:
            each.add(key)

    def subscribe(self) -> Subscription[K]:
        """Return a subscription to the changes from now on."""
        subscription: Subscription[K] = Subscription()
        self._subscriptions.append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription[K]) -> None:
        """End a subscription."""
        self._subscriptions.remove(subscription)
