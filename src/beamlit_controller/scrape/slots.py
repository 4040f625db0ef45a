"""Reads how many requests a server processes concurrently, from a JSON page beside its metrics."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from beamlit_controller.core.metric_spec import PodsMetric, SlotsPage
from beamlit_controller.core.spec import Mode, OffloadSpec

AGAIN = timedelta(minutes=1)
"""How long to wait before asking a server again: it may be restarted with another number of slots at the same address."""
KEPT = timedelta(minutes=5)
"""How long a number counts if the server does not report it again."""
MOST = 100_000
LARGEST = 256 * 1024
"""Maximum size in bytes of the page."""


@dataclass(slots=True)
class ReportedSlots:
    """The number of slots that each server of a model reported, when it did so, and when it was last asked."""

    numbers: dict[str, int] = field(default_factory=dict)
    reported_at: dict[str, datetime] = field(default_factory=dict)
    asked_at: dict[str, datetime] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)

    def is_due(self, endpoint: str, at: datetime) -> bool:
        """Return whether to ask a server: it answers, and was not asked lately."""
        return endpoint not in self.silent and not _is_within(AGAIN, self.asked_at.get(endpoint), at)

    def note(self, endpoint: str, *, answers: bool) -> None:
        """Note whether a server answers. After a silence it may be another process, which is asked at once."""
        if answers:
            self.silent.discard(endpoint)
        else:
            self._forget(endpoint)
            self.silent.add(endpoint)

    def report(self, endpoint: str, number: int | None, at: datetime) -> None:
        """Keep what a server reported. If it reported nothing, its last number counts for a while."""
        if number is not None:
            self.numbers[endpoint], self.reported_at[endpoint] = number, at
        elif not _is_within(KEPT, self.reported_at.get(endpoint), at):
            self.numbers.pop(endpoint, None)
            self.reported_at.pop(endpoint, None)

    def keep(self, endpoints: Iterable[str]) -> None:
        """Forget all other servers."""
        for endpoint in (self.asked_at.keys() | self.silent) - set(endpoints):
            self._forget(endpoint)
            self.silent.discard(endpoint)

    def fewest(self) -> int | None:
        """Return the lowest number that a server has reported; None if none has."""
        return min(self.numbers.values(), default=None)

    def _forget(self, endpoint: str) -> None:
        for known in (self.numbers, self.reported_at, self.asked_at):
            known.pop(endpoint, None)


def _is_within(span: timedelta, since: datetime | None, at: datetime) -> bool:
    # A time in the future is from before the clock was set back.
    return since is not None and timedelta(0) <= at - since < span


def path_of(page: SlotsPage, metrics: str) -> str:
    """Return the path of the page of slots, which is beside that of the metrics.

    >>> path_of(SlotsPage("/props", "total_slots"), "/prefix/metrics")
    '/prefix/props'
    """
    return metrics.rpartition("/")[0] + page.path


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
