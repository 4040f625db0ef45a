"""The accounts of remotes: laws that hold whatever gateways count, whenever they begin anew, and whatever the clock does."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamlit_controller.core import budget_periods, spending
from beamlit_controller.core.price import Budget, BudgetUnit, Period, Price, UsageMode
from beamlit_controller.core.spec import RemoteBackend, Scheme
from beamlit_controller.core.spending import Account, Accounts
from beamlit_controller.core.usage import NOTHING, Usage

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
HOURLY = Budget(Decimal(1_000), BudgetUnit.TOKENS, Period.HOUR)
PRICE = Price(Decimal("2.50"), Decimal(10), Decimal("0.001"))
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Asia/Beirut",
    "Pacific/Apia",
)


def remote(**changes: object) -> RemoteBackend:
    return replace(RemoteBackend(Scheme.HTTPS, "api.example.com", 443, budget=HOURLY, price=PRICE), **changes)


def opened(spec: RemoteBackend, now: datetime = NOW, **seen: Usage) -> Accounts:
    readings = {gateway: {"": each} for gateway, each in seen.items()}
    return spending.counted((), [spec], {"new": {}, **readings}, now)


def after(accounts: Accounts, spec: RemoteBackend, now: datetime = NOW, **seen: Usage) -> Account:
    (account,) = spending.counted(accounts, [spec], {gateway: {"": each} for gateway, each in seen.items()}, now)
    return account


def test_what_was_counted_before_the_account_was_opened_is_budget_spent() -> None:
    before = opened(remote(), a=Usage(9, 900, 90))

    account = after(before, remote(), a=Usage(10, 1_000, 100))

    assert account.total == Usage(1, 100, 10)


def test_a_gateway_that_appears_later_counts_from_its_beginning() -> None:
    before = opened(remote(), a=Usage(9, 900, 90))

    account = after(before, remote(), a=Usage(9, 900, 90), b=Usage(2, 20, 2))

    assert account.total == Usage(2, 20, 2)


def test_a_gateway_that_did_not_answer_for_a_while_is_counted_once() -> None:
    spec = remote()
    first = opened(spec, a=NOTHING, b=NOTHING)
    both = (after(first, spec, a=Usage(1, 1, 1), b=Usage(5, 5, 5)),)
    one = (after(both, spec, a=Usage(2, 2, 2)),)

    account = after(one, spec, a=Usage(2, 2, 2), b=Usage(6, 6, 6))

    assert account.total == Usage(8, 8, 8)


def test_a_hundred_gateways_are_counted_once_each_also_while_they_are_replaced() -> None:
    spec = remote(budget=None)
    accounts = opened(spec)

    for generation in range(3):
        for requests in (1, 2):
            counts = {f"{generation}-{number}": Usage(requests) for number in range(100)}
            accounts = spending.counted(accounts, [spec], {name: {"": each} for name, each in counts.items()}, NOW)

    assert accounts[0].total == Usage(3 * 100 * 2)
    assert len(accounts[0].seen) == 100 + spending.MOST_SILENT


def test_money_is_exact() -> None:
    spec = remote(budget=None)

    account = after(opened(spec), spec, a=Usage(3, 1_000_001, 7))

    assert account.cost == Decimal("2.5000025") + Decimal("0.00007") + Decimal("0.003")


def test_a_price_that_changes_counts_from_then_on() -> None:
    spec = remote(price=Price(per_request=Decimal(1)))
    before = (after(opened(spec), spec, a=Usage(3)),)

    account = after(before, remote(price=Price(per_request=Decimal(2))), a=Usage(5))

    assert account.cost == Decimal(3 + 4)


def test_another_currency_begins_at_nothing() -> None:
    spec = remote(price=Price(per_request=Decimal(1)))
    before = (after(opened(spec), spec, a=Usage(3)),)

    account = after(before, remote(price=Price(per_request=Decimal(2), currency="EUR")), a=Usage(4))

    assert (account.cost, account.currency) == (Decimal(2), "EUR")


def test_a_remote_is_left_out_from_the_round_in_which_its_budget_is_spent_until_the_period_ends() -> None:
    spec = remote()
    spent = (after(opened(spec), spec, NOW, a=Usage(1, 900, 100)),)

    late = spending.counted(spent, [spec], {}, NOW + timedelta(minutes=59, seconds=59))
    following = spending.counted(late, [spec], {}, NOW + timedelta(hours=1))

    assert spending.budget_spent(spent, [spec]) == spending.budget_spent(late, [spec]) == ("",)
    assert spending.budget_spent(following, [spec]) == ()


def test_a_clock_that_is_set_back_gives_nothing_back_and_a_clock_that_was_years_ahead_ends_no_budget_for_years() -> (
    None
):
    spec = remote()
    spent = (after(opened(spec), spec, NOW, a=Usage(1, 900, 100)),)
    ahead = (after(spent, spec, NOW + timedelta(days=3_650), a=Usage(2, 1_800, 200)),)

    back = spending.counted(spent, [spec], {}, NOW - timedelta(minutes=30))
    right_again = spending.counted(ahead, [spec], {}, NOW + timedelta(minutes=1))
    following = spending.counted(right_again, [spec], {}, NOW + timedelta(hours=1))

    assert spending.budget_spent(back, [spec]) == spending.budget_spent(right_again, [spec]) == ("",)
    assert spending.budget_spent(following, [spec]) == ()


def test_a_budget_of_another_length_goes_on_with_what_was_spent_if_it_is_longer() -> None:
    hour = remote()
    day = replace(hour, budget=replace(HOURLY, per=Period.DAY))
    spent = (after(opened(hour), hour, NOW, a=Usage(1, 900, 100)),)

    longer = spending.counted(spent, [day], {}, NOW + timedelta(hours=11, minutes=59))
    following = spending.counted(longer, [day], {}, NOW + timedelta(hours=12))
    more = spending.budget_spent(longer, [replace(day, budget=replace(HOURLY, amount=Decimal(2_000)))])

    assert spending.budget_spent(longer, [day]) == ("",)
    assert spending.budget_spent(following, [day]) == more == ()


@pytest.mark.parametrize(("unit", "amount"), [(BudgetUnit.REQUESTS, 2), (BudgetUnit.TOKENS, 30), (BudgetUnit.COST, 4)])
def test_a_budget_is_of_requests_tokens_or_money(unit: BudgetUnit, amount: int) -> None:
    exactly = Budget(Decimal(amount), unit, Period.DAY)
    spec = remote(budget=exactly, price=Price(per_request=Decimal(2)))

    account = after(opened(spec), spec, a=Usage(2, 10, 20))

    assert spending.is_spent(account, exactly)
    assert not spending.is_spent(account, replace(exactly, amount=Decimal(amount) + Decimal("0.01")))


def test_an_unread_request_costs_the_mean_of_those_that_were_read() -> None:
    """A client that left before the usage came, or kept it from being told, got its tokens for nothing."""
    spec = remote(price=Price(Decimal(10**6), Decimal(10**6), Decimal(1)))
    before = (after(opened(spec), spec, a=Usage(4, 400, 40)),)

    account = after(before, spec, a=Usage(7, 400, 40, 3))

    assert account.total == Usage(7, 400, 40, 3)
    assert account.spent.tokens == 440 + 3 * 110
    assert account.cost == account.spent_cost == 440 + 3 * 110 + 7


def test_the_mean_is_that_of_all_requests_that_were_ever_read_and_is_rounded_up() -> None:
    spec = remote()
    yesterday = (replace(after(opened(spec), spec, a=Usage(3, 100, 10)), spent=NOTHING),)

    account = after(yesterday, spec, a=Usage(4, 100, 10, 1))

    assert account.spent == Usage(1, 34, 4, 1)


def test_nothing_is_assumed_while_no_request_was_read() -> None:
    spec = remote()

    account = after(opened(spec), spec, a=Usage(5, 0, 0, 5))

    assert (account.spent, account.cost) == (Usage(5, 0, 0, 5), Decimal("0.005"))


def test_an_account_that_can_not_have_come_about_is_opened_anew() -> None:
    wild = (
        Account("", cost=Decimal("NaN")),
        Account("", cost=Decimal("1e99999999999")),
        Account("", spent=Usage(-5)),
        Account("", spent=Usage(10**4000)),
    )

    opened_anew = [spending.counted((each,), [remote()], {"a": {}}, NOW)[0] for each in wild]

    assert [(each.cost, each.spent) for each in opened_anew] == [(Decimal(0), NOTHING)] * len(wild)


def test_a_remote_whose_tokens_are_not_read_has_no_account() -> None:
    assert spending.counted((), [remote(usage=UsageMode.IGNORE)], {"a": {}}, NOW) == ()


def test_an_account_is_opened_with_the_first_reading() -> None:
    assert spending.counted((), [remote()], {}, NOW) == ()


def test_what_the_same_requests_would_have_cost_without_local_follows_from_the_mean() -> None:
    spec = remote(price=Price(per_request=Decimal(2)))
    account = after(opened(spec), spec, a=Usage(3))

    assert spending.without_local(account, 9) == Decimal(24)
    assert spending.without_local(Account(""), 9) is None


usages = st.builds(Usage, *(st.integers(0, 1_000) for _ in range(4)))
steps = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from("abc"), st.one_of(st.none(), usages), max_size=3), st.integers(-7_200, 7_200)
    ),
    max_size=20,
)


@given(steps)
def test_what_was_spent_never_falls_but_by_a_new_period_and_no_restart_refunds(
    steps: list[tuple[Mapping[str, Usage | None], int]],
) -> None:
    spec, now = remote(), NOW
    accounts, counters = opened(spec), dict.fromkeys("abc", NOTHING)

    for grown, seconds in steps:
        now += timedelta(seconds=seconds)
        # None is a gateway that begins anew.
        counters |= {name: NOTHING if each is None else _plus(counters[name], each) for name, each in grown.items()}
        before, (account,) = (
            accounts[0],
            spending.counted(accounts, [spec], {name: {"": counters[name]} for name in grown}, now),
        )
        accounts = (account,)

        assert account.total.tokens >= before.total.tokens
        assert account.cost >= before.cost
        assert account.period > before.period or account.spent.tokens >= before.spent.tokens


@given(st.lists(st.tuples(st.sampled_from("abcd"), usages), max_size=30), st.randoms())
def test_all_that_gateways_count_is_counted_once_however_seldom_they_are_asked(
    grown: list[tuple[str, Usage]], draw: object
) -> None:
    spec, counters = remote(), dict.fromkeys("abcd", NOTHING)
    often, seldom = opened(spec, **counters), opened(spec, **counters)

    for name, each in grown:
        counters[name] = _plus(counters[name], each)
        often = (after(often, spec, **{name: counters[name]}),)
    once = after(seldom, spec, **counters)

    assert often[0].total == once.total == _all(each for _, each in grown)
    # What is assumed for unread requests follows from the mean at that time.
    assert often[0].cost == once.cost or once.total.unread


def _plus(one: Usage, other: Usage) -> Usage:
    return Usage(
        one.requests + other.requests,
        one.input_tokens + other.input_tokens,
        one.output_tokens + other.output_tokens,
        one.unread + other.unread,
    )


def _all(several: object) -> Usage:
    found = NOTHING
    for each in several:
        found = _plus(found, each)
    return found


moments = st.integers(1_300_000_000, 2_200_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@given(moments, st.sampled_from(ZONES), st.sampled_from(Period), st.integers(0, 200_000))
def test_periods_follow_each_other_without_gaps_and_never_backwards(
    now: datetime, zone: str, per: Period, seconds: int
) -> None:
    budget = Budget(Decimal(1), BudgetUnit.REQUESTS, per, zone)

    begin, end = budget_periods.period_start(budget, now), budget_periods.period_end(budget, now)

    assert begin <= now
    assert begin < end
    assert budget_periods.period_start(budget, begin) == begin
    assert budget_periods.period_start(budget, now + timedelta(seconds=seconds)) >= begin


@pytest.mark.parametrize(
    ("per", "zone", "now", "began", "ends"),
    [
        (Period.DAY, "Europe/Berlin", "2026-03-29T10:00", "2026-03-28T23:00", "2026-03-29T22:00"),  # of 23 hours
        (Period.DAY, "Europe/Berlin", "2026-10-25T10:00", "2026-10-24T22:00", "2026-10-25T23:00"),  # of 25 hours
        (Period.HOUR, "Europe/Berlin", "2026-10-25T00:30", "2026-10-25T00:00", "2026-10-25T01:00"),
        (
            Period.HOUR,
            "Europe/Berlin",
            "2026-10-25T01:30",
            "2026-10-25T01:00",
            "2026-10-25T02:00",
        ),  # by its name the same
        (Period.HOUR, "Asia/Kathmandu", "2026-06-01T12:00", "2026-06-01T11:15", "2026-06-01T12:15"),
        (Period.MONTH, "UTC", "2028-02-29T23:59", "2028-02-01T00:00", "2028-03-01T00:00"),
        (Period.MONTH, "America/New_York", "2026-01-01T04:59", "2025-12-01T05:00", "2026-01-01T05:00"),
        (Period.DAY, "Asia/Beirut", "2026-03-29T12:00", "2026-03-28T22:00", "2026-03-29T21:00"),  # has no midnight
    ],
)
def test_periods_begin_by_the_clock_of_their_zone(per: Period, zone: str, now: str, began: str, ends: str) -> None:
    budget = Budget(Decimal(1), BudgetUnit.REQUESTS, per, zone)
    at = datetime.fromisoformat(now).replace(tzinfo=UTC)

    assert (
        f"{budget_periods.period_start(budget, at):%Y-%m-%dT%H:%M}",
        f"{budget_periods.period_end(budget, at):%Y-%m-%dT%H:%M}",
    ) == (
        began,
        ends,
    )
