"""Accounts of remotes: usage, cost, and the used part of the budget.

Gateways' counters are cumulative, so new usage is a difference, and nothing is lost while no controller runs. A gateway
whose counters decreased has restarted. The amount spent in a period never decreases.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import datetime
from decimal import Decimal

from beamlit_controller.core import budget_periods, usage
from beamlit_controller.core.price import Budget, BudgetUnit, UsageMode
from beamlit_controller.core.spec import RemoteBackend
from beamlit_controller.core.usage import NOTHING, Usage, Usages

MOST_SILENT = 48
"""Maximum number of gateways that did not answer whose counters are remembered; the most recent ones are kept."""
MOST_SEEN = 256
"""Upper bound for the gateways in a recorded account."""

LARGEST = 10**18
"""Bound for recorded amounts and counts: a higher one is corrupt, and could not be added to or shown as a metric."""

Readings = Mapping[str, Usages]
"""The counters of each gateway since its start, by the gateway's name."""


@dataclass(frozen=True, slots=True)
class Account:
    """A remote's usage and cost since it was first seen, and in the budget's current period, which began at `period`.

    What is spent, and the cost, include tokens that are assumed for requests whose usage could not be read. `seen` has each
    gateway's counters that are already included.
    """

    remote: str
    total: Usage = NOTHING
    cost: Decimal = Decimal(0)
    currency: str = ""
    period: str = ""
    spent: Usage = NOTHING
    spent_cost: Decimal = Decimal(0)
    seen: tuple[tuple[str, Usage], ...] = ()


Accounts = tuple[Account, ...]


def counted(accounts: Accounts, remotes: Sequence[RemoteBackend], readings: Readings, now: datetime) -> Accounts:
    """Add new usage to the account of each remote.

    An account starts with the first reading; earlier counts are left out.
    """
    known = {each.remote: each for each in accounts if _is_possible(each)}
    read = [remote for remote in remotes if remote.usage is not UsageMode.IGNORE]
    has_account = [remote for remote in read if remote.name in known or readings]
    return tuple(_counted(known.get(remote.name), remote, readings, now) for remote in has_account)


def budget_spent(accounts: Accounts, remotes: Sequence[RemoteBackend]) -> tuple[str, ...]:
    """Return the names of the remotes whose budget is spent."""
    known = {each.remote: each for each in accounts}
    budgets = ((each.name, each.budget) for each in remotes)
    return tuple(
        name for name, budget in budgets if budget is not None and name in known and is_spent(known[name], budget)
    )


def used(account: Account, budget: Budget) -> Decimal:
    """Return the amount spent in the current period, in the budget's unit."""
    match budget.unit:
        case BudgetUnit.REQUESTS:
            return Decimal(account.spent.requests)
        case BudgetUnit.TOKENS:
            return Decimal(account.spent.tokens)
        case BudgetUnit.COST:
            return account.spent_cost


def is_spent(account: Account, budget: Budget) -> bool:
    """Return whether the budget is spent."""
    return used(account, budget) >= budget.amount


def without_local(account: Account, local_requests: int) -> Decimal | None:
    """Estimate what this remote would have cost if it had served the local requests as well, by the mean cost of its requests."""
    if not account.total.requests:
        return None
    return account.cost * (account.total.requests + local_requests) / account.total.requests


def _counted(account: Account | None, remote: RemoteBackend, readings: Readings, now: datetime) -> Account:
    read = {gateway: each.get(remote.name, NOTHING) for gateway, each in readings.items()}
    if account is None:
        return _paid(_in_period(Account(remote.name, seen=tuple(read.items())), remote, now), remote, NOTHING)
    before = dict(account.seen)
    new = usage.total(usage.fresh(before.get(gateway, NOTHING), each) for gateway, each in read.items())
    silent = tuple((gateway, each) for gateway, each in account.seen if gateway not in read)
    current = replace(_in_period(account, remote, now), seen=(*silent[-MOST_SILENT:], *read.items()))
    return _paid(current, remote, new)


def _in_period(account: Account, remote: RemoteBackend, now: datetime) -> Account:
    """Start a new period if one has begun; setting the clock back starts none."""
    if remote.budget is None:
        return replace(account, period="", spent=NOTHING, spent_cost=Decimal(0))
    present = budget_periods.label(budget_periods.period_start(remote.budget, now))
    if account.period > budget_periods.label(budget_periods.period_end(remote.budget, now)):
        # The period was begun by a clock that was far ahead, perhaps by years.
        return replace(account, period=present)
    if present <= account.period:
        return account
    return replace(account, period=present, spent=NOTHING, spent_cost=Decimal(0))


def _paid(account: Account, remote: RemoteBackend, new: Usage) -> Account:
    """Add new usage at the current price. Amounts in another currency are not added up.

    Cost and budget include what is assumed for unread requests; the total is what the remote has reported.
    """
    total = usage.plus(account.total, new)
    charged = usage.plus(new, usage.assumed(new, total))
    added = usage.cost(charged, remote.price) if remote.price is not None else Decimal(0)
    currency = remote.price.currency if remote.price is not None else account.currency
    before = account.cost if currency == account.currency else Decimal(0)
    in_period = remote.budget is not None
    return replace(
        account,
        total=total,
        cost=before + added,
        currency=currency,
        spent=usage.plus(account.spent, charged) if in_period else NOTHING,
        spent_cost=account.spent_cost + added if in_period else Decimal(0),
    )


def _is_possible(account: Account) -> bool:
    """Return whether a recorded account is plausible."""
    amounts = all(each.is_finite() and 0 <= each <= LARGEST for each in (account.cost, account.spent_cost))
    usages = (account.total, account.spent, *(each for _, each in account.seen))
    counts = all(0 <= number <= LARGEST for each in usages for number in astuple(each))
    return amounts and counts and len(account.seen) <= MOST_SEEN
