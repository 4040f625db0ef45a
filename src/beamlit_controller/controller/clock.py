"""The time by which we decide."""

import asyncio
from datetime import UTC, datetime, timedelta


class SteadyClock:
    """Wall-clock time as of the start, carried on by the event loop's monotonic clock: a jump of the system's clock is not seen."""

    def __init__(self, start: datetime | None = None) -> None:
        self._start = start or datetime.now(UTC)
        self._started = asyncio.get_running_loop().time()

    def now(self) -> datetime:
        """Tell the time, in UTC."""
        return self._start + timedelta(seconds=asyncio.get_running_loop().time() - self._started)
