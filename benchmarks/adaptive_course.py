"""Model servers request by request, in virtual time: what a rule does that says how many of them local may have in flight.

Replicas have slots and a queue, first come, first served. A metric of them is seen late. A rule is asked every few seconds
for a share and a cap, and hears what a gateway would have counted.
"""

import itertools
import math
import random
from collections import deque
from dataclasses import replace
from datetime import timedelta
from statistics import fmean

from beamlit_controller.core.flow import Flow
from beamlit_controller.core.traffic import RequestCounters
from benchmarks import adaptive_servers
from benchmarks.adaptive_plant import (
    QUEUES,
    START,
    Plant,
    Result,
    Round,
    Rule,
    Setting,
)
from benchmarks.adaptive_right import right
from benchmarks.adaptive_servers import Servers, taking

SCALED_TO = 0.8
"""The demand that the autoscaler keeps, 1 being where offloading begins."""
NEAR = 0.9
"""With less than so much of the right cap in flight, and a slot free, a request is sent away needlessly."""
APART = 7
"""Seconds from the scrape of one replica to that of the next."""
SMOOTH = 15
"""Seconds that the metric is averaged over to tell whether it was over its target."""
STALE_AFTER = 90
"""The age in seconds up to which a query returns a value."""
MEMORY = 200
"""Seconds for which the metric is kept."""


def run(plant: Plant, rule: Rule) -> Result:
    """Play one course."""
    return _Course(plant, rule).played()


class _Course:
    """The gateway and the clock of one course."""

    def __init__(self, plant: Plant, rule: Rule) -> None:
        self._plant, self._rule = plant, rule
        self._random = random.Random(plant.seed)
        self._rate = plant.first * plant.slots / plant.mean
        self._servers = Servers(plant.choice, self._random)
        self._setting = Setting()
        self._result = Result(waits=self._servers.waits)
        self._looks: deque[tuple[float, ...]] = deque(maxlen=MEMORY)
        self._sent = self._overflowed = self._told = self._told_ms = 0
        self._began = 0
        self._starting: list[float] = []
        self._wishes: deque[int] = deque(maxlen=20)

    def played(self) -> Result:
        """Play until the time is over."""
        result, seconds = self._result, self._plant.seconds
        for second in range(1, seconds + 1):
            self._grow(second)
            self._tick(second)
            self._let_come(second, self._plant.load(second) * self._rate)
        result.over /= seconds
        result.far_over /= seconds
        result.replicas = self._servers.ready
        return result

    def _grow(self, at: int) -> None:
        started = self._plant.first + sum(start <= at for start in self._starting)
        self._servers.resize(max(1, round(started * self._plant.replicas(at))), self._plant.slots_at(at), at)

    def _let_come(self, second: int, rate: float) -> None:
        """Play the requests of one second."""
        gap, ends_at = self._random.expovariate, second + 1
        at = second + gap(rate) if rate > 0 else ends_at
        while at < ends_at:
            self._servers.finish(at)
            self._result.total += 1
            if self._leaves():
                self._sent += 1
                self._result.remote += 1
                self._result.needless += self._has_room(at)
            else:
                self._servers.take(at, taking(self._plant.service, self._plant.mean, self._random))
            at += gap(rate)
        self._servers.finish(ends_at)

    def _has_room(self, at: float) -> bool:
        servers, plant = self._servers, self._plant
        if not servers.any_free():
            return False
        return plant.metric in QUEUES or servers.busy < max(1, int(NEAR * right(plant, at) * servers.ready))

    def _leaves(self) -> bool:
        setting, draw = self._setting, self._random.random
        if not setting.share or (setting.share < 100 and draw() * 100 >= setting.share):
            return False
        if setting.cap is None:
            return True
        whole, part = divmod(max(setting.cap * self._servers.ready, 1.0), 1)
        full = self._servers.busy >= whole and (self._servers.busy > whole or draw() >= part)
        self._overflowed += full
        return full

    def _tick(self, at: int) -> None:
        result = self._result
        ratio = adaptive_servers.ratio(self._servers, self._plant, at)
        self._looks.append(adaptive_servers.ratios(self._servers, self._plant, ratio))
        result.ratios.append(ratio)
        result.far_over += ratio > 2
        lately = result.ratios[-SMOOTH:]
        result.over += sum(lately) > len(lately) * (1 + 1 / 50)
        if self._plant.scaler and at % 15 == 0:
            self._scale(at)
        if at % self._plant.period == 0:
            self._ask(at)

    def _ask(self, at: int) -> None:
        plant, result = self._plant, self._result
        since, until, seen = self._scraped(at) if plant.scrape else self._seen(at)
        flow, counted = self._flow(at), self._counted()
        self._began, self._told, self._told_ms = at, self._servers.ended, self._servers.first_bytes_ms
        self._sent = self._overflowed = 0
        ready, undated = self._servers.ready, plant.scrape > 0
        said = self._rule(Round(at, seen, since, until, flow, ready, counted, undated))
        result.changes += said.cap != self._setting.cap
        self._setting = replace(said, share=min(said.share, plant.most))
        result.caps.append(said.cap)

    def _seen(self, at: int) -> tuple[float, float, float | None]:
        """Return the latest window that is known, and the mean of what was to be seen in it."""
        until = (at - self._plant.delay) // self._plant.window * self._plant.window
        since = until - self._plant.window
        ratios = list(itertools.islice(reversed(self._result.ratios), at - until, at - since))
        return since, until, sum(ratios) / len(ratios) if ratios else None

    def _scraped(self, at: int) -> tuple[float, float, float | None]:
        """Return the time that a query's value may be from, and the mean of what was last scraped of each replica."""
        every, seed = self._plant.scrape, self._plant.seed
        ages = ((at - seed - APART * which) % every for which in range(self._servers.ready))
        known = [(self._looks[-1 - age], which) for which, age in enumerate(ages) if age < len(self._looks)]
        values = [looks[which % len(looks)] for looks, which in known]
        return at - STALE_AFTER, at, fmean(values) if values else None

    def _flow(self, at: int) -> Flow:
        since, until = (START + timedelta(seconds=each) for each in (self._began, at))
        served, busy = self._servers.ended - self._told, self._servers.busy
        ms = self._servers.first_bytes_ms - self._told_ms
        return Flow(since, until, busy, self._servers.peak(), served, self._sent, self._overflowed, served, ms)

    def _counted(self) -> RequestCounters:
        """Return all that was counted; Envoy counts a request, with its time to first byte, at its end."""
        ended = self._servers.ended
        return RequestCounters(
            local=ended,
            local_first_bytes=ended,
            local_first_byte_ms=self._servers.first_bytes_ms,
            share=self._result.remote,
            in_flight=self._servers.busy,
        )

    def _scale(self, at: int) -> None:
        """Follow the published demand as the HorizontalPodAutoscaler does: up in two minutes, down after five calm ones."""
        first = self._plant.first
        have = first + len(self._starting)
        usage = 1.0 if self._setting.demand is None else self._setting.demand / SCALED_TO
        wish = math.ceil(self._servers.ready * usage) if abs(usage - 1) > 0.1 else have
        self._wishes.append(max(first, min(4 * first, wish)))
        if self._wishes[-1] > have:
            self._starting.extend([at + 120.0] * (self._wishes[-1] - have))
        elif max(self._wishes) < have:
            del self._starting[max(self._wishes) - first :]
