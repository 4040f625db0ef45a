"""How many local requests may be in flight per ready replica, learned from a metric that is late."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Learned:
    """What the next cap follows from."""

    changed_at: datetime | None = None
    """When the cap last changed."""


NOTHING = Learned()
"""Nothing was learned yet."""
