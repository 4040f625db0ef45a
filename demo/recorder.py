"""The account of a run: every request, what was seen once a second, every change of the share, and the phases.

All times are seconds since the run began; a span of time has its beginning, not its end.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from statistics import fmean

SMOOTHED_TICKS = 3


class Stopwatch:
    """The time of the run, in seconds, from when the stopwatch is made."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def seconds(self) -> float:
        """Tell the seconds since then."""
        return time.monotonic() - self._began


class Side(StrEnum):
    """Who answered a request, as `x-offload-served-by` says it."""

    LOCAL = "local"
    REMOTE = "remote"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the run with one load: `title` says it to people, `rate` is requests per second."""

    name: str
    title: str
    rate: float
    seconds: float
    offloading: bool
    """Whether the requests go through the gateway, or straight to the local servers."""

    def __str__(self) -> str:
        way = "through the gateway" if self.offloading else "straight to the local servers"
        return f"{self.title}: {self.rate:.1f} requests/s {way}" if self.rate else self.title


@dataclass(frozen=True, slots=True)
class Begun:
    """A phase, and when it began."""

    phase: Phase
    at: float


@dataclass(frozen=True, slots=True)
class Request:
    """One request that has ended: due at `at`; its latencies count from then. `failure` is empty when all of it came."""

    phase: str
    at: float
    side: Side
    first_token: float | None
    total: float
    failure: str = ""

    @property
    def ended(self) -> float:
        """Return when it ended."""
        return self.at + self.total


@dataclass(frozen=True, slots=True)
class State:
    """What the controller says of the model: `ratio` and `demand` are None where it has none."""

    percentage: int
    reason: str
    message: str
    ratio: float | None = None
    cap: float | None = None
    """How many requests each local server may have in flight; None while nothing limits them."""


@dataclass(frozen=True, slots=True)
class Spending:
    """What the controller says that a remote answered and cost; `budget` is the used part in percent, None without one."""

    remote: str
    requests: int
    tokens: int
    cost: str
    budget: int | None = None
    is_spent: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """A new cap of the requests in flight per local server, and why; None is no cap."""

    at: float
    before: float | None
    after: float | None
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Tick:
    """What was seen at one moment: requests per second since the tick before (come, and finished by each side), and more."""

    at: float
    came: float
    local: float
    remote: float
    waiting: int | None
    """Requests in the queues of the local servers; None where they did not tell."""
    p50: float | None
    """Seconds to the first token, over the last few seconds; None where no first token came."""
    p95: float | None
    state: State | None
    """None while there is no controller."""
    capacity: float = 0.0
    """Requests per second that the local servers can answer."""

    @property
    def sent(self) -> float | None:
        """Return the part of the answers, in percent, that the remote gave; None where nobody answered."""
        answered = self.local + self.remote
        return 100 * self.remote / answered if answered else None


@dataclass(slots=True)
class Recorder:
    """The account, as it grows."""

    capacity: float
    """Requests per second that the local servers can answer."""
    begun: list[Begun] = field(default_factory=list)
    came: list[float] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    ticks: list[Tick] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    spending: tuple[Spending, ...] = ()
    in_flight: int = 0

    @property
    def phase(self) -> Phase | None:
        """Return the phase that runs."""
        return self.begun[-1].phase if self.begun else None

    def served(self, side: Side) -> int:
        """Count the requests that one side answered in full."""
        return sum(1 for request in self.requests if request.side is side and not request.failure)

    def failures(self) -> tuple[Request, ...]:
        """Return the requests that failed."""
        return tuple(request for request in self.requests if request.failure)


def smoothed(ticks: Sequence[Tick]) -> list[Tick]:
    """Return the ticks with requests per second as the mean of a few ticks around each: requests come at random."""
    half = SMOOTHED_TICKS // 2
    around = (ticks[max(0, index - half) : index + half + 1] for index in range(len(ticks)))
    return [
        replace(
            tick,
            came=fmean(near.came for near in nearby),
            local=fmean(near.local for near in nearby),
            remote=fmean(near.remote for near in nearby),
        )
        for tick, nearby in zip(ticks, around, strict=True)
    ]


def percentile(values: Iterable[float], percent: float) -> float | None:
    """Return the smallest value that so many percent of all values do not exceed; None of none."""
    ordered: Sequence[float] = sorted(values)
    if not ordered:
        return None
    return ordered[max(0, -int(-len(ordered) * percent // 100) - 1)]


def first_tokens(requests: Iterable[Request], since: float, until: float) -> list[float]:
    """Return the time to first token of the requests whose first token came between two moments."""
    return [
        request.first_token
        for request in requests
        if request.first_token is not None and since < request.at + request.first_token <= until
    ]
