"""The rules for what leaves, played request by request, beside each other: one table.

`python -m benchmarks adaptive` plays a step, `ADAPTIVE_LOADS=all` all loads, `ADAPTIVE_LOADS="day,ramp"` these. Nothing here depends on
the machine.
"""

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from fractions import Fraction

from beamlit_controller.core import decision, gateway_metric, traffic, value_age, verdict
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.metric_spec import (
    ExternalMetric,
    FirstByte,
    GatewayFigure,
    GatewayMetric,
    SeriesSelector,
    Value,
)
from beamlit_controller.core.signals import NOT_ASKED, LocalHealth, Scale, Signals
from beamlit_controller.core.spec import Behavior, Mode, ModelKey, OffloadSpec
from beamlit_controller.core.traffic import Meter
from beamlit_controller.core.value_age import ValueAge
from beamlit_controller.core.verdict import Assessed, Current, Judgement, Unread, Verdict
from benchmarks import adaptive_course, adaptive_plant
from benchmarks.adaptive_loads import LOADS, SHIFTS
from benchmarks.adaptive_plant import (
    FIRST_BYTE_TARGET,
    START,
    TARGET,
    Metric,
    Plant,
    Result,
    Round,
    Rule,
    Setting,
    exact,
)
from benchmarks.adaptive_right import right

METRIC = ExternalMetric(SeriesSelector("load"), Value(1000))
READ = {
    Metric.FIRST_BYTE_NAMED: replace(METRIC, first_byte=FirstByte(Fraction(1))),
    Metric.FIRST_BYTE_P95: replace(METRIC, first_byte=FirstByte(Fraction(1), Fraction(95, 100))),
}
"""What is known of a metric by its name; nothing of others."""
ADAPTIVE = Behavior(mode=Mode.ADAPTIVE)
DELAYS = (1, 15, 45, 60)
PLAYED = os.environ.get("ADAPTIVE_LOADS", "step")
LOW = Fraction(9, 10)


class Product:
    """The code that decides, as a rule of the plant."""

    def __init__(self, behavior: Behavior, metric: Metric | None = None) -> None:
        self._metric = METRIC if metric is None else READ.get(metric, METRIC)
        self._spec = OffloadSpec(ModelKey("simulated", "plant"), "plant", metrics=(self._metric,), behavior=behavior)
        self._slope = Fraction(1, TARGET) if metric is Metric.WAITING else None
        self.last: Decision | None = None
        self._ages: tuple[ValueAge, ...] = ()

    def __call__(self, seen: Round) -> Setting:
        """Decide, and give what is in force."""
        now = START + timedelta(seconds=seen.at)
        judged, self._ages = value_age.dated(self.judge(seen), self._ages, now, ready=seen.ready)
        self.last = decision.decide(self._spec, self.last, judged, now, flow=seen.flow, ready=seen.ready)
        cap, demand = self.last.cap, self.last.demand
        return Setting(self.last.sent, None if cap is None else float(cap), None if demand is None else float(demand))

    def judge(self, seen: Round) -> Verdict:
        """Hold what is known of the servers against the target."""
        return _verdict(seen, self._metric, self._slope)


class Unmetered(Product):
    """The code that decides, where the servers have no metric: by the time to first byte that the gateways count."""

    def __init__(self, behavior: Behavior) -> None:
        super().__init__(behavior)
        target = Value(round(1000 * FIRST_BYTE_TARGET))
        self._metered = replace(self._spec, metrics=(GatewayMetric(GatewayFigure.FIRST_BYTE, target),))
        self._meter = Meter()

    def judge(self, seen: Round) -> Verdict:
        """Read the counters as the controller does."""
        now = START + timedelta(seconds=seen.at)
        self._meter = traffic.fed(self._meter, {"gateway": seen.counted}, now)
        read = gateway_metric.sample(self._meter, GatewayFigure.FIRST_BYTE, now)
        health = LocalHealth(seen.ready, seen.ready)
        signals = Signals(now, (read,), (), Scale(seen.ready, seen.ready), health)
        return verdict.assess(self._metered, signals)


def learning(plant: Plant) -> Rule:
    """Return Adaptive mode with the plant's metric."""
    return Unmetered(ADAPTIVE) if plant.metric is Metric.FIRST_BYTE else Product(ADAPTIVE, plant.metric)


def plain(seen: Round) -> Setting:
    """Send 60 % while the metric is over its target, else nothing."""
    return Setting(60 if seen.ratio is not None and seen.ratio > 1 else 0)


def knowing(plant: Plant) -> Rule:
    """Return a cap that is right for the servers as they are at the beginning, and stays."""
    cap = right(plant, 0)
    return lambda _: Setting(100, cap)


def following(plant: Plant) -> Rule:
    """Return the cap that is right at every moment: nobody can know it."""
    return lambda seen: Setting(100, right(plant, seen.at))


def following_late(plant: Plant) -> Rule:
    """Return the cap that was right when the metric was measured, from the first sample over the target on.

    That is the best that a rule can do if it has the metric as its only source, and infers the right cap from every sample.
    """
    engaged = False

    def rule(seen: Round) -> Setting:
        nonlocal engaged
        engaged = engaged or (seen.ratio is not None and seen.ratio > 1)
        since = seen.at - plant.scrape if seen.undated else seen.since
        return Setting(100, right(plant, max(0.0, since))) if engaged else Setting()

    return rule


RULES: dict[str, Callable[[Plant], Rule]] = {
    "plain rule": lambda _: plain,
    "Fixed, 60 %": lambda _: Product(Behavior(percentage=60)),
    "Proportional": lambda _: Product(Behavior(percentage=95, mode=Mode.PROPORTIONAL)),
    "static cap": knowing,
    "Adaptive": learning,
}


@dataclass(frozen=True, slots=True)
class Worst:
    """The worst of several courses."""

    over: float = 0.0
    needless: float = 0.0
    sent: float = 0.0
    wait: float = 0.0

    def with_(self, result: Result) -> "Worst":
        """Add a course."""
        return Worst(
            max(self.over, result.far_over),
            max(self.needless, result.wasted),
            max(self.sent, result.sent),
            max(self.wait, result.wait(0.95)),
        )


def main() -> None:
    print("\n".join(table()))


def table() -> Iterator[str]:
    """Yield the figures as Markdown: each is the worst over the delays, at constant capacity and while it is halved on the way."""
    yield "| metric | load | capacity | rule | far over | needless | sent | p95 wait |"
    yield "|---|---|---|---|--:|--:|--:|--:|"
    shifts = {"constant": adaptive_plant.always, "halved": SHIFTS["halved"]}
    loads = LOADS if PLAYED == "all" else PLAYED.split(",")
    for metric, name, (shift, capacity) in itertools.product((Metric.QUEUE, Metric.SLOTS), loads, shifts.items()):
        for rule, built in RULES.items():
            worst = Worst()
            for delay in DELAYS:
                plant = Plant(LOADS[name], metric=metric, delay=delay, capacity=capacity)
                worst = worst.with_(adaptive_course.run(plant, built(plant)))
            figures = f"{worst.over:.0%} | {worst.needless:.0%} | {worst.sent:.0%} | {worst.wait:.1f} s"
            yield f"| {metric} | {name} | {shift} | {rule} | {figures.replace('%', ' %')} |"


def _verdict(seen: Round, metric: ExternalMetric, slope: Fraction | None) -> Verdict:
    if seen.ratio is None:
        return Verdict(Judgement.UNKNOWN, None, (Unread(metric, NOT_ASKED),))
    ratio = exact(seen.ratio)
    since, until = (START + timedelta(seconds=at) for at in (seen.since, seen.until))
    judged = Judgement.OVER if ratio > 1 else Judgement.UNDER if ratio <= LOW else Judgement.BETWEEN
    milli = round(1000 * ratio)
    read = Assessed(metric, Current(value=milli), ratio, since, until, slope, milli=milli, undated=seen.undated)
    return Verdict(judged, ratio, (read,))
