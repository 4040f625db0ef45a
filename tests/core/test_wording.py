"""What people read."""

from datetime import timedelta
from fractions import Fraction

import pytest

from beamlit_controller.core import wording
from beamlit_controller.core.metric_spec import (
    ContainerResourceMetric,
    MetricSpec,
    ObjectMetric,
    ObjectReference,
    SeriesSelector,
    Utilization,
    Value,
)
from beamlit_controller.core.verdict import Assessed, Current, Unread
from builders import CPU, NOW, QUEUE, RUNNING, missing

PROXY = ContainerResourceMetric("cpu", "proxy", Utilization(50))
HITS = ObjectMetric(SeriesSelector("hits"), ObjectReference("networking.k8s.io/v1", "Ingress", "front"), Value(2500))


@pytest.mark.parametrize(
    ("metric", "current", "ratio", "said"),
    [
        (CPU, Current(average_value=710, average_utilization=71), Fraction(71, 50), "cpu 71% > 50%"),
        (PROXY, Current(average_utilization=50), Fraction(1), "cpu of container proxy 50% = 50%"),
        (RUNNING, Current(average_value=12_500), Fraction(5, 4), "vllm:num_requests_running 12.5 per pod > 10"),
        (QUEUE, Current(value=3), Fraction(3, 10_000), "queue 0.003 <= 10"),
        (HITS, Current(value=2000), Fraction(4, 5), "hits of Ingress/front 2 <= 2.5"),
    ],
)
def test_a_value_stands_beside_its_target(metric: MetricSpec, current: Current, ratio: Fraction, said: str) -> None:
    assert wording.comparison(Assessed(metric, current, ratio, NOW, NOW)) == said


def test_a_missing_value_says_why() -> None:
    assert wording.readings((Unread(QUEUE, missing()),)) == "queue: prometheus:9090 refused the connection"


def test_seconds_are_rounded_up() -> None:
    assert wording.seconds(timedelta(seconds=1.2)) == "2 s"
