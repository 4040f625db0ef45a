"""Model servers, the requests that come, what a rule is asked and what came of it: the values of the closed loop."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from fractions import Fraction

from beamlit_controller.core.flow import Flow
from beamlit_controller.core.traffic import RequestCounters

START = datetime(2026, 6, 1, tzinfo=UTC)
FULL = 0.9
"""The target of the slots in use."""
TARGET = 2
"""Requests waiting per replica."""
SLOWER = 1.5
"""The target of a request's time, in multiples of what it takes without waiting."""
PREFILL = 0.2
"""Seconds from the start of a request to its first byte."""
FIRST_BYTE_TARGET = 1.0
"""The target of the time to first byte, in seconds."""

Load = Callable[[float], float]


class Metric(StrEnum):
    """What is read: a queue, slots in use, the time that requests took, or that to their first byte.

    A queue may be known to count the requests that wait on each replica, as with a preset, or be any metric that grows with them. The time
    to first byte is counted by the gateways when a request ends, or is a query's result: a mean or the 95th percentile. A query's name may
    tell that it is one, in seconds.
    """

    WAITING = "waiting"
    QUEUE = "queue"
    SLOTS = "slots"
    LATENCY = "latency"
    FIRST_BYTE = "first byte"
    FIRST_BYTE_QUERY = "first byte by query"
    FIRST_BYTE_NAMED = "first byte by name"
    FIRST_BYTE_P95 = "first byte p95 by name"


QUEUES = (Metric.WAITING, Metric.QUEUE)


class Service(StrEnum):
    """How long requests take."""

    EXPONENTIAL = "exponential"
    EVEN = "even"
    TWO_KINDS = "two kinds"
    LONG_TAIL = "long tail"


class Choice(StrEnum):
    """Which replica a request goes to: the one with the fewest in flight, the better of two, or the next one."""

    LEAST = "least"
    TWO = "two"
    NEXT = "next"


def always(_: float) -> float:
    """Return 1 at all times."""
    return 1.0


@dataclass(frozen=True, slots=True)
class Plant:
    """Servers, the requests that come, and how late the metric is seen. `load` is in multiples of what the first replicas bear.

    `capacity` scales the slots and `replicas` how many of the first replicas there are, over time. A metric is a mean over `window`, known
    `delay` seconds late. With `scrape`, it is what a query returns of the last scrape, so many seconds apart, whose age nobody tells.
    """

    load: Load
    first: int = 2
    slots: int = 8
    mean: float = 2.0
    service: Service = Service.EXPONENTIAL
    choice: Choice = Choice.LEAST
    metric: Metric = Metric.QUEUE
    delay: int = 15
    window: int = 5
    period: int = 5
    scrape: int = 0
    capacity: Load = always
    replicas: Load = always
    scaler: bool = False
    seconds: int = 3600
    seed: int = 1
    most: int = 100
    """The percentage of requests that may leave."""

    def slots_at(self, at: float) -> int:
        """Return the slots of one replica."""
        return max(1, round(self.slots * self.capacity(at)))


@dataclass(frozen=True, slots=True)
class Setting:
    """What is in force at the gateway: the percentage that leaves or may leave, and the cap per replica; and the demand that is published."""

    share: int = 0
    cap: float | None = None
    demand: float | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """What a rule is told. `ratio` is 1 at the target; None while nothing was seen. `counted` is all that the gateway has counted.

    An `undated` ratio may be from any time since `since`.
    """

    at: float
    ratio: float | None
    since: float
    until: float
    flow: Flow
    ready: int
    counted: RequestCounters
    undated: bool = False


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
        """Return the fraction of all requests that went to the remote."""
        return self.remote / max(1, self.total)

    @property
    def wasted(self) -> float:
        """Return the fraction of all requests that went to the remote while a local slot was free."""
        return self.needless / max(1, self.total)

    def wait(self, part: float) -> float:
        """Return a quantile of the seconds that local requests waited for a slot."""
        ordered = sorted(self.waits)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def exact(ratio: float) -> Fraction:
    """Return a ratio as a metric in thousandths would have it."""
    return Fraction(round(1000 * ratio), 1000)
