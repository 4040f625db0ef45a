"""Prices and budgets of a remote, as users write them."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class UsageMode(StrEnum):
    """How the number of tokens in a response is determined."""

    READ = "Read"
    ASK = "Ask"
    IGNORE = "Ignore"


@dataclass(frozen=True, slots=True)
class Price:
    """Prices of tokens and requests, in a currency."""

    input_per_million: Decimal = Decimal(0)
    output_per_million: Decimal = Decimal(0)
    per_request: Decimal = Decimal(0)
    currency: str = "USD"


class BudgetUnit(StrEnum):
    """Unit of a budget."""

    REQUESTS = "Requests"
    TOKENS = "Tokens"
    COST = "Cost"


class Period(StrEnum):
    """Period after which a budget is reset."""

    HOUR = "Hour"
    DAY = "Day"
    MONTH = "Month"


@dataclass(frozen=True, slots=True)
class Budget:
    """Spending limit per period; periods begin in the given time zone."""

    amount: Decimal
    unit: BudgetUnit
    per: Period
    time_zone: str = "UTC"
