"""Who would have answered what left: the remotes in order, by weight, within their budgets."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

import builders
from beamlit_controller.core.price import Budget, BudgetUnit, Period, Price
from beamlit_controller.core.replay import Recording, Replay
from beamlit_controller.core.spec import RemoteBackend, Scheme
from beamlit_controller.rehearsal import remote_costs
from beamlit_controller.rehearsal.remote_costs import NO_TOKENS, MeanTokens, RemoteCosts
from builders import NOW

PAID = RemoteBackend(
    Scheme.HTTPS, "paid.example.com", 443, name="paid", price=Price(per_request=Decimal("0.5"), currency="EUR")
)
FREE = RemoteBackend(Scheme.HTTPS, "free.example.com", 443, name="free")
HOURLY = Budget(Decimal(900), BudgetUnit.REQUESTS, Period.HOUR)
STEP = 15


def played(*remotes: RemoteBackend, tokens: MeanTokens = NO_TOKENS, share: int = 50, hours: int = 2) -> RemoteCosts:
    """Play hours of 10 requests a second, of which half leave: 75 in each sample."""
    first, *others = remotes
    spec = builders.spec(remote=first, next_remotes=tuple(others))
    rows = hours * 3_600 // STEP
    times = tuple(NOW + number * timedelta(seconds=STEP) for number in range(rows))
    recording = Recording(times, ((16_000,),) * rows, (10.0,) * rows)
    found = remote_costs.of(spec, Replay(recording, (share,) * rows, (1.6,) * rows, ()), tokens)
    assert found is not None
    return found


def test_what_leaves_goes_to_the_first_remote_until_its_budget_is_spent_and_again_in_the_next_period() -> None:
    paid, free = played(replace(PAID, budget=HOURLY), FREE).remotes

    # Twelve samples an hour spend it; the time of the others it is out of budget.
    assert (paid.requests, free.requests) == (2 * 900, 36_000 - 2 * 900)
    assert (paid.cost, paid.currency, free.cost) == (Decimal(900), "EUR", None)
    assert paid.spent_seconds == 2 * 3_600 - 2 * 12 * STEP


def test_what_no_budget_is_left_for_stays_local() -> None:
    found = played(replace(PAID, budget=HOURLY))

    assert found.kept == 36_000 - 2 * 900


@pytest.mark.parametrize(("unit", "amount"), [(BudgetUnit.TOKENS, 90_000), (BudgetUnit.COST, "0.9")])
def test_tokens_are_those_of_a_mean_request(unit: BudgetUnit, amount: str) -> None:
    budget = Budget(Decimal(amount), unit, Period.HOUR)
    price = Price(input_per_million=Decimal(10), output_per_million=Decimal(10))

    (paid,) = played(replace(PAID, price=price, budget=budget), tokens=MeanTokens(Decimal(80), Decimal(20))).remotes

    assert paid.requests == 2 * 900


def test_a_budget_is_overspent_by_at_most_what_one_sample_sends() -> None:
    (paid,) = played(replace(PAID, budget=replace(HOURLY, amount=Decimal(901)))).remotes

    assert paid.requests == 2 * (900 + 75)


def test_equals_share_by_weight_and_the_next_one_takes_what_a_spent_one_can_not() -> None:
    heavy, light = replace(PAID, weight=3), replace(FREE, weight=1)

    three, one = played(heavy, light).remotes
    spent, rest = played(replace(heavy, budget=HOURLY), light).remotes

    assert (three.requests, one.requests) == (27_000, 9_000)
    assert 2 * 900 <= spent.requests <= 2 * (900 + 75)
    assert rest.requests == pytest.approx(36_000 - spent.requests)


def test_without_requests_or_remotes_there_is_nothing_to_tell() -> None:
    recording = Recording((NOW,), ((16_000,),))

    assert remote_costs.of(builders.spec(remote=PAID), Replay(recording, (50,), (1.6,), ()), NO_TOKENS) is None
    counted = replace(recording, rates=(10.0,))
    assert remote_costs.of(builders.spec(remote=None), Replay(counted, (50,), (1.6,), ()), NO_TOKENS) is None


def test_who_needs_to_know_tokens_is_named() -> None:
    by_tokens = replace(PAID, name="", price=Price(input_per_million=Decimal(1)))
    budget = replace(FREE, budget=Budget(Decimal(1), BudgetUnit.TOKENS, Period.DAY))

    assert [*remote_costs.needs_tokens(builders.spec(remote=PAID, next_remotes=(FREE,)))] == []
    assert [*remote_costs.needs_tokens(builders.spec(remote=by_tokens))] == ["paid.example.com"]
    assert [*remote_costs.needs_tokens(builders.spec(remote=FREE, next_remotes=(budget,)))] == ["free"]
