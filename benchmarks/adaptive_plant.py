"""Model servers request by request, in virtual time: what a rule does that says how many of them local may have in flight.

Replicas have slots and a queue, first come, first served; a request goes to the one with the fewest in flight. A metric
of them is seen late. A rule is asked every few seconds for a share and a cap, and hears what a gateway would have counted.
"""

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from fractions import Fraction

from beamlit_controller.core.flow import Flow
from beamlit_controller.core.traffic import RequestCounters

START = datetime(2026, 6, 1, tzinfo=UTC)
SCALED_TO = 0.8
"""The demand that the autoscaler keeps, 1 being where offloading begins."""
TARGET = 2
"""Requests waiting per replica."""
SLOWER = 1.5
"""The target of a request's time, in multiples of what it takes without waiting."""
PREFILL = 0.2
"""Seconds from the start of a request to its first byte."""
FIRST_BYTE_TARGET = 1.0
"""The target of the time to first byte, in seconds."""
NEAR = 0.9
"""With less than so much of the right cap in flight, and a slot free, a request is sent away needlessly."""
SMOOTH = 15
"""Seconds that the metric is averaged over to tell whether it was over its target."""
LONGEST_MEMORY = 200

Load = Callable[[float], float]


class Metric(StrEnum):
    """What is read: requests waiting per replica, slots in use, the time that requests took, or that to their first byte."""

    QUEUE = "queue"
    SLOTS = "slots"
    LATENCY = "latency"
    FIRST_BYTE = "first byte"


class Service(StrEnum):
    """How long requests take."""

    EXPONENTIAL = "exponential"
    EVEN = "even"
    TWO_KINDS = "two kinds"


def always(_: float) -> float:
    """Give 1 at all times."""
    return 1.0


@dataclass(frozen=True, slots=True)
class Plant:
    """Servers, the requests that come, and how late the metric is seen. `load` is in multiples of what the first replicas bear.

    `capacity` scales the slots and `replicas` how many of the first replicas there are, over time.
    """

    load: Load
    first: int = 2
    slots: int = 8
    mean: float = 2.0
    service: Service = Service.EXPONENTIAL
    metric: Metric = Metric.QUEUE
    delay: int = 15
    window: int = 5
    period: int = 5
    capacity: Load = always
    replicas: Load = always
    scaler: bool = False
    seconds: int = 3600
    seed: int = 1
    most: int = 100
    """The percentage of requests that may leave."""

    def slots_at(self, at: float) -> int:
        """Give the slots of one replica."""
        return max(1, round(self.slots * self.capacity(at)))

    def right(self, at: float) -> float:
        """Give the cap per replica that keeps the metric at its target: what somebody who knew would write."""
        slots = self.slots_at(at)
        match self.metric:
            case Metric.QUEUE:
                return float(slots + TARGET)
            case Metric.SLOTS:
                return max(1.0, 0.9 * slots)
            case Metric.LATENCY:
                return SLOWER * slots
            case Metric.FIRST_BYTE:
                return slots + (FIRST_BYTE_TARGET - PREFILL) * slots / self.mean


@dataclass(frozen=True, slots=True)
class Setting:
    """What is in force at the gateway: the percentage that leaves or may leave, and the cap per replica; and the demand that is published."""

    share: int = 0
    cap: float | None = None
    demand: float | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """What a rule is told. `ratio` is 1 at the target; None while nothing was seen. `counted` is all that the gateway has counted."""

    at: float
    ratio: float | None
    since: float
    until: float
    flow: Flow
    ready: int
    counted: RequestCounters


Rule = Callable[[Round], Setting]


@dataclass(slots=True)
class Result:
    """What came of it."""

    total: int = 0
    remote: int = 0
    needless: int = 0
    over: float = 0.0
    far_over: float = 0.0
    waits: list[float] = field(default_factory=list)
    caps: list[float | None] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    turns: int = 0
    changes: int = 0
    replicas: int = 0

    @property
    def sent(self) -> float:
        """Give the fraction of all requests that went to the remote."""
        return self.remote / max(1, self.total)

    @property
    def wasted(self) -> float:
        """Give the fraction of all requests that went to the remote while a local slot was free."""
        return self.needless / max(1, self.total)

    def wait(self, part: float) -> float:
        """Give a quantile of the seconds that local requests waited for a slot."""
        ordered = sorted(self.waits)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def run(plant: Plant, rule: Rule) -> Result:
    """Play one course."""
    return _Course(plant, rule).played()


class _Course:
    """The servers, the gateway and the clock of one course."""

    def __init__(self, plant: Plant, rule: Rule) -> None:
        self._plant, self._rule = plant, rule
        self._random = random.Random(plant.seed)
        self._rate = plant.first * plant.slots / plant.mean
        self._events: list[tuple[float, int, int, float]] = [(0.0, 0, 0, 0.0), (1.0, 2, 0, 0.0)]
        self._running: list[int] = []
        self._queues: list[deque[tuple[float, float]]] = []
        self._ready = self._busy = 0
        self._slots = plant.slots_at(0.0)
        self._setting = Setting()
        self._result = Result()
        self._looks: deque[tuple[float, float]] = deque(maxlen=LONGEST_MEMORY)
        self._took: deque[tuple[float, float]] = deque(maxlen=LONGEST_MEMORY)
        self._served = self._sent = self._overflowed = self._peak = 0
        self._waited: dict[float, float] = {}
        self._first_bytes: deque[tuple[float, float]] = deque(maxlen=LONGEST_MEMORY)
        self._ended = self._ended_ms = self._left = 0
        self._began = 0.0
        self._starting: list[float] = []
        self._wishes: deque[int] = deque(maxlen=20)
        self._scaled = plant.first
        self._grow(0.0)

    def played(self) -> Result:
        """Play until the time is over."""
        kinds = (self._arrives, self._ends, self._ticks)
        while self._events[0][0] <= self._plant.seconds:
            at, kind, which, began = heapq.heappop(self._events)
            kinds[kind](at, which, began)
        self._result.over /= self._plant.seconds
        self._result.far_over /= self._plant.seconds
        self._result.replicas = self._ready
        return self._result

    def _grow(self, at: float) -> None:
        started = self._plant.first + sum(start <= at for start in self._starting)
        self._ready = max(1, round(started * self._plant.replicas(at)))
        while len(self._running) < self._ready:
            self._running.append(0)
            self._queues.append(deque())

    def _arrives(self, at: float, _: int, __: float) -> None:
        rate = self._plant.load(at) * self._rate
        gap = self._random.expovariate(rate) if rate > 0 else 1.0
        heapq.heappush(self._events, (at + gap, 0, 0, 0.0))
        if rate <= 0:
            return
        self._result.total += 1
        if self._leaves():
            self._result.remote += 1
            self._sent += 1
            self._result.needless += self._has_room(at)
            return
        which = self._least_busy()
        self._queues[which].append((at, self._taking()))
        self._busy += 1
        self._start(which, at)
        self._peak = max(self._peak, self._busy)

    def _least_busy(self) -> int:
        if self._ready == 1:
            return 0
        loads = [running + len(queue) for running, queue in zip(self._running, self._queues, strict=True)]
        return loads.index(min(loads[: self._ready]))

    def _has_room(self, at: float) -> bool:
        free = any(self._running[each] < self._slots for each in range(self._ready))
        queued = self._plant.metric is Metric.QUEUE
        return free and (queued or self._busy < max(1, int(NEAR * self._plant.right(at) * self._ready)))

    def _leaves(self) -> bool:
        setting = self._setting
        eligible = setting.share and self._random.random() * 100 < setting.share
        if not eligible or setting.cap is None:
            return bool(eligible)
        limit = max(setting.cap * self._ready, 1.0)
        limit = int(limit) + (self._random.random() < limit % 1)
        full = self._busy >= limit
        self._overflowed += full
        return full

    def _taking(self) -> float:
        mean, draw = self._plant.mean, self._random
        match self._plant.service:
            case Service.EXPONENTIAL:
                return draw.expovariate(1 / mean)
            case Service.EVEN:
                return mean * draw.uniform(0.8, 1.2)
            case Service.TWO_KINDS:
                return draw.expovariate(1 / (mean * (4.0 if draw.random() < 0.2 else 0.25)))

    def _start(self, which: int, at: float) -> None:
        queue = self._queues[which]
        while queue and self._running[which] < self._slots:
            came, taking = queue.popleft()
            self._running[which] += 1
            self._result.waits.append(at - came)
            self._waited[came] = at - came
            self._first_bytes.append((at, at - came + PREFILL))
            heapq.heappush(self._events, (at + taking, 1, which, came))

    def _ends(self, at: float, which: int, came: float) -> None:
        self._running[which] -= 1
        self._busy -= 1
        self._served += 1
        self._took.append((at, at - came))
        self._count(self._waited.pop(came) + PREFILL)
        self._start(which, at)

    def _count(self, first_byte: float) -> None:
        """Count a request as Envoy does: with its time to first byte, at its end."""
        self._ended += 1
        self._ended_ms += round(1000 * first_byte)

    def _ticks(self, at: float, _: int, __: float) -> None:
        heapq.heappush(self._events, (at + 1.0, 2, 0, 0.0))
        self._grow(at)
        self._slots = self._plant.slots_at(at)
        for which in range(self._ready):
            self._start(which, at)
        waiting = sum(len(self._queues[each]) for each in range(self._ready)) / self._ready
        ratio = self._ratio(at, waiting)
        self._looks.append((at, ratio))
        self._result.ratios.append(ratio)
        self._result.far_over += ratio > 2
        lately = list(itertools.islice(reversed(self._result.ratios), SMOOTH))
        self._result.over += sum(lately) / len(lately) > 1 + 1 / 50
        if self._plant.scaler and int(at) % 15 == 0:
            self._scale(at)
        if int(at) % self._plant.period == 0:
            self._ask(at)

    def _ratio(self, at: float, waiting: float) -> float:
        match self._plant.metric:
            case Metric.QUEUE:
                return waiting / TARGET
            case Metric.SLOTS:
                return sum(self._running[: self._ready]) / self._ready / self._slots / 0.9
            case Metric.LATENCY:
                lately = [took for ended, took in self._took if ended > at - max(10, self._plant.mean)]
                return sum(lately) / len(lately) / (SLOWER * self._plant.mean) if lately else 0.0
            case Metric.FIRST_BYTE:
                started = [took for began, took in self._first_bytes if began > at - SMOOTH]
                return sum(started) / len(started) / FIRST_BYTE_TARGET if started else 0.0

    def _ask(self, at: float) -> None:
        plant = self._plant
        until = (at - plant.delay) // plant.window * plant.window
        seen = [ratio for when, ratio in self._looks if until - plant.window < when <= until]
        flow = Flow(
            START + timedelta(seconds=self._began),
            START + timedelta(seconds=at),
            self._busy,
            self._peak,
            self._served,
            self._sent,
            self._overflowed,
        )
        self._left += self._sent
        counted = RequestCounters(
            local=self._ended,
            local_first_bodies=self._ended,
            local_first_body_ms=self._ended_ms,
            share=self._left,
            in_flight=self._busy,
        )
        self._began, self._peak = at, self._busy
        self._served = self._sent = self._overflowed = 0
        ratio = sum(seen) / len(seen) if seen else None
        said = self._rule(Round(at, ratio, until - plant.window, until, flow, self._ready, counted))
        if said.cap != self._setting.cap:
            self._result.changes += 1
        self._setting = replace(said, share=min(said.share, plant.most))
        self._result.caps.append(said.cap)

    def _scale(self, at: float) -> None:
        """Follow the published demand as the HorizontalPodAutoscaler does: up in two minutes, down after five calm ones."""
        have = self._plant.first + len(self._starting)
        usage = 1.0 if self._setting.demand is None else self._setting.demand / SCALED_TO
        wish = math.ceil(self._ready * usage) if abs(usage - 1) > 0.1 else have
        self._wishes.append(max(self._plant.first, min(4 * self._plant.first, wish)))
        if self._wishes[-1] > have:
            self._starting.extend([at + 120.0] * (self._wishes[-1] - have))
        elif max(self._wishes) < have:
            del self._starting[max(self._wishes) - self._plant.first :]


def exact(ratio: float) -> Fraction:
    """Give a ratio as a metric in thousandths would have it."""
    return Fraction(round(1000 * ratio), 1000)
