"""The clock for timestamps: advances evenly, and follows the wall clock if that is set."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

PARTED = timedelta(seconds=1)
"""Maximum difference between the wall clock and the loop's clock before we anchor again."""


def _wall() -> datetime:
    return datetime.now(UTC)


class AnchoredClock:
    """Wall-clock time that runs as evenly as the event loop's monotonic clock, and is right again after a step.

    It is the wall-clock time of the last anchor, carried on by the loop's clock. As long as the two stay within a second
    of each other, it never goes back, and the difference of two readings is the time that really passed. When they part
    by more, because the machine slept or somebody set its clock, the wall clock is right: it is anchored anew, and may
    go forward or back by the step. What has to last a certain time is therefore measured by the loop's clock, and
    `controller.loop` moves the moments of a decision by each step.
    """

    def __init__(self, wall: Callable[[], datetime] = _wall) -> None:
        self._wall = wall
        self._anchor = wall()
        self._anchored = asyncio.get_running_loop().time()

    def now(self) -> datetime:
        """Return the current time, in UTC."""
        elapsed = asyncio.get_running_loop().time() - self._anchored
        now, wall = self._anchor + timedelta(seconds=elapsed), self._wall()
        if abs(wall - now) <= PARTED:
            return now
        self._anchor, self._anchored = wall, self._anchored + elapsed
        return wall
