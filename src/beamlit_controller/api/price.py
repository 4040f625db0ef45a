"""`price`, `budget` and `usage` of a remote as users write them."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from beamlit_controller.api import scalars
from beamlit_controller.api.model import StrictModel
from beamlit_controller.api.rules import Cel, Mistake
from beamlit_controller.api.scalars import PositiveQuantity, Quantity
from beamlit_controller.core import quantity
from beamlit_controller.core.price import Budget, BudgetUnit, Period, Price, UsageMode

NANO = Decimal(10) ** 9


class PriceConfig(StrictModel):
    """Prices of the remote."""

    input_per_million: Quantity = Field(default="0", description="Price of a million input tokens.")
    output_per_million: Quantity = Field(default="0", description="Price of a million output tokens.")
    per_request: Quantity = Field(default="0", description="Price of each answered request.")
    currency: Annotated[str, *scalars.matching("[A-Z]{3}", "a currency such as USD", longest=3)] = Field(
        default="USD", description="Currency of the prices, as in ISO 4217."
    )


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"expected a time zone such as Europe/Berlin, got {name}") from error
    return name


class BudgetConfig(StrictModel):
    """Spending limit of a remote per period."""

    amount: PositiveQuantity = Field(description="Amount per period, in `unit`.")
    unit: Literal["Requests", "Tokens", "Cost"] | None = Field(
        default=None,
        description="Requests, Tokens (input and output), or Cost in the currency of `price`; by default Cost with a `price`, otherwise Requests.",
    )
    per: Literal["Hour", "Day", "Month"] = Field(description="Period after which the budget is reset.")
    time_zone: Annotated[
        str,
        *scalars.matching(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", "a time zone such as Europe/Berlin", longest=64),
        AfterValidator(_zone),
    ] = Field(default="UTC", description="Time zone in which periods begin, such as Europe/Berlin.")


class CostNeedsPrice:
    """A budget in currency needs a price."""

    def mistakes(self, given: Mapping[str, object]) -> Iterator[Mistake]:
        """Report the missing price."""
        budget = given.get("budget")
        if isinstance(budget, Mapping) and budget.get("unit") == "Cost" and given.get("price") is None:
            yield Mistake(("price",), "required together with budget.unit Cost")

    def cel(self) -> Iterator[Cel]:
        """Check the unit."""
        cost = "has(self.budget) && has(self.budget.unit) && self.budget.unit == 'Cost'"
        yield Cel(f"!({cost}) || has(self.price)", "price: required together with budget.unit Cost")


class AccountNeedsUsage:
    """A price or budget requires that tokens are counted."""

    def mistakes(self, given: Mapping[str, object]) -> Iterator[Mistake]:
        """Report `usage`."""
        if given.get("usage") == "Ignore" and (given.get("price") is not None or given.get("budget") is not None):
            yield Mistake(("usage",), "may not be Ignore with price or budget: nothing would be counted")

    def cel(self) -> Iterator[Cel]:
        """Check it against price and budget."""
        ignored = "has(self.usage) && self.usage == 'Ignore'"
        message = "usage: may not be Ignore with price or budget"
        yield Cel(f"!({ignored}) || (!has(self.price) && !has(self.budget))", message)


def price_of(given: PriceConfig | None) -> Price | None:
    """Translate a price."""
    if given is None:
        return None
    return Price(
        _amount(given.input_per_million),
        _amount(given.output_per_million),
        _amount(given.per_request),
        given.currency,
    )


def budget_of(given: BudgetConfig | None, priced: PriceConfig | None) -> Budget | None:
    """Translate a budget."""
    if given is None:
        return None
    unit = BudgetUnit(given.unit) if given.unit else BudgetUnit.COST if priced else BudgetUnit.REQUESTS
    return Budget(_amount(given.amount), unit, Period(given.per), given.time_zone)


def usage_of(written: str | None, *, accounts: bool) -> UsageMode:
    """Return how usage is read; with a price or budget it is also requested."""
    if written is not None:
        return UsageMode(written)
    return UsageMode.ASK if accounts else UsageMode.READ


def _amount(text: str) -> Decimal:
    return quantity.parse(text).nano / NANO
