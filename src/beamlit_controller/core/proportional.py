"""The share that keeps a metric at its target, in whole percent, from the demand that was seen.

It rises to what is wanted and a little more, so that a load which grows slowly isn't followed point by point. It falls
carefully at first and faster while nothing speaks against it, because below saturation a queue is as empty as it is
without any load: only a lower share tells the one from the other.
"""

import math
from fractions import Fraction

from beamlit_controller.core.spec import Behavior

MOST = 95
"""A few requests stay, or nothing could be seen of demand."""
RISE = 20
FALL = 10
"""The first step down; each that follows may be twice as large. What is less than this too much stays."""
SPARE = 5
"""So many points more than are wanted when the share rises."""


def most(behavior: Behavior) -> int:
    """Give the highest share."""
    return min(behavior.percentage, MOST)


def raised(share: int, demand: Fraction, behavior: Behavior, *, known: int = 0) -> int:
    """Give the share above this one that a demand above the target wants; up to a `known` one it rises in one go."""
    wanted = math.ceil(100 * (1 - 1 / demand)) + SPARE
    step = min(max(RISE, known - share), behavior.engage.step_percentage)
    return min(max(wanted, share + 1), share + step, most(behavior))


def lowered(share: int, demand: Fraction, behavior: Behavior, *, fall: int) -> int:
    """Give the share that is enough for a demand, at most `fall` below this one; the same one if that is hardly less."""
    enough = _enough(demand, 1 - Fraction(behavior.release.tolerance))
    if enough and share - enough < FALL:
        return share
    return max(enough, share - min(fall, behavior.release.step_percentage))


def _enough(demand: Fraction, aim: Fraction) -> int:
    """Give the share at which the metric would be at `aim`, 1 being the target."""
    return max(0, math.ceil(100 * (1 - aim / demand))) if demand > 0 else 0
