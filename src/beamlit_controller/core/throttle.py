"""Limits the percentage while the remote answers 429, and raises the limit again afterwards.

The limit falls at once and rises by a few points per round, like the congestion window of TCP. It is in force beside
the decision, which stays as it is.
"""

from beamlit_controller.core import remote_health
from beamlit_controller.core.remote_health import THROTTLED, Attempts

WHOLE = 100
LEAST = 1
"""Minimum percentage: without any requests, nobody would notice that the remote accepts them again."""

TOLERATED = 20
"""One in this many responses may be 429 without consequence, since a quota is found by reaching it."""
RISE = 5
"""Points by which the limit rises per round without 429."""


def most(previous: int, *, percentage: int, before: Attempts, after: Attempts) -> int:
    """Return the limit in percent, from the previous limit and the results since then.

    It falls in proportion to the rejected fraction of the requests, at most by half, and rises step by step.
    """
    fresh = remote_health.fresh(before, after)
    answers = sum(count for (result, _), count in fresh.items() if result == "answered")
    refused = fresh.get(("answered", THROTTLED), 0)
    if not answers:
        return previous
    if refused * TOLERATED <= answers:
        return min(WHOLE, previous + RISE)
    kept = max(answers - refused, answers / 2)
    return max(LEAST, int(min(previous, percentage) * kept / answers))
