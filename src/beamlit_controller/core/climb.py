"""Where the raises of a cap began, as a value."""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Climb:
    """A cap from which it was raised, and what was observed under it: the mean number in flight and ratio, and the completions.

    `ended` is the number of completions, and `rate` that per second and replica. `flat` is true once raises had no effect.
    """

    cap: Fraction
    in_flight: Fraction
    ratio: Fraction
    ended: int
    rate: Fraction
    flat: bool = False
