"""What is learned in Adaptive mode is never discarded as implausible, whatever the metric and the gateways report."""

import random
from collections.abc import Iterator
from datetime import timedelta
from fractions import Fraction

import pytest

from beamlit_controller.core import adaptive_state, decision
from beamlit_controller.core.adaptive_state import Learned
from beamlit_controller.core.decision import Decision
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.metric_spec import (
    AverageValue,
    ExternalMetric,
    GatewayFigure,
    GatewayMetric,
    MetricSpec,
    PodsMetric,
    SeriesSelector,
    Value,
)
from beamlit_controller.core.spec import Behavior, Mode
from beamlit_controller.core.verdict import Assessed, Current, Judgement, Verdict
from builders import NOW, spec

ROUNDS = 60
NAME = SeriesSelector("metric")
SECOND = timedelta(seconds=1)
METRICS: dict[str, MetricSpec] = {
    "any": ExternalMetric(NAME, Value(1000)),
    "time to first token": ExternalMetric(NAME, Value(1000), Fraction(1)),
    "target of a nanosecond": ExternalMetric(NAME, Value(1), Fraction(1, 10**6)),
    "target of decades": ExternalMetric(NAME, Value(10**12), Fraction(1)),
    "gateway": GatewayMetric(GatewayFigure.FIRST_BYTE, Value(1000)),
    "waiting": PodsMetric(NAME, AverageValue(2000), waiting=True),
}


def learned(metric: MetricSpec, seed: int) -> Iterator[Learned]:
    """Decide round by round with arbitrary ratios, also negative and huge ones, and arbitrary counts; give each state."""
    draw = random.Random(seed)
    asked, at = spec(behavior=Behavior(mode=Mode.ADAPTIVE), metrics=(metric,)), NOW
    held: Decision | None = None
    scale, level = draw.choice([1, 1, 50, 10**6]), draw.choice([0, 1, 10, 100, 10**5])
    slope = Fraction(1, 2) if isinstance(metric, PodsMetric) else None
    for _ in range(ROUNDS):
        step = draw.choice([1, 2, 5, 15]) * SECOND
        at += step
        ratio = Fraction(draw.choice([0, 0, 1, -200, 900, draw.randrange(3000), 1000 * scale]), 1000)
        until = at - draw.choice([0, 1, 5, 30, 60]) * SECOND
        read = Assessed(metric, Current(), ratio, until - draw.choice([0, 5, 60]) * SECOND, until, slope)
        seen = Verdict(Judgement.OVER if ratio > 1 else Judgement.UNDER, ratio, (read,))
        served, sent, overflowed = draw.randrange(level + 2), draw.choice([0, 5, level]), draw.choice([0, 0, 5])
        told = Flow(at - step, at, draw.randrange(level + 1), level, served, sent, overflowed)
        held = decision.decide(asked, held, seen, at, flow=told, ready=draw.choice([1, 1, 2, 8]))
        yield from (held.learned, *held.by_metric)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_what_was_learned_is_kept(metric: MetricSpec) -> None:
    """A discarded state is a model without a cap: nothing limits it until the metric is over its target again."""
    for seed in range(20):
        for state in learned(metric, seed):
            assert adaptive_state.trusted(state) == state, f"seed {seed}"


def test_a_value_below_zero_counts_as_zero() -> None:
    """Such as the difference of two series that are scraped at different times."""
    held: Decision | None = None
    metric = METRICS["any"]
    asked = spec(behavior=Behavior(mode=Mode.ADAPTIVE), metrics=(metric,))
    for step, hundredths in enumerate([*[-20] * 8, *[150] * 6, *[-20] * 20]):
        at, ratio = NOW + 5 * SECOND * step, Fraction(hundredths, 100)
        read = Assessed(metric, Current(), ratio, at - 10 * SECOND, at - 5 * SECOND)
        seen = Verdict(Judgement.OVER if ratio > 1 else Judgement.UNDER, ratio, (read,))
        told = Flow(at - 5 * SECOND, at, 12, 12, 10, 5, 5)
        held = decision.decide(asked, held, seen, at, flow=told, ready=1)

    assert held is not None
    assert held.cap is not None
