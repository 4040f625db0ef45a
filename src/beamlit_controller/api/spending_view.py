"""Cost of a model's remotes, for the status and for `/models`."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from beamlit_controller.api.models_view import BudgetView, SpendingView
from beamlit_controller.core import budget_periods, spending, spending_text
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.price import Budget
from beamlit_controller.core.spending import Account


def status(cycle: Cycle) -> list[dict[str, Any]]:
    """Return the entry of each remote in the status."""
    return [_status(view) for view in views(cycle, cycle.at)]


def views(cycle: Cycle, now: datetime) -> Iterator[SpendingView]:
    """Yield the usage and cost of each remote."""
    ledger = cycle.decision.ledger
    for remote, account in spending_text.pairs(cycle.spec, ledger):
        priced = remote.price is not None
        whole = spending.without_local(account, ledger.local_requests) if priced else None
        yield SpendingView(
            name=remote.name,
            requests=account.total.requests,
            unread=account.total.unread,
            input_tokens=account.total.input_tokens,
            output_tokens=account.total.output_tokens,
            cost=spending_text.amount(account.cost) if priced else None,
            currency=account.currency if priced else None,
            without_local=None if whole is None else spending_text.amount(whole),
            budget=_budget(account, remote.budget, now) if remote.budget else None,
            text=spending_text.sentence(remote, account, ledger.local_requests, now),
        )


def _budget(account: Account, budget: Budget, now: datetime) -> BudgetView:
    return BudgetView(
        amount=spending_text.amount(budget.amount),
        used=spending_text.amount(spending.used(account, budget)),
        unit=budget.unit.value,
        per=budget.per.value,
        percentage=spending_text.percentage(account, budget),
        spent=spending.is_spent(account, budget),
        ends=budget_periods.period_end(budget, now),
    )


def _status(view: SpendingView) -> dict[str, Any]:
    return {
        "name": view.name,
        "requests": view.requests,
        "inputTokens": view.input_tokens,
        "outputTokens": view.output_tokens,
        **({"cost": view.cost, "currency": view.currency} if view.cost is not None else {}),
        **({"budgetPercentage": view.budget.percentage, "budgetSpent": view.budget.spent} if view.budget else {}),
        "message": view.text,
    }
