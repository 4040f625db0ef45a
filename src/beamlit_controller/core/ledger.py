"""The ledger of a model: the accounts of its remotes, and the local requests in the same time."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from beamlit_controller.core import spending
from beamlit_controller.core.spec import RemoteBackend
from beamlit_controller.core.spending import Account, Accounts
from beamlit_controller.core.usage import Usages


@dataclass(frozen=True, slots=True)
class UsageReading:
    """The gateways' counters of each remote since their start, and the local requests since the last round."""

    readings: Mapping[str, Usages] = field(default_factory=dict)
    local: int = 0


NO_USAGE = UsageReading()


@dataclass(frozen=True, slots=True)
class Ledger:
    """The accounts, and local's answers since they were opened: those of requests that could have left."""

    accounts: Accounts = ()
    local_requests: int = 0


EMPTY = Ledger()


def entered(ledger: Ledger, remotes: tuple[RemoteBackend, ...], usage: UsageReading, now: datetime) -> Ledger:
    """Add new counts."""
    accounts = spending.counted(ledger.accounts, remotes, usage.readings, now)
    return Ledger(accounts, max(0, ledger.local_requests) + usage.local if accounts else 0)


def lasting(ledger: Ledger) -> Ledger:
    """Return what is written at once: which accounts there are, and for which period.

    The numbers may wait, since the gateways go on counting. An account that is not written would be opened once more after
    a restart, and all that was counted until then left out.
    """
    return Ledger(tuple(Account(each.remote, period=each.period) for each in ledger.accounts))


def stopped(ledger: Ledger) -> Ledger:
    """Return what is worth keeping when the gateways are ended: they begin to count anew."""
    return replace(ledger, accounts=tuple(replace(each, seen=()) for each in ledger.accounts))
