"""Detects that the highest allowed share is not enough: a metric stays over its target with it."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction

LASTING = timedelta(seconds=60)
FALLING = Fraction(9, 10)
"""A metric that has fallen below so much of what it was is on its way to its target: a backlog takes time to drain."""
FALLEN = Fraction(1, 2)
"""The same once it was told, so that it isn't taken back for noise."""


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Since when a metric has been over its target at the highest share without falling, from which ratio, and whether for long."""

    since: datetime
    ratio: Fraction
    lasts: bool = False


def followed(before: Shortfall | None, ratio: Fraction, now: datetime) -> Shortfall:
    """Go on with a ratio above 1 that was measured with the highest share in force."""
    if before is None or ratio < before.ratio * (FALLEN if before.lasts else FALLING):
        return Shortfall(now, ratio)
    return replace(before, lasts=before.lasts or now - before.since >= LASTING)
