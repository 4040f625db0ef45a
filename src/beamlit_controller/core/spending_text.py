"""Formats the cost of a model's remotes, and the state of their budgets."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from beamlit_controller.core import budget_periods, spending
from beamlit_controller.core.ledger import Ledger
from beamlit_controller.core.price import Budget, BudgetUnit
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.spec import OffloadSpec, RemoteBackend
from beamlit_controller.core.spending import Account


@dataclass(frozen=True, slots=True)
class BudgetState:
    """Whether the budget of any remote is spent, and how much of each is used."""

    is_spent: bool
    reason: Reason
    message: str


def pairs(spec: OffloadSpec, ledger: Ledger) -> Iterator[tuple[RemoteBackend, Account]]:
    """Yield each remote that has an account, with it."""
    known = {each.remote: each for each in ledger.accounts}
    for remote in spec.remotes:
        if remote.name in known:
            yield remote, known[remote.name]


def budgets(spec: OffloadSpec, ledger: Ledger, now: datetime) -> BudgetState | None:
    """Judge all budgets together; None if there are none."""
    judged = [(each.budget, remote) for each, remote in pairs(spec, ledger) if each.budget is not None]
    if not judged:
        return None
    is_spent = any(spending.is_spent(account, budget) for budget, account in judged)
    message = "; ".join(_named(account.remote, budget_line(account, budget, now)) for budget, account in judged)
    return BudgetState(is_spent, Reason.BUDGET_SPENT if is_spent else Reason.WITHIN_BUDGET, message)


def sentence(remote: RemoteBackend, account: Account, local_requests: int, now: datetime) -> str:
    """Format the usage and cost of a remote."""
    total = account.total
    unread = f", {total.unread} of them without readable tokens" if total.unread else ""
    parts = [
        f"{total.requests} requests{unread}: {total.input_tokens} input tokens, {total.output_tokens} output tokens"
    ]
    if remote.price is not None:
        parts.append(f"{amount(account.cost)} {account.currency}{_otherwise(account, local_requests)}")
    if remote.budget is not None:
        parts.append(budget_line(account, remote.budget, now))
    return _named(remote.name, "; ".join(parts))


def budget_line(account: Account, budget: Budget, now: datetime) -> str:
    """Format the used part of a budget, and when it is reset."""
    used = spending.used(account, budget)
    unit = account.currency if budget.unit is BudgetUnit.COST else budget.unit.value.lower()
    until = budget_periods.period_end(budget, now).astimezone(ZoneInfo(budget.time_zone))
    state = "spent, no requests to the remote until" if spending.is_spent(account, budget) else "resets at"
    return (
        f"{amount(used)} of {amount(budget.amount)} {unit} per {budget.per.value.lower()} used "
        f"({percentage(account, budget)} %); {state} {until:%Y-%m-%d %H:%M} {budget.time_zone}"
    )


def percentage(account: Account, budget: Budget) -> int:
    """Return how much of the budget is used, in whole percent, rounded down."""
    return int(min(Decimal(999), 100 * spending.used(account, budget) / budget.amount))


def amount(number: Decimal) -> str:
    """Format an amount with at most four decimal places, or four significant digits if it is small."""
    digits = 4 if abs(number) >= Decimal("0.001") or not number else 9
    return f"{number:.{digits}f}".rstrip("0").rstrip(".")


def _otherwise(account: Account, local_requests: int) -> str:
    whole = spending.without_local(account, local_requests)
    return "" if whole is None else f", about {amount(whole)} {account.currency} without local"


def _named(name: str, text: str) -> str:
    return f"{name}: {text}" if name else text
