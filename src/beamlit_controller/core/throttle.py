"""A remote that answers 429 gets less: the most that may be offloaded, lowered while it says so and raised again after."""

from beamlit_controller.core import remote_health
from beamlit_controller.core.remote_health import THROTTLED, Attempts

WHOLE = 100
LEAST = 1
"""Points that go on being offloaded: without any, nobody would hear that the remote takes requests again."""

TOLERATED = 20
"""One in so many answers may be 429 without a consequence: quotas are met by touching them."""
RISE = 5
"""Points that the most rises by in a round without."""


def most(previous: int, *, percentage: int, before: Attempts, after: Attempts) -> int:
    """Give the most percent that may be offloaded, from the most before and what the gateways counted in between.

    It falls in proportion to what was refused, from what was really sent, at most by half; it rises step by step.
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
