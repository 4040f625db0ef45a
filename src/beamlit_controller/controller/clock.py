"""The clock for timestamps: it advances evenly, and follows the wall clock when that is set."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

PARTED = timedelta(seconds=1)
"""Maximum difference between the wall clock and the loop's clock; beyond it, the clock is anchored again."""


def _wall() -> datetime:
    return datetime.now(UTC)


class AnchoredClock:
    """Wall-clock time that runs as evenly as the event loop's monotonic clock, and is correct again after a step.

    It is the wall-clock time of the last anchor, advanced by the loop's clock. As long as the two stay within a second
    of each other, it never goes back, and the difference of two readings is the time that really passed. If they differ
    by more, because the machine slept or the clock was set, it is anchored to the wall clock again, and jumps by the
    step. Durations are therefore measured by the loop's clock, and what keeps times shifts them when `origin` changes.
    """

    def __init__(self, wall: Callable[[], datetime] = _wall) -> None:
        self._wall = wall
        self._anchor = wall()
        self._anchored = asyncio.get_running_loop().time()

    @property
    def origin(self) -> datetime:
        """Return the time at 0 of the event loop's clock, as of the last `now()`. Only a step changes it."""
        return self._anchor - timedelta(seconds=self._anchored)

    def now(self) -> datetime:
        """Return the current time, in UTC."""
        elapsed = asyncio.get_running_loop().time() - self._anchored
        now, wall = self._anchor + timedelta(seconds=elapsed), self._wall()
        if abs(wall - now) <= PARTED:
            return now
        self._anchor, self._anchored = wall, self._anchored + elapsed
        return wall
