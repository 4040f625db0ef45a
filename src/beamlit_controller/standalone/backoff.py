"""Exponential backoff with jitter."""

import random

JITTER = 0.25


class Backoff:
    """Delays that double from `first` to `longest` seconds, with a jitter of a quarter."""

    def __init__(self, first: float, longest: float, *, at_once: bool = False) -> None:
        self._first = first
        self._longest = longest
        self._at_once = at_once
        self._tries = 0

    def reset(self) -> None:
        """Start again with the shortest delay."""
        self._tries = 0

    def next(self) -> float:
        """Return the delay in seconds after another failure; with `at_once` the first retry is immediate."""
        doubled = self._tries - (1 if self._at_once else 0)
        self._tries += 1
        if doubled < 0:
            return 0.0
        wait = min(self._first * 2.0 ** min(doubled, 30), self._longest)
        return wait * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - jitter, not security
