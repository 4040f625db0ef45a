"""A pool of servers whose metric the share itself changes: the closed loop that decisions are made in, in virtual time.

Load is in multiples of what the first replicas bear at the metric's target. Three kinds of metric: CPU-like (proportional
to the load, and not above twice the target), queue-like (nothing below saturation, and without it a backlog that grows),
latency-like (never below half its target, steep near saturation). The autoscaler adds replicas as the
HorizontalPodAutoscaler does, which take their time to load the model.
"""

import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from fractions import Fraction

from beamlit_controller.core import decision
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.metric_spec import ExternalMetric, SeriesSelector, Value
from beamlit_controller.core.spec import Behavior, Mode, ModelKey, OffloadSpec
from beamlit_controller.core.verdict import Assessed, Current, Judgement, Verdict

START = datetime(2026, 6, 1, tzinfo=UTC)
PERIOD = 5
"""Seconds between two decisions."""
THREE_HOURS = 10_800
REQUESTS = 8
"""Requests per second that the first replicas bear together at the metric's target."""
METRIC = ExternalMetric(SeriesSelector("load"), Value(1000))

PROPORTIONAL = Behavior(percentage=95, mode=Mode.PROPORTIONAL)
FIXED = Behavior(percentage=60)
WHOLE = Behavior(percentage=100)

Load = Callable[[float], float]


class Kind(StrEnum):
    """How a metric follows the load."""

    CPU = "CPU-like"
    QUEUE = "queue-like"
    LATENCY = "latency-like"


class Scaler(StrEnum):
    """What the number of replicas follows."""

    NONE = "none"
    METRIC = "the metric"
    DEMAND = "true demand"


@dataclass(frozen=True, slots=True)
class Loop:
    """One course to run: `delay` is how old the oldest part of a sample is when it is seen, in seconds."""

    kind: Kind
    load: Load
    behavior: Behavior = PROPORTIONAL
    delay: int = 30
    scaler: Scaler = Scaler.NONE
    aim: float = 0.8
    """The target of the scaler, 1 being that of the offload."""
    plain: bool = False
    """Decide by the plain rule instead: the percentage while the metric is over its target, else nothing."""
    seconds: int = THREE_HOURS


@dataclass(frozen=True, slots=True)
class Course:
    """What came of it, a value for each `PERIOD`: loads are held against the target of the replicas there were."""

    shares: tuple[int, ...]
    loads: tuple[float, ...]
    ratios: tuple[float, ...]
    replicas: tuple[int, ...]

    @property
    def changes(self) -> int:
        """Count how often the share moved."""
        return sum(before != after for before, after in itertools.pairwise(self.shares))

    @property
    def turns(self) -> int:
        """Count how often it moved the other way than before."""
        moves = [after > before for before, after in itertools.pairwise(self.shares) if after != before]
        return sum(before != after for before, after in itertools.pairwise(moves))

    @property
    def over(self) -> float:
        """Return the fraction of the time with the metric over its target."""
        return sum(ratio > 1 for ratio in self.ratios) / len(self.ratios)

    @property
    def offloaded(self) -> float:
        """Return the fraction of all requests that the remote got."""
        moved = sum(load * share / 100 for load, share in zip(self.loads, self.shares, strict=True))
        return moved / sum(self.loads)

    @property
    def needless(self) -> float:
        """Return the fraction of all requests that the remote got and local could have served within its target."""
        extra = (load * max(0, share / 100 - needed(load)) for load, share in zip(self.loads, self.shares, strict=True))
        return sum(extra) / sum(self.loads)

    def overshoot(self, since: int, until: int) -> int:
        """Return how many points the share was above what was needed at most, from one second to another."""
        pairs = list(zip(self.loads, self.shares, strict=True))[since // PERIOD : until // PERIOD]
        return max(share - math.ceil(100 * needed(load)) for load, share in pairs)

    def settled_after(self, since: int, until: int) -> int:
        """Return the seconds from a moment until the metric was within its target for the first time, within a span."""
        span = self.ratios[since // PERIOD : until // PERIOD]
        began = next((at for at, ratio in enumerate(span) if ratio > 1), 0)
        return PERIOD * next((at for at, ratio in enumerate(span) if at > began and ratio <= 1), len(span))


def needed(load: float) -> float:
    """Return the fraction that has to leave for the metric to be at its target."""
    return max(0.0, 1 - 1 / load) if load > 0 else 0.0


def run(loop: Loop) -> Course:
    """Play one course through the code that decides."""
    pool, lens = _Pool(loop.kind), _Lens(loop.delay)
    spec = OffloadSpec(ModelKey("simulated", "pool"), "pool", metrics=(METRIC,), behavior=loop.behavior)
    last: Decision | None = None
    share, shares, loads, ratios, replicas = 0, [], [], [], []
    for at in range(0, loop.seconds, PERIOD):
        offered = loop.load(at) * pool.first / pool.ready(at)
        ratio = pool.ratio(offered * (1 - share / 100))
        lens.look(at, ratio)
        now = START + timedelta(seconds=at)
        verdict = lens.verdict(at, loop.behavior)
        if loop.plain:
            share = loop.behavior.percentage if verdict.judgement is Judgement.OVER else 0
        else:
            flow = _flow(now, loop.load(at), share)
            last = decision.decide(spec, last, verdict, now, flow=flow, ready=pool.ready(at))
            share = last.percentage
        pool.scale(at, _scaled_by(loop, verdict, last))
        shares.append(share)
        loads.append(offered)
        ratios.append(ratio)
        replicas.append(pool.ready(at))
    return Course(tuple(shares), tuple(loads), tuple(ratios), tuple(replicas))


def _flow(now: datetime, load: float, share: int) -> Flow:
    """Return what the gateways counted since the round before."""
    arrived = round(load * REQUESTS * PERIOD)
    sent = round(arrived * share / 100)
    return Flow(now - timedelta(seconds=PERIOD), now, 0, 0, served=arrived - sent, sent=sent, overflowed=0)


def _scaled_by(loop: Loop, verdict: Verdict, last: Decision | None) -> float | None:
    """Return what the scaler reads, 1 being its target."""
    if loop.scaler is Scaler.NONE or verdict.ratio is None:
        return None
    demand = last.demand if last is not None and loop.scaler is Scaler.DEMAND else None
    return float(verdict.ratio if demand is None else demand) / loop.aim


@dataclass(slots=True)
class _Pool:
    kind: Kind
    first: int = 4
    most: int = 12
    queue: float = 0.0
    starts: list[float] = field(default_factory=list)
    """When each replica is ready; the first ones always were."""
    wishes: list[tuple[float, int]] = field(default_factory=list)

    def ready(self, at: float) -> int:
        return self.first + sum(start <= at for start in self.starts)

    def ratio(self, load: float) -> float:
        match self.kind:
            case Kind.CPU:
                return min(load, 2.0)
            case Kind.QUEUE:
                self.queue = min(max(self.queue + (load - 1) * 2 * PERIOD, 0.0), 100.0)
                return self.queue / 5
            case Kind.LATENCY:
                return 0.5 / (1 - min(load / 2, 0.95))

    def scale(self, at: float, ratio: float | None) -> None:
        """Follow the ratio every 15 s, up in 2 minutes, down after 5 quiet ones."""
        if ratio is None or at % 15:
            return
        now = self.first + len(self.starts)
        away = abs(ratio - 1) > 0.1
        wish = min(max(math.ceil(self.ready(at) * ratio), self.first), self.most) if away else now
        self.wishes = [*((when, old) for when, old in self.wishes if when > at - 300), (at, wish)]
        calm = max(old for _, old in self.wishes)
        if wish > now:
            self.starts.extend([at + 120.0] * (wish - now))
        elif calm < now:
            del self.starts[len(self.starts) - (now - calm) :]


@dataclass(slots=True)
class _Lens:
    """Shows a metric as its source would: a mean over half the delay, published as often, the other half late."""

    delay: int
    seen: list[float] = field(default_factory=list)

    @property
    def window(self) -> int:
        return max(PERIOD, self.delay // 2 // PERIOD * PERIOD)

    def look(self, at: int, ratio: float) -> None:
        assert len(self.seen) == at // PERIOD
        self.seen.append(ratio)

    def verdict(self, at: int, behavior: Behavior) -> Verdict:
        late = self.delay - self.window if self.delay else 0
        end = (at - late) // self.window * self.window
        # What is seen now is how it has been since the last look.
        sample = self.seen[max(end - self.window, 0) // PERIOD + 1 : end // PERIOD + 1] or self.seen[:1]
        ratio = Fraction(round(1000 * sum(sample) / len(sample)), 1000)
        until = START + timedelta(seconds=end)
        read = Assessed(
            METRIC, Current(value=round(ratio * 1000)), ratio, until - timedelta(seconds=self.window), until
        )
        over, low = 1 + Fraction(behavior.engage.tolerance), 1 - Fraction(behavior.release.tolerance)
        judged = Judgement.OVER if ratio > over else Judgement.UNDER if ratio <= low else Judgement.BETWEEN
        return Verdict(judged, ratio, (read,))


# Loads.


def step(high: float = 2.0, *, since: int = 600, until: int = 7200) -> Load:
    """Return a load that is high for a while."""
    return lambda at: high if since <= at < until else 0.4


def ramp(high: float = 2.5) -> Load:
    """Return a load that grows for an hour and a half and shrinks again."""
    return lambda at: 0.4 + (high - 0.4) * max(0.0, 1 - abs(at - 5400) / 5000)


def day(high: float = 2.0) -> Load:
    """Return a day's course in three hours."""
    return lambda at: 0.3 + (high - 0.3) * (1 - math.cos(2 * math.pi * at / THREE_HOURS)) / 2


def bursts(high: float = 2.5, *, every: int = 900, lasting: int = 120) -> Load:
    """Return a load that is high for a short while, again and again."""
    return lambda at: high if at % every < lasting and at >= every else 0.5


def noisy(load: Load, spread: float = 0.15, seed: int = 7) -> Load:
    """Return a load with noise around another, the same in every run."""
    source = random.Random(seed)
    noise = [source.uniform(-spread, spread) for _ in range(THREE_HOURS // PERIOD + 1)]
    return lambda at: load(at) * (1 + noise[int(at) // PERIOD % len(noise)])


def adversary(high: float = 2.5) -> Load:
    """Return a load that goes away and comes back at the worst moments: for 75 s, 150 s, 300 s … by turns."""
    spans = itertools.cycle((75, 150, 300, 600, 1200))
    edges = list(itertools.takewhile(lambda at: at < THREE_HOURS, itertools.accumulate(spans)))
    return lambda at: high if sum(edge <= at for edge in edges) % 2 else 0.3


def blip(height: float = 0.8, *, at: int = 1800) -> Load:
    """Return a load that local bears, but for five seconds."""
    return lambda second: 4.0 if at <= second < at + PERIOD else height


LOADS: dict[str, Load] = {
    "step": step(),
    "ramp": ramp(),
    "day": day(),
    "day with noise": noisy(day()),
    "bursts": bursts(),
    "adversary": adversary(),
}
