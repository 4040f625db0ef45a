"""Reads how many requests a server processes concurrently, from a JSON page beside its metrics."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from beamlit_controller.core.metric_spec import PodsMetric, SlotsPage
from beamlit_controller.core.spec import Mode, OffloadSpec

AGAIN = timedelta(minutes=1)
"""How long to wait before asking a server again that has not reported its slots."""
MOST = 100_000
LARGEST = 256 * 1024
"""Maximum size in bytes of the page."""


@dataclass(slots=True)
class ReportedSlots:
    """The number of slots that each server of a model reported, and when it was last asked."""

    numbers: dict[str, int] = field(default_factory=dict)
    asked_at: dict[str, datetime] = field(default_factory=dict)

    def is_due(self, endpoint: str, at: datetime) -> bool:
        """Return whether to ask a server: it has not reported yet, and was not asked lately."""
        if endpoint in self.numbers:
            return False
        asked_at = self.asked_at.get(endpoint)
        # A time in the future is from before the clock was set back.
        return asked_at is None or not timedelta(0) <= at - asked_at < AGAIN

    def keep(self, endpoints: Iterable[str]) -> None:
        """Forget all other servers."""
        for endpoint in self.asked_at.keys() - set(endpoints):
            del self.asked_at[endpoint]
            self.numbers.pop(endpoint, None)

    def fewest(self) -> int | None:
        """Return the lowest number that a server has reported; None if none has."""
        return min(self.numbers.values(), default=None)


def page(spec: OffloadSpec) -> SlotsPage | None:
    """Return the page on which a model's servers report their slots; None if the model has no cap to learn."""
    if spec.behavior.mode is not Mode.ADAPTIVE:
        return None
    return next((each.slots for each in spec.metrics if isinstance(each, PodsMetric) and each.slots is not None), None)


def read(body: bytes, member: str) -> int | None:
    """Read a member of a JSON object; None if it is not a positive integer."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    number = found.get(member) if isinstance(found, dict) else None
    return number if type(number) is int and 0 < number <= MOST else None
