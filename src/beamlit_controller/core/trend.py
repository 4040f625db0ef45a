"""Detects whether the metric with the highest ratio is falling by itself, from one sample to the next."""

from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from beamlit_controller.core.verdict import Assessed

LESS = Fraction(98, 100)
"""A sample below this fraction of the previous one counts as falling."""


@dataclass(frozen=True, slots=True)
class Trend:
    """The highest ratio of the last sample, when that sample ended, and whether it is below the previous one."""

    ratio: Fraction
    until: datetime
    falling: bool = False


def followed(trend: Trend | None, worst: Assessed | None) -> Trend | None:
    """Update the trend by the metric with the highest ratio, if its sample is new."""
    if worst is None:
        return trend
    if trend is None:
        return Trend(worst.ratio, worst.until)
    return Trend(worst.ratio, worst.until, worst.ratio < LESS * trend.ratio) if worst.until > trend.until else trend
