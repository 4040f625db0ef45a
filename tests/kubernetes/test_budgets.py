"""Budgets in a cluster: the status, its condition and Events, and what every replica tells gateways."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

import builders
from beamlit_controller.api import status as api_status
from beamlit_controller.controller.usage_meters import GatewayCounts, UsageMeters
from beamlit_controller.core import cycle
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.ledger import UsageReading
from beamlit_controller.core.price import Budget, BudgetUnit, Period, Price
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import LocalHealth, Missing
from beamlit_controller.core.spec import ModelKey, RemoteBackend, Scheme
from beamlit_controller.core.traffic import RequestCounters
from beamlit_controller.core.usage import NOTHING, Usage
from beamlit_controller.kubernetes import conditions, events, models
from beamlit_controller.kubernetes.conditions import ModelState
from beamlit_controller.kubernetes.models import KnownModel
from beamlit_controller.kubernetes.snapshot import GatewayState, ServiceState

Json = dict[str, Any]
NOW = "2026-06-01T12:00:00Z"
KEY = ModelKey("models", "llama")
BUDGET = Budget(Decimal(100), BudgetUnit.TOKENS, Period.DAY, "Europe/Berlin")
PAID = RemoteBackend(
    Scheme.HTTPS, "api.example.com", 443, name="paid", budget=BUDGET, price=Price(per_request=Decimal("0.5"))
)
FREE = RemoteBackend(Scheme.HTTPS, "other.example.com", 443, name="free")
SPEC = builders.spec(remote=PAID, next_remotes=(FREE,))
LEADS = ServiceState(taken=True, why=Missing(Reason.SERVICE_TAKEN, "Service llama leads through the gateway"))


def rounds(*used: Usage) -> list[Cycle]:
    """Play a round for each count of the one gateway."""
    played: list[Cycle] = []
    for step, each in enumerate(used):
        now = builders.NOW + timedelta(seconds=15 * step)
        counted = UsageReading({"a": {"paid": each}}, local=6 if step else 0)
        signals = replace(builders.signals(at=now), usage=counted)
        played.append(cycle.run(SPEC, signals, previous=played[-1].decision if played else None, now=now))
    return played


def status(ran: Cycle, before: Json | None = None) -> Json:
    known = ModelState(
        model=KnownModel("u1", SPEC),
        gateway=GatewayState(desired_replicas=1, ready_replicas=1, service=LEADS),
        local=LocalHealth(2, 2),
        cycle=ran,
    )
    return conditions.status_of(known, before or {}, NOW)


def budget_spent(given: Json) -> tuple[str, str, str]:
    return next(
        (each["status"], each["reason"], each["message"])
        for each in given["conditions"]
        if each["type"] == "BudgetSpent"
    )


def test_the_status_says_what_each_remote_answered_and_cost_and_how_much_of_its_budget_is_used() -> None:
    *_, last = rounds(NOTHING, Usage(2, 50, 10))

    paid, free = status(last)["remotes"]

    assert paid == {
        "name": "paid",
        "requests": 2,
        "inputTokens": 50,
        "outputTokens": 10,
        "cost": "1",
        "currency": "USD",
        "budgetPercentage": 60,
        "budgetSpent": False,
        "message": "paid: 2 requests: 50 input tokens, 10 output tokens; 1 USD, about 4 USD without local; "
        "60 of 100 tokens per day used (60 %); resets at 2026-06-02 00:00 Europe/Berlin",
    }
    assert (free["name"], "cost" in free, "budgetSpent" in free) == ("free", False, False)


def test_the_status_fits_the_schema() -> None:
    *_, last = rounds(NOTHING, Usage(2, 50, 10))

    whole = status(last)

    assert api_status.bounded(whole)["remotes"] == whole["remotes"]


def test_a_spent_budget_is_a_condition_a_warning_and_written_at_once() -> None:
    _, within, spent = map(status, rounds(NOTHING, Usage(2, 50, 10), Usage(4, 100, 20)))

    told = [each for each in events.between(within, spent) if each.action == "BudgetSpent"]

    assert budget_spent(within)[:2] == ("False", "WithinBudget")
    assert budget_spent(spent) == (
        "True",
        "BudgetSpent",
        "paid: 120 of 100 tokens per day used (120 %); spent, no requests to the remote until 2026-06-02 00:00 Europe/Berlin",
    )
    assert [(each.reason, each.warning) for each in told] == [("BudgetSpent", True)]
    assert conditions.significant_fields(within) != conditions.significant_fields(spent)


def test_what_is_used_of_a_budget_is_no_reason_to_write_at_once() -> None:
    _, first, second = map(status, rounds(NOTHING, Usage(1, 20, 10), Usage(2, 30, 20)))

    assert first["remotes"] != second["remotes"]
    assert conditions.significant_fields(first) == conditions.significant_fields(second)


def test_an_account_is_written_when_it_is_opened() -> None:
    _, opened = map(status, rounds(NOTHING, Usage(1, 20, 10)))

    before = {name: value for name, value in opened.items() if name != "remotes"}

    assert conditions.significant_fields(before) != conditions.significant_fields(opened)


def test_a_new_leader_goes_on_with_the_recorded_ledger() -> None:
    *_, last = rounds(NOTHING, Usage(2, 50, 10))
    about = {"namespace": "models", "name": "llama", "uid": "u", "resourceVersion": "1"}
    recalled = models.Models(lambda _: ())
    recalled.changed(KEY, models.stored({"metadata": about, "status": {"record": models.record(last.decision)}}))

    decision = recalled.recall(KEY)

    assert decision is not None
    assert decision.ledger == last.decision.ledger


def test_every_replica_reads_from_the_status_which_remotes_are_budget_spent() -> None:
    _, within, spent = map(status, rounds(NOTHING, Usage(2, 50, 10), Usage(4, 100, 20)))

    assert (models.budget_spent(within), models.budget_spent(spent)) == ((), ("paid",))


@pytest.mark.parametrize(
    "written", [None, 3, "paid", {}, ["paid"], [{"budgetSpent": "True"}], [{"name": 3, "budgetSpent": True}]]
)
def test_whatever_else_is_written_in_a_status_leaves_no_remote_out(written: object) -> None:
    assert models.budget_spent({"remotes": written}) == ()


def test_what_a_gateway_counted_while_it_did_not_answer_is_entered_when_it_does_again() -> None:
    meters = UsageMeters()
    meters.feed(KEY, {"a": GatewayCounts({}, RequestCounters(local=1_000))})
    meters.feed(KEY, {"a": None})
    meters.feed(KEY, {"a": GatewayCounts({}, RequestCounters(local=2_000))})

    again = meters.usage(KEY)
    meters.feed(KEY, {})
    meters.feed(KEY, {"a": GatewayCounts({}, RequestCounters(local=9_000))})

    assert again == UsageReading({"a": {}}, local=1_000)
    assert meters.usage(KEY).local == 0


def test_what_a_gateway_said_last_is_entered_also_when_it_is_gone() -> None:
    meters = UsageMeters()
    meters.feed(KEY, {"a": GatewayCounts({"paid": Usage(1)}, RequestCounters(local=5, kept=2))})
    meters.feed(KEY, {"a": GatewayCounts({"paid": Usage(2)}, RequestCounters(local=9, kept=3))})
    meters.feed(KEY, {"b": GatewayCounts({"paid": Usage(7)}, RequestCounters(local=1))})

    entered, again = meters.usage(KEY), meters.usage(KEY)
    meters.forget(KEY)

    assert entered == UsageReading({"a": {"paid": Usage(2)}, "b": {"paid": Usage(7)}}, local=3)
    assert (again, meters.usage(KEY)) == (UsageReading(), UsageReading())
