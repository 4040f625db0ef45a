"""Loads, and what becomes of servers, over time."""

import itertools
import math

from benchmarks.adaptive_plant import Load

HOUR = 3600


def step(high: float = 1.8, *, since: int = 600, until: int = 3000) -> Load:
    """Return a load that is high for a while."""
    return lambda at: high if since <= at < until else 0.6


def ramp(high: float = 2.3) -> Load:
    """Return a load that grows for half an hour and shrinks again."""
    return lambda at: 0.3 + (high - 0.3) * min(at, HOUR - at) / (HOUR / 2)


def day() -> Load:
    """Return a day's course in an hour."""
    return lambda at: 0.9 + 0.8 * math.sin(2 * math.pi * at / HOUR)


def bursts(lasting: int, *, every: int, high: float = 2.2) -> Load:
    """Return a load that is high for a short while, again and again."""
    return lambda at: high if at % every < lasting else 0.5


def stairs(heights: tuple[float, ...], *, lasting: int) -> Load:
    """Return a load of steps that last equally long."""
    return lambda at: heights[min(int(at) // lasting, len(heights) - 1)]


def staircase() -> Load:
    """Return a load that climbs and falls in steps of five minutes."""
    return stairs((0.4, 0.8, 1.1, 1.5, 2.0, 2.6, 1.7, 1.2, 0.9, 0.5, 1.4, 0.6), lasting=300)


def adversary(high: float = 2.5) -> Load:
    """Return a load that goes and comes back at the worst moments: for 20 s, 40 s, 75 s … by turns."""
    spans = itertools.cycle((20, 40, 75, 150, 300, 30, 60))
    edges = tuple(itertools.takewhile(lambda at: at < HOUR, itertools.accumulate(spans)))
    return lambda at: high if sum(edge <= at for edge in edges) % 2 else 0.3


LOADS: dict[str, Load] = {
    "step": step(),
    "ramp": ramp(),
    "day": day(),
    "bursts of 12 s": bursts(12, every=90, high=3.0),
    "bursts of 90 s": bursts(90, every=600),
    "bursts of minutes": bursts(240, every=900),
    "staircase": staircase(),
    "adversary": adversary(),
}


def halved(at: float) -> float:
    """Return capacity that is halved on the way."""
    return 1.0 if at < HOUR / 2 else 0.5


def grown(at: float) -> float:
    """Return capacity that grows by a quarter on the way."""
    return 1.0 if at < HOUR / 2 else 1.25


def halved_and_back(at: float) -> float:
    """Return capacity that is halved for twenty minutes."""
    return 0.5 if HOUR / 3 <= at < 2 * HOUR / 3 else 1.0


SHIFTS: dict[str, Load] = {"halved": halved, "grown": grown, "halved and back": halved_and_back}
