"""Detects a shortfall: a metric stays over its target although the highest allowed share is in force."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction

LASTING = timedelta(seconds=60)
FALLING = Fraction(9, 10)
"""A metric that has fallen below this fraction of its initial ratio is approaching its target: a backlog takes time to drain."""
FALLEN = Fraction(1, 2)
"""The same fraction once the shortfall has been reported, so that noise doesn't end it."""


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Since when a metric has been over its target at the highest share without falling, from which ratio, and whether for long."""

    since: datetime
    ratio: Fraction
    lasts: bool = False


def followed(before: Shortfall | None, ratio: Fraction, now: datetime) -> Shortfall:
    """Update the shortfall by a ratio above 1 that was measured with the highest share in force."""
    if before is None or ratio < before.ratio * (FALLEN if before.lasts else FALLING):
        return Shortfall(now, ratio)
    return replace(before, lasts=before.lasts or now - before.since >= LASTING)
