"""Limits the memory of what foreign servers send, such as responses that are being read, over all models and edges."""

from collections import Counter
from collections.abc import Hashable
from types import TracebackType
from typing import Final, Self

LIMIT: Final = 128 * 1024 * 1024
"""Maximum number of bytes held at once by all owners together."""


class HeldBytes:
    """Counts the bytes that each owner holds. An owner may hold at most as many as it leaves free for others.

    One owner alone gets half of the limit, two get a third each, and so on. Each gets `floor`, even beyond the limit.
    """

    def __init__(self, limit: int = LIMIT, *, floor: int = 0) -> None:
        self._limit = limit
        self._floor = floor
        self._held: Counter[Hashable] = Counter()

    @property
    def total(self) -> int:
        """Return the number of bytes held."""
        return self._held.total()

    def of(self, owner: Hashable) -> "Holding":
        """Return what one response of an owner holds, nothing at first."""
        return Holding(self, owner)

    def add(self, owner: Hashable, size: int) -> bool:
        """Return whether the owner may hold so many more bytes; if so, they are counted."""
        allowed = self._held[owner] + size <= max(self._floor, self._limit - self.total - size)
        if allowed:
            self._held[owner] += size
        return allowed

    def release(self, owner: Hashable, size: int) -> None:
        """Stop counting so many bytes of the owner."""
        self._held[owner] -= size
        if not self._held[owner]:
            del self._held[owner]


class Holding:
    """The bytes that one response holds; used as `with`, at the end of which they are released."""

    def __init__(self, held: HeldBytes, owner: Hashable) -> None:
        self._held = held
        self._owner = owner
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_back()

    def give_back(self) -> None:
        """Release all that is held."""
        self._held.release(self._owner, self._size)
        self._size = 0

    def take(self, size: int) -> bool:
        """Return whether so many more bytes may be held; if so, they are."""
        taken = self._held.add(self._owner, size)
        self._size += size if taken else 0
        return taken
