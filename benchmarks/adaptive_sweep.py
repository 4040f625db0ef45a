"""Adaptive mode on random servers under random loads: the ten courses in which it is furthest from its bounds.

`python -m benchmarks.adaptive_sweep [FROM TO [METRICS [scraped]]]` plays the courses with these numbers, for metrics such as `queue,slots`;
`scraped` as a query returns them, whose values are of an unknown age.
"""

import math
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from benchmarks import adaptive_course
from benchmarks.adaptive import following, following_late, learning
from benchmarks.adaptive_loads import SHIFTS, adversary, bursts, halved, ramp, stairs, step
from benchmarks.adaptive_plant import QUEUES, Choice, Load, Metric, Plant, Result, Service, always

WORST = 10
LONGEST = 30.0
CALM = 0.5
"""A wait up to this part of a request's time is never too long."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A random plant, in words too, and whether its capacity changes on the way."""

    number: int
    plant: Plant
    words: str
    shifts: bool


@dataclass(frozen=True, slots=True)
class Played:
    """What Adaptive made of a plant, beside the cap that is right at every moment, and the same known as late as the metric."""

    drawn: Drawn
    learned: Result
    right: Result
    late: Result | None = None

    @property
    def measures(self) -> dict[str, float]:
        """Return each measure in multiples of its bound."""
        return self._measures(self.learned)

    @property
    def late_measures(self) -> dict[str, float]:
        """Return each measure of the right cap that is known late, in multiples of its bound."""
        return {} if self.late is None else self._measures(self.late)

    def _measures(self, learned: Result) -> dict[str, float]:
        plant, right = self.drawn.plant, self.right
        over, needless = (0.10, 0.05) if self.drawn.shifts else (0.05, 0.03)
        more = learned.sent - right.sent
        wait = max(right.wait(0.95), CALM * plant.mean)
        return {
            "far over": (learned.far_over - right.far_over) / over,
            "needless": (learned.wasted - right.wasted) / needless,
            "sent": 0.0 if plant.scaler else (abs(more) if plant.metric in QUEUES else more) / 0.03,
            "wait": learned.wait(0.95) / (2 * wait),
        }

    @property
    def worst(self) -> float:
        """Return the measure that is furthest from its bound."""
        return max(self.measures.values())


def main(words: list[str]) -> None:
    first, last = (int(words[0]), int(words[1])) if len(words) > 1 else (0, 40)
    metrics = [Metric(each.replace("_", " ")) for each in words[2].split(",")] if len(words) > 2 else list(Metric)
    turned = scraped if "scraped" in words[3:] else lambda given: given
    print("\n".join(table([turned(drawn(number, metrics)) for number in range(first, last)])), flush=True)


def table(courses: Sequence[Drawn]) -> Iterator[str]:
    """Play the courses, and give the worst of them and how many are outside as Markdown."""
    played = [_with_late(play(each)) for each in courses]
    yield "| course | far over | needless | sent | sent, right cap | p95 wait | p95 wait, right cap |"
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for each in sorted(played, key=lambda one: -one.worst)[:WORST]:
        yield _row(each)
    for measure in ("far over", "needless", "sent", "wait"):
        outside = sum(each.measures[measure] > 1 for each in played)
        late = sum(each.late_measures[measure] > 1 for each in played)
        yield f"{measure}: {outside} of {len(played)} outside; {late} with the right cap known as late as the metric"
    outside, late = sum(each.worst > 1 for each in played), sum(max(each.late_measures.values()) > 1 for each in played)
    yield f"any: {outside} of {len(played)} outside; {late} with the right cap known as late as the metric"


def play(drawn: Drawn) -> Played:
    """Play one course with Adaptive and with the right cap."""
    plant = drawn.plant
    learned = adaptive_course.run(plant, learning(plant))
    return Played(drawn, learned, adaptive_course.run(replace(plant, delay=0), following(plant)))


def _with_late(played: Played) -> Played:
    return replace(played, late=adaptive_course.run(played.drawn.plant, following_late(played.drawn.plant)))


def drawn(number: int, metrics: list[Metric]) -> Drawn:
    """Draw a plant by a number."""
    draw = random.Random(number)
    first, slots = draw.choice((1, 2, 2, 3, 4, 8)), draw.choice((1, 2, 4, 4, 8, 8, 16, 32, 64))
    load_words, load = _load(draw)
    shift = draw.choice(("none", "none", "none", *SHIFTS, "drift")) if slots > 1 else "none"
    replicas = draw.choice(("same", "same", "same", "same", "half", "twice")) if first > 1 else "same"
    plant = Plant(
        load,
        first=first,
        slots=slots,
        mean=min(LONGEST, max(0.3, first * slots / draw.choice((1, 2, 4)))),
        service=draw.choice((Service.EXPONENTIAL, *Service)),
        choice=draw.choice((Choice.LEAST, Choice.LEAST, Choice.LEAST, Choice.TWO)),
        metric=draw.choice(metrics),
        delay=draw.choice((1, 5, 15, 30, 45, 60)),
        window=draw.choice((5, 5, 5, 15, 30)),
        period=draw.choice((5, 5, 2, 1)),
        capacity={"none": always, "drift": _drift, **SHIFTS}[shift],
        replicas={"same": always, "half": halved, "twice": _twice}[replicas],
        scaler=draw.random() < 0.1,
        seed=number,
    )
    if plant.metric is Metric.FIRST_BYTE:
        plant = replace(plant, delay=0)
    described = f"{plant.metric}, {plant.delay} s late, over {plant.window} s, every {plant.period} s; "
    described += (
        f"{first} x {slots}, {plant.mean:.1f} s {plant.service}, {plant.choice}; {load_words}; {shift}, {replicas}"
    )
    described += ", autoscaler" if plant.scaler else ""
    return Drawn(number, plant, described, (shift, replicas) != ("none", "same"))


def scraped(given: Drawn) -> Drawn:
    """Return a plant whose metric is read by a query."""
    every = random.Random(-given.number).choice((5, 15, 15, 30, 60))
    plant = replace(given.plant, delay=0, period=5, scrape=every)
    return replace(given, plant=plant, words=f"scraped every {every} s: {given.words}")


def _load(draw: random.Random) -> tuple[str, Load]:
    high = draw.uniform(1.3, 3.5)
    since, middle, every = draw.randrange(0, 900), draw.uniform(0.6, 1.1), draw.choice((1200, 1800, 3600))
    short, long, pause = draw.randrange(5, 45), draw.randrange(60, 400), draw.randrange(120, 700)
    again, lasting = draw.choice((60, 90, 150, 300)), draw.choice((120, 300, 600))
    loads: dict[str, Load] = {
        f"step to {high:.1f}": step(high, since=since, until=since + 2400),
        f"ramp to {high:.1f}": ramp(high),
        f"day of {every} s": lambda at: middle * (1 + 0.9 * math.sin(2 * math.pi * at / every)),
        f"{short} of {again} s at {high:.1f}": bursts(short, every=again, high=high),
        f"{long} of {long + pause} s at {high:.1f}": bursts(long, every=long + pause, high=high),
        f"stairs of {lasting} s": stairs(tuple(draw.uniform(0.2, 2.8) for _ in range(31)), lasting=lasting),
        f"adversary at {high:.1f}": adversary(high),
        "random walk": stairs(tuple(_walk(draw)), lasting=10),
    }
    return draw.choice(tuple(loads.items()))


def _walk(draw: random.Random) -> Iterator[float]:
    height = 0.8
    for _ in range(361):
        height = min(3.0, max(0.1, height * math.exp(draw.gauss(0, 0.12))))
        yield height


def _drift(at: float) -> float:
    return 1 - at / 7200


def _twice(at: float) -> float:
    return 1.0 if at < 1800 else 2.0


def _row(each: Played) -> str:
    learned, right = each.learned, each.right
    figures = f"{learned.far_over:.0%} | {learned.wasted:.0%} | {learned.sent:.0%} | {right.sent:.0%}"
    waits = f"{learned.wait(0.95):.1f} s | {right.wait(0.95):.1f} s"
    return f"| {each.drawn.number}: {each.drawn.words} | {figures.replace('%', ' %')} | {waits} |"


if __name__ == "__main__":
    main(sys.argv[1:])
