"""What a remote's answers cost, and how much may be spent on it: as users write it."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class UsageMode(StrEnum):
    """What is done to learn how many tokens an answer of the remote is of."""

    READ = "Read"
    ASK = "Ask"
    IGNORE = "Ignore"


@dataclass(frozen=True, slots=True)
class Price:
    """What tokens and requests cost, in a currency."""

    input_per_million: Decimal = Decimal(0)
    output_per_million: Decimal = Decimal(0)
    per_request: Decimal = Decimal(0)
    currency: str = "USD"


class BudgetUnit(StrEnum):
    """What a budget is of."""

    REQUESTS = "Requests"
    TOKENS = "Tokens"
    COST = "Cost"


class Period(StrEnum):
    """The time after which a budget begins anew."""

    HOUR = "Hour"
    DAY = "Day"
    MONTH = "Month"


@dataclass(frozen=True, slots=True)
class Budget:
    """The amount that may be spent in each period; periods begin by the clock of a time zone."""

    amount: Decimal
    unit: BudgetUnit
    per: Period
    time_zone: str = "UTC"
