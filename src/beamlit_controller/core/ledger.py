"""The ledger of a model: an account per remote, and the number of local requests in the same time."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from beamlit_controller.core import spending
from beamlit_controller.core.spec import RemoteBackend
from beamlit_controller.core.spending import Account, Accounts
from beamlit_controller.core.usage import Usages


@dataclass(frozen=True, slots=True)
class UsageReading:
    """The cumulative counters of each remote by gateway, and the number of new local requests since the last round."""

    readings: Mapping[str, Usages] = field(default_factory=dict)
    local: int = 0


NO_USAGE = UsageReading()


@dataclass(frozen=True, slots=True)
class Ledger:
    """The accounts, and the number of local responses since they were opened to requests that could have left."""

    accounts: Accounts = ()
    local_requests: int = 0


EMPTY = Ledger()


def entered(ledger: Ledger, remotes: tuple[RemoteBackend, ...], usage: UsageReading, now: datetime) -> Ledger:
    """Return the ledger with a new reading entered."""
    accounts = spending.counted(ledger.accounts, remotes, usage.readings, now)
    return Ledger(accounts, max(0, ledger.local_requests) + usage.local if accounts else 0)


def lasting(ledger: Ledger) -> Ledger:
    """Return the part that is recorded immediately: which accounts exist, and their period.

    The amounts may be recorded later, because the gateways' counters are cumulative. An account that was never recorded
    would be opened again after a restart, without everything counted until then.
    """
    return Ledger(tuple(Account(each.remote, period=each.period) for each in ledger.accounts))


def stopped(ledger: Ledger) -> Ledger:
    """Return the ledger for after the gateways are stopped: their next counters start at 0."""
    return replace(ledger, accounts=tuple(replace(each, seen=()) for each in ledger.accounts))
