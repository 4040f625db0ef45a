"""The cap that somebody would write who knew the servers."""

import functools
import random
from collections import deque
from dataclasses import replace
from statistics import fmean

from benchmarks import adaptive_servers
from benchmarks.adaptive_plant import QUEUES, TARGET, Plant, always
from benchmarks.adaptive_servers import Servers, taking

OVERLOAD = 1.8
"""The load, in multiples of what the servers bear, under which caps are compared."""
REQUESTS, SHORTEST, ENDED = 40, 600, 2000
"""How long a cap is played: for so many times a request's time, at least so many seconds and requests; a fourth more for it to settle."""
HALVINGS = 10
KNOTS = 8
"""Caps are found for so many numbers of slots between none and all; those between are interpolated."""


def right(plant: Plant, at: float) -> float:
    """Return the cap per replica: every slot and as many as may wait, or under which another metric is at its target in the mean.

    The latter is found by playing caps under a steady overload.
    """
    slots = plant.slots_at(at)
    if plant.metric in QUEUES:
        return float(slots + TARGET)
    ready = max(1, round(plant.first * plant.replicas(at)))
    grain = max(1, round(plant.slots / KNOTS))
    below = max(1, slots // grain * grain)
    lower = _found(_alike(plant, ready, below))
    if below == slots:
        return lower
    return lower + (slots - below) / grain * (_found(_alike(plant, ready, below + grain)) - lower)


def _alike(plant: Plant, ready: int, slots: int) -> Plant:
    """Return the plant as it is at a time, without what makes no difference to the cap."""
    kept = Plant(always, first=ready, slots=slots, mean=plant.mean, service=plant.service)
    return replace(kept, choice=plant.choice, metric=plant.metric)


@functools.cache
def _found(plant: Plant) -> float:
    lowest, highest = 1 / plant.first, 3.0 * plant.slots + 10
    for _ in range(HALVINGS):
        middle = (lowest + highest) / 2
        if _mean_ratio(plant, middle) > 1:
            highest = middle
        else:
            lowest = middle
    return (lowest + highest) / 2


def _mean_ratio(plant: Plant, cap: float) -> float:
    """Return the mean of the metric under a cap, in multiples of its target."""
    draw = random.Random(plant.seed)
    servers = Servers(plant.choice, draw)
    servers.resize(plant.first, plant.slots, 0)
    lasting = round(max(SHORTEST, REQUESTS * plant.mean, ENDED * plant.mean / (plant.first * plant.slots)))
    rate = OVERLOAD * plant.first * plant.slots / plant.mean
    whole, part = divmod(cap * plant.first, 1)
    ratios: deque[float] = deque(maxlen=lasting)
    at = draw.expovariate(rate)
    for second in range(1, lasting + lasting // 4):
        while at < second:
            servers.finish(at)
            if servers.busy < whole or (servers.busy == whole and draw.random() < part):
                servers.take(at, taking(plant.service, plant.mean, draw))
            at += draw.expovariate(rate)
        servers.finish(second)
        ratios.append(adaptive_servers.ratio(servers, plant, second))
    return fmean(ratios)
