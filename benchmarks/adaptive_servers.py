"""Replicas with slots and a queue each, first come, first served: what they do with the requests of one course."""

import heapq
import random
from collections import deque

from benchmarks.adaptive_plant import FIRST_BYTE_TARGET, FULL, PREFILL, SLOWER, TARGET, Choice, Metric, Plant, Service

SMOOTH = 15
"""Seconds that times to first byte are averaged over."""
SPREAD = 1.2
"""The standard deviation of the logarithm of a request's time, where a few take very long."""


def taking(service: Service, mean: float, draw: random.Random) -> float:
    """Draw how many seconds a request takes."""
    match service:
        case Service.EXPONENTIAL:
            return draw.expovariate(1 / mean)
        case Service.EVEN:
            return mean * draw.uniform(0.8, 1.2)
        case Service.TWO_KINDS:
            return draw.expovariate(1 / (mean * (4.0 if draw.random() < 0.2 else 0.25)))
        case Service.LONG_TAIL:
            return mean * draw.lognormvariate(-SPREAD * SPREAD / 2, SPREAD)


class Servers:
    """The replicas. Times are seconds; a request is the pair of when it came and how long it takes."""

    def __init__(self, choice: Choice, randomness: random.Random) -> None:
        self._choice, self._random = choice, randomness
        self._running: list[int] = []
        self._held: list[int] = []
        self._queues: list[deque[tuple[float, float]]] = []
        self._ends: list[tuple[float, int, float, float]] = []
        self._peak = self._next = 0
        self.ready = self.slots = self.busy = self.ended = self.first_bytes_ms = 0
        self.waits: list[float] = []
        self.took: deque[tuple[float, float]] = deque()
        self.first_bytes: deque[tuple[float, float]] = deque()

    def resize(self, ready: int, slots: int, at: float) -> None:
        """Have so many replicas with so many slots each; one that goes finishes what it has."""
        while len(self._running) < ready:
            self._running.append(0)
            self._held.append(0)
            self._queues.append(deque())
        grown = slots > self.slots
        self.ready, self.slots = ready, slots
        if grown:
            for which in range(ready):
                self._start(which, at)

    def take(self, at: float, taking: float) -> None:
        """Take a request."""
        which = self._chosen()
        self._held[which] += 1
        self.busy += 1
        self._peak = max(self._peak, self.busy)
        self._queues[which].append((at, taking))
        self._start(which, at)

    def finish(self, until: float) -> None:
        """Finish what ends until then."""
        ends = self._ends
        while ends and ends[0][0] <= until:
            at, which, came, waited = heapq.heappop(ends)
            self._running[which] -= 1
            self._held[which] -= 1
            self.busy -= 1
            self.ended += 1
            self.first_bytes_ms += round(1000 * (waited + PREFILL))
            self.took.append((at, at - came))
            if self._queues[which]:
                self._start(which, at)

    def any_free(self) -> bool:
        """Return whether a slot is free."""
        return min(self._running[: self.ready]) < self.slots

    def waiting_on_each(self) -> tuple[int, ...]:
        """Return how many requests wait for a slot on each replica."""
        return tuple(map(len, self._queues[: self.ready]))

    def running_on_each(self) -> tuple[int, ...]:
        """Return how many requests have a slot on each replica."""
        return tuple(self._running[: self.ready])

    def peak(self) -> int:
        """Return the most that was in flight since it was last asked."""
        peak, self._peak = self._peak, self.busy
        return peak

    def _chosen(self) -> int:
        ready, held = self.ready, self._held
        if ready == 1:
            return 0
        match self._choice:
            case Choice.LEAST:
                return held.index(min(held[:ready]), 0, ready)
            case Choice.TWO:
                one, other = self._random.randrange(ready), self._random.randrange(ready)
                return one if held[one] <= held[other] else other
            case Choice.NEXT:
                self._next = (self._next + 1) % ready
                return self._next

    def _start(self, which: int, at: float) -> None:
        queue = self._queues[which]
        while queue and self._running[which] < self.slots:
            came, taking = queue.popleft()
            waited = at - came
            self._running[which] += 1
            self.waits.append(waited)
            self.first_bytes.append((at, waited + PREFILL))
            heapq.heappush(self._ends, (at + taking, which, came, waited))


def ratio(servers: Servers, plant: Plant, at: float) -> float:
    """Return what the plant's metric is now, in multiples of its target."""
    match plant.metric:
        case Metric.WAITING | Metric.QUEUE:
            return sum(servers.waiting_on_each()) / servers.ready / TARGET
        case Metric.SLOTS:
            return sum(servers.running_on_each()) / servers.ready / servers.slots / FULL
        case Metric.LATENCY:
            return _mean(servers.took, at - max(10, plant.mean)) / (SLOWER * plant.mean)
        case Metric.FIRST_BYTE | Metric.FIRST_BYTE_QUERY | Metric.FIRST_BYTE_NAMED:
            return _mean(servers.first_bytes, at - SMOOTH) / FIRST_BYTE_TARGET
        case Metric.FIRST_BYTE_P95:
            return _p95(servers.first_bytes, at - SMOOTH) / FIRST_BYTE_TARGET


def ratios(servers: Servers, plant: Plant, ratio: float) -> tuple[float, ...]:
    """Return what the plant's metric is on each replica; only the ratio where no replica has a value of its own."""
    match plant.metric:
        case Metric.WAITING | Metric.QUEUE:
            return tuple(waiting / TARGET for waiting in servers.waiting_on_each())
        case Metric.SLOTS:
            return tuple(running / servers.slots / FULL for running in servers.running_on_each())
        case _:
            return (ratio,)


def _mean(seen: deque[tuple[float, float]], since: float) -> float:
    """Return the mean of the times since then, and forget the earlier ones."""
    _forget(seen, since)
    return sum(took for _, took in seen) / len(seen) if seen else 0.0


def _p95(seen: deque[tuple[float, float]], since: float) -> float:
    """Return the 95th percentile of the times since then, and forget the earlier ones."""
    _forget(seen, since)
    ordered = sorted(took for _, took in seen)
    return ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))] if ordered else 0.0


def _forget(seen: deque[tuple[float, float]], since: float) -> None:
    while seen and seen[0][0] <= since:
        seen.popleft()
