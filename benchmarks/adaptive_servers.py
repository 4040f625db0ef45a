"""Replicas with slots and a queue each, first come, first served: what they do with the requests of one course."""

import heapq
import random
from collections import deque

from benchmarks.adaptive_plant import PREFILL, Choice


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

    def waiting(self) -> int:
        """Return how many requests wait for a slot."""
        return sum(map(len, self._queues[: self.ready]))

    def running(self) -> int:
        """Return how many requests have a slot."""
        return sum(self._running[: self.ready])

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
