"""The data of the page's chart: a model's percentage and highest ratio per minute over the last hours, in memory."""

from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from beamlit_controller.core.cycle import Cycle

MINUTES = 360
"""Number of minutes kept. With a thousand models this takes some tens of megabytes."""
STEP = timedelta(minutes=1)
"""How far the clock may go back before the minutes that are then in the future are dropped."""


@dataclass(frozen=True, slots=True)
class HistoryMinute:
    """One minute: the percentage at its end, its highest ratio of any metric, and the fraction of requests that left.

    Unknown values are None.
    """

    begin: datetime
    percentage: int
    ratio: float | None
    sent: float | None = None


class ShareHistory:
    """The last minutes of one model."""

    def __init__(self) -> None:
        self._minutes: deque[HistoryMinute] = deque(maxlen=MINUTES)

    def record(self, cycle: Cycle, sent: float | None = None) -> None:
        """Add a round to its minute; if the clock went back a little, to the last minute.

        After a larger step, such as after a start with a clock that was ahead, the minutes in the future are dropped.
        """
        ratio = None if cycle.verdict.ratio is None else float(cycle.verdict.ratio)
        now = HistoryMinute(cycle.at.replace(second=0, microsecond=0), cycle.decision.percentage, ratio, sent)
        if self._minutes and self._minutes[-1].begin - now.begin > STEP:
            while self._minutes and self._minutes[-1].begin > now.begin:
                self._minutes.pop()
        last = self._minutes[-1] if self._minutes else None
        if last is not None and now.begin <= last.begin:
            self._minutes[-1] = replace(now, begin=last.begin, ratio=_highest(last.ratio, ratio))
        else:
            self._minutes.append(now)

    @property
    def minutes(self) -> tuple[HistoryMinute, ...]:
        """Return the minutes, oldest first; minutes without a round are left out."""
        return tuple(self._minutes)


def _highest(one: float | None, other: float | None) -> float | None:
    known = [each for each in (one, other) if each is not None]
    return max(known, default=None)
