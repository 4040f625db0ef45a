"""What the demo does to the servers: their capacity, the questions asked, and the load in phases."""

from dataclasses import dataclass

from demo.engine import Capacity
from demo.load import Question
from demo.recorder import Phase

MODEL = "llama-3-8b"
LOCAL_SERVERS = 2
LOCAL = Capacity(slots=6, tokens_per_second=24, prefill_seconds=0.15)
REMOTE = Capacity(slots=48, tokens_per_second=24, prefill_seconds=0.3)
"""A remote has room for all, and is farther away."""

PROMPT = "Tell me in a few words where this request is answered, and why. " * 27
QUESTION = Question(model=MODEL, prompt=PROMPT, tokens=32)

FEWER_SLOTS = LOCAL.slots // 2
CALM_LOAD, FULL_LOAD, PEAK_LOAD, LAST_LOAD = 0.3, 1.0, 1.6, 0.12
"""Requests per second, as a part of what the local servers can answer at first."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The phases of a run, in order: first without offloading, then with it."""

    calm_without: Phase
    peak_without: Phase
    drain: Phase
    """No new requests, until the queues are empty; its `seconds` are the most that is waited for that."""
    calm_before: Phase
    rising: Phase
    peak: Phase
    halved: Phase
    """The same load on half of the slots."""
    calm_after: Phase

    @property
    def seconds(self) -> float:
        """Return the time that a run takes, about."""
        phases = (
            self.calm_without,
            self.peak_without,
            self.calm_before,
            self.rising,
            self.peak,
            self.halved,
            self.calm_after,
        )
        draining = (PEAK_LOAD - 1) * self.peak_without.seconds
        return sum(phase.seconds for phase in phases) + draining + BOOT_SECONDS


BOOT_SECONDS = 5.0
LONGEST_DRAIN_SECONDS = 60.0


def plan(scale: float) -> Plan:
    """Return the plan; `scale` 1 makes it about 90 s long."""
    calm, peak = CALM_LOAD * capacity(), PEAK_LOAD * capacity()
    return Plan(
        calm_without=Phase("calm-without", "low load", calm, 3 * scale, offloading=False),
        peak_without=Phase("peak-without", "above capacity", peak, 14 * scale, offloading=False),
        drain=Phase("drain", "queues empty", 0, LONGEST_DRAIN_SECONDS, offloading=False),
        calm_before=Phase("calm-before", "low load", calm, 4 * scale, offloading=True),
        rising=Phase("rising", "rising", FULL_LOAD * capacity(), 5 * scale, offloading=True),
        peak=Phase("peak", "above capacity", peak, 20 * scale, offloading=True),
        halved=Phase("halved", "slots halved", peak, 26 * scale, offloading=True),
        calm_after=Phase("calm-after", "low load again", LAST_LOAD * capacity(), 9 * scale, offloading=True),
    )


def capacity(slots: int = LOCAL.slots) -> float:
    """Return the requests per second that all local servers together can answer with so many slots each."""
    service_seconds = LOCAL.prefill_seconds + (QUESTION.tokens - 1) / LOCAL.tokens_per_second
    return LOCAL_SERVERS * slots / service_seconds
