"""Rate-limits log lines that clients can trigger: each kind at most once a minute, shortened, with a count of those left out."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

log = structlog.stdlib.get_logger(__name__)

PERIOD = 60.0
LONGEST = 100


@dataclass(slots=True)
class _Kind:
    logged_at: float = float("-inf")
    unlogged: int = 0


class ThrottledLog:
    """Logs warnings of a few kinds; `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: dict[str, _Kind] = {}

    def warn(self, event: str, **said: str) -> None:
        """Log a warning, or count it if one of its kind was logged in the last minute."""
        kind = self._kinds.setdefault(event, _Kind())
        if self._clock() - kind.logged_at < PERIOD:
            kind.unlogged += 1
            return
        cut = {name: value[:LONGEST] for name, value in said.items()}
        log.warning(event, **cut, not_logged_before=kind.unlogged)
        kind.logged_at, kind.unlogged = self._clock(), 0
