"""Three metrics of three kinds in Adaptive mode, played in closed loop: a queue, busy slots, and the duration of requests."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from itertools import pairwise

import pytest

from beamlit_controller.core import decision, lowest_cap
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.metric_spec import ExternalMetric, SeriesSelector, Value
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.core.spec import Behavior, Mode
from beamlit_controller.core.verdict import Assessed, Current, Judgement, Unread, Verdict
from builders import NOW, spec

PERIOD = timedelta(seconds=5)
SLOTS, TAKES = 6, Fraction(2)
"""Requests that the server works on at a time, and seconds that it takes for each."""


def metric(name: str, target: float) -> ExternalMetric:
    return ExternalMetric(SeriesSelector(name), Value(round(1000 * target)))


@dataclass(frozen=True)
class Targets:
    """The target of each metric, and the number in flight at which the server reaches it."""

    queue: float = 2
    busy: float = 5
    duration: float = 3

    @property
    def metrics(self) -> tuple[ExternalMetric, ...]:
        return metric("queue", self.queue), metric("busy", self.busy), metric("duration", self.duration)

    @property
    def right(self) -> dict[str, float]:
        return {"queue": SLOTS + self.queue, "busy": self.busy, "duration": SLOTS * self.duration / float(TAKES)}


def value(name: str, in_flight: Fraction) -> Fraction:
    """Return what the server reports with so many requests in flight."""
    waiting = max(in_flight - SLOTS, Fraction(0))
    return {"queue": waiting, "busy": in_flight - waiting, "duration": TAKES * max(in_flight / SLOTS, Fraction(1))}[
        name
    ]


def played(
    metrics: Sequence[ExternalMetric],
    load: Sequence[int],
    *,
    previous: Decision | None = None,
    since: int = 0,
    unread: Sequence[str] = (),
) -> Iterator[Decision]:
    """Decide round by round; `load` is how many requests would be in flight without a cap."""
    whole = spec(behavior=Behavior(mode=Mode.ADAPTIVE), metrics=tuple(metrics))
    for step, offered in enumerate(load, since):
        at, cap = NOW + step * PERIOD, previous.cap if previous else None
        level = Fraction(offered) if cap is None else min(Fraction(offered), Fraction(round(cap)))
        served = round(min(level, Fraction(SLOTS)) * 5 / TAKES)
        over = round(5 * max(offered - level, Fraction(0)) / TAKES)
        read = tuple(_read(each, level, step, unread=unread) for each in metrics)
        flow = Flow(at - PERIOD, at, round(level), round(level), served, over, over)
        previous = decision.decide(whole, previous, _verdict(read), at, flow=flow)
        yield previous


def _read(each: ExternalMetric, level: Fraction, step: int, *, unread: Sequence[str]) -> Assessed | Unread:
    at, name = NOW + step * PERIOD, each.metric.name
    if name in unread:
        return Unread(each, Missing(Reason.NO_SERIES, "no value"))
    milli, target = round(1000 * value(name, level)), each.target.milli
    slope = Fraction(1000, target) if name == "queue" else None
    return Assessed(each, Current(value=milli), Fraction(milli, target), at - PERIOD, at, slope)


def _verdict(read: tuple[Assessed | Unread, ...]) -> Verdict:
    ratios = [each.ratio for each in read if isinstance(each, Assessed)]
    worst = max(ratios, default=None)
    if worst is not None and worst > 1:
        return Verdict(Judgement.OVER, worst, read)
    return Verdict(Judgement.UNKNOWN if len(ratios) < len(read) else Judgement.BETWEEN, worst, read)


RISING, FULL = [2, 3, 4, 5, 6] * 8 + [14] * 60, [14] * 60
"""Below the capacity first, and then more than fits under any cap."""


def caps(decided: Decision) -> list[Fraction | None]:
    return [each.cap for each in decided.by_metric]


@pytest.mark.parametrize(
    ("targets", "lowest"),
    [
        (Targets(), "busy"),
        (Targets(busy=6.5, duration=4), "queue"),  # more than six are never busy
        (Targets(busy=6.5, queue=6), "duration"),
    ],
)
def test_the_lowest_of_three_caps_is_in_force_whichever_metric_it_is_of(targets: Targets, lowest: str) -> None:
    decided = list(played(targets.metrics, RISING))

    for each in decided:
        known = [cap for cap in caps(each) if cap is not None]
        assert each.cap == (min(known) if known else None)
    assert decided[-1].cap == pytest.approx(targets.right[lowest], rel=0.15)
    assert decided[-1].message.endswith(f", the cap of {lowest}")


@pytest.mark.parametrize("unread", ["queue", "busy", "duration"])
@pytest.mark.parametrize("load", [[3] * 30, FULL], ids=["low", "above"])
def test_while_one_of_three_can_not_be_read_the_cap_does_not_rise(unread: str, load: list[int]) -> None:
    targets = Targets(busy=6.5, duration=4)
    before = list(played(targets.metrics, RISING[:42]))

    after = list(played(targets.metrics, load, previous=before[-1], since=len(before), unread=[unread]))

    in_force = [each.cap for each in (before[-1], *after)]
    assert before[-1].cap is not None
    assert all(later is not None and earlier is not None and later <= earlier for earlier, later in pairwise(in_force))


def test_metrics_that_can_not_be_read_are_told_as_many() -> None:
    targets = Targets()
    before = list(played(targets.metrics, RISING[:42]))[-1]

    one, two = (
        next(played(targets.metrics, [3], previous=before, since=42, unread=unread))
        for unread in (["queue"], ["queue", "busy"])
    )

    assert one.message.endswith(" until it is read again")
    assert two.message.endswith(" until they are read again")


@pytest.mark.parametrize(
    ("kept", "lowest"), [(("queue", "duration"), "queue"), (("queue",), "queue"), (("duration",), "duration")]
)
def test_without_the_metric_of_the_cap_it_stays_until_the_others_teach_another(
    kept: tuple[str, ...], lowest: str
) -> None:
    targets = Targets()
    before = list(played(targets.metrics, RISING))
    left = [each for each in targets.metrics if each.metric.name in kept]

    first, *_ = played(left, [3], previous=before[-1], since=len(before))
    *_, last = played(left, FULL, previous=before[-1], since=len(before))

    assert first.cap == before[-1].cap
    assert last.cap == pytest.approx(targets.right[lowest], rel=0.15)


def test_with_one_metric_more_the_others_go_on_from_their_caps() -> None:
    queue, busy, duration = Targets().metrics
    before = list(played((queue, duration), RISING))

    first, *_ = played((busy, queue, duration), [3], previous=before[-1], since=len(before))
    *_, last = played((busy, queue, duration), FULL, previous=before[-1], since=len(before))

    assert first.cap == before[-1].cap
    assert caps(first)[1:] == caps(before[-1])
    assert last.cap == pytest.approx(5, rel=0.15)


def test_a_second_and_a_third_metric_begin_with_the_cap_of_the_first() -> None:
    queue, busy, duration = Targets().metrics
    before = list(played((queue,), RISING))

    first, *_ = played((queue, duration, busy), [3], previous=before[-1], since=len(before))

    assert caps(first) == [before[-1].cap] * 3


def test_in_another_order_each_metric_keeps_what_it_taught() -> None:
    """What the busy slots had taught was applied to the duration of requests, and the cap rose by half."""
    queue, busy, duration = Targets(busy=5.5, duration=4).metrics
    before = list(played((queue, busy, duration), RISING))

    first, *later = played((duration, queue, busy), FULL, previous=before[-1], since=len(before))

    assert caps(first) == [caps(before[-1])[2], *caps(before[-1])[:2]]
    assert all(each.message.endswith(", the cap of busy") for each in later)


def test_a_metric_in_the_place_of_another_learns_anew() -> None:
    queue, busy, duration = Targets().metrics
    before = list(played((queue, busy), RISING))

    first, *_ = played((queue, duration), [3], previous=before[-1], since=len(before))

    assert first.cap == before[-1].cap
    assert first.by_metric[1].base is None
    assert first.learned_from == ("queue", "duration")


def test_what_metrics_of_the_same_name_taught_is_not_applied_to_each_other() -> None:
    """Names are recorded cut, so two long queries that begin alike have the same: they learn anew once the list changes."""
    before = list(played(Targets().metrics, RISING))[-1]
    alike = ("queue", "sum(rate(…", "sum(rate(…")

    common, found = lowest_cap.matched(before.learned, before.by_metric, alike, alike[1:])

    assert common == before.learned
    assert [each.cap for each in found] == [before.cap] * 2
    assert [each.last for each in found] == [None] * 2
