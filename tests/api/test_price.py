"""`price`, `budget` and `usage` of a remote, from the manifest to the spec."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from beamlit_controller.api.manifests import Parsed
from beamlit_controller.core.price import Budget, BudgetUnit, Period, Price, UsageMode

Read = Callable[..., Parsed]
Mistakes = Callable[..., dict[str, str]]
HOST = {"host": "api.example.com"}


def test_prices_are_exact_however_they_are_written(read: Read) -> None:
    written = {"inputPerMillion": 0.15, "outputPerMillion": "600m", "perRequest": 1, "currency": "EUR"}

    (spec,) = read({"remoteBackend": {**HOST, "price": written}}).specs

    assert spec.remote.price == Price(Decimal("0.15"), Decimal("0.6"), Decimal(1), "EUR")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, UsageMode.READ),
        ({"price": {}}, UsageMode.ASK),
        ({"budget": {"amount": 5, "per": "Day"}}, UsageMode.ASK),
        ({"usage": "Ask"}, UsageMode.ASK),
        ({"usage": "Read", "price": {}}, UsageMode.READ),
        ({"usage": "Ignore"}, UsageMode.IGNORE),
    ],
)
def test_usage_is_asked_for_where_accounts_depend_on_it(read: Read, given: dict[str, Any], expected: UsageMode) -> None:
    (spec,) = read({"remoteBackend": {**HOST, **given}}).specs

    assert spec.remote.usage is expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"budget": {"amount": 5, "per": "Day"}}, Budget(Decimal(5), BudgetUnit.REQUESTS, Period.DAY, "UTC")),
        (
            {"budget": {"amount": "2.5", "per": "Hour"}, "price": {}},
            Budget(Decimal("2.5"), BudgetUnit.COST, Period.HOUR),
        ),
        (
            {"budget": {"amount": "2M", "unit": "Tokens", "per": "Month", "timeZone": "Europe/Berlin"}, "price": {}},
            Budget(Decimal(2_000_000), BudgetUnit.TOKENS, Period.MONTH, "Europe/Berlin"),
        ),
    ],
)
def test_a_budget_is_of_money_where_there_is_a_price_unless_it_says_otherwise(
    read: Read, given: dict[str, Any], expected: Budget
) -> None:
    (spec,) = read({"remoteBackend": {**HOST, **given}}).specs

    assert spec.remote.budget == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"budget": {"amount": 5, "per": "Day", "unit": "Cost"}},
            {"price": "required together with budget.unit Cost"},
        ),
        (
            {"usage": "Ignore", "price": {}},
            {"usage": "may not be Ignore with price or budget: nothing would be counted"},
        ),
        ({"budget": {"amount": 0, "per": "Day"}}, {"budget.amount": "must be positive, got 0"}),
        ({"price": {"perRequest": "-1"}}, {"price.perRequest": "must not be negative, got -1"}),
        (
            {"budget": {"amount": 5, "per": "Day", "timeZone": "Europe/Atlantis"}},
            {"budget.timeZone": "expected a time zone such as Europe/Berlin, got Europe/Atlantis"},
        ),
        (
            {"budget": {"amount": 5, "per": "Day", "timeZone": "Europe"}},
            {"budget.timeZone": "expected a time zone such as Europe/Berlin, got Europe"},
        ),
        (
            {"budget": {"amount": 5, "per": "Day", "timeZone": "../../etc/passwd"}},
            {"budget.timeZone": 'expected a time zone such as Europe/Berlin, got "../../etc/passwd"'},
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(
    mistakes: Mistakes, given: dict[str, Any], expected: dict[str, str]
) -> None:
    found = mistakes({"remoteBackend": {**HOST, **given}})

    assert found == {f"remoteBackend.{field}": message for field, message in expected.items()}
