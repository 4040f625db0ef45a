"""The metrics of what remotes cost."""

from dataclasses import replace
from decimal import Decimal

import pytest
from prometheus_client import CollectorRegistry

from beamlit_controller.core import cycle
from beamlit_controller.core.ledger import UsageReading
from beamlit_controller.core.price import Budget, BudgetUnit, Period, Price
from beamlit_controller.core.spec import RemoteBackend, Scheme
from beamlit_controller.core.usage import Usage
from beamlit_controller.telemetry.exposition import Exposition
from beamlit_controller.telemetry.metrics import MetricsSink
from builders import NOW, signals, spec

PRICE = Price(Decimal(10), Decimal(20), Decimal("0.25"), "EUR")
PAID = RemoteBackend(
    Scheme.HTTPS,
    "api.example.com",
    443,
    name="paid",
    price=PRICE,
    budget=Budget(Decimal(4), BudgetUnit.REQUESTS, Period.HOUR),
)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


async def test_tokens_cost_and_the_used_part_of_a_budget_are_metrics_of_each_remote(
    registry: CollectorRegistry,
) -> None:
    sink, previous = MetricsSink(registry), None
    for used in (Usage(), Usage(3, 1_000, 500, 1)):
        counted = UsageReading({"a": {"paid": used}}, local=used.requests * 2)
        ran = cycle.run(spec(remote=PAID), replace(signals(), usage=counted), previous=previous, now=NOW)
        previous = ran.decision
        sink.record(ran)

    body, _ = await Exposition(registry).render("")

    told = [line for line in body.decode().splitlines() if line.startswith(("beamlit_remote", "beamlit_cost"))]
    labels = 'name="llama",namespace="models",remote="paid"'
    assert sorted(told) == sorted(
        [
            f'beamlit_remote_tokens_total{{direction="input",{labels}}} 1000.0',
            f'beamlit_remote_tokens_total{{direction="output",{labels}}} 500.0',
            f"beamlit_remote_answers_unread_total{{{labels}}} 1.0",
            f'beamlit_remote_cost_total{{currency="EUR",{labels}}} 0.78',
            f'beamlit_cost_without_local{{currency="EUR",{labels}}} 2.34',
            f"beamlit_remote_budget_used_ratio{{{labels}}} 0.75",
        ]
    )
