"""A loaded hour in virtual time: what a budget lets through, with several gateways that are asked now and then."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from beamlit_controller.core import ledger, spending
from beamlit_controller.core.ledger import EMPTY, UsageReading
from beamlit_controller.core.price import Budget, BudgetUnit, Period
from beamlit_controller.core.spec import RemoteBackend, Scheme
from beamlit_controller.core.usage import NOTHING, Usage

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
ROUND = 15
POLL = 5
RATE = 7
"""Requests of each gateway in a second."""
TOKENS = 40
GATEWAYS = "abc"


@pytest.mark.parametrize("seed", range(5))
def test_a_budget_is_overspent_by_at_most_one_evaluation_at_the_end_of_a_loaded_hour(seed: int) -> None:
    """Gateways are polled each 5 s, rounds are each 15 s; gateways begin anew and the controller too, now and then."""
    draw = random.Random(seed)
    budget = Budget(Decimal(1_000_000), BudgetUnit.TOKENS, Period.HOUR)
    remote = RemoteBackend(Scheme.HTTPS, "api.example.com", 443, budget=budget)
    counters, readings = dict.fromkeys(GATEWAYS, NOTHING), {}
    book = ledger.entered(EMPTY, (remote,), UsageReading({"a": {"": NOTHING}}), NOW)
    sent, out = 0, False

    for second in range(3_600):
        for name in GATEWAYS if not out else ():
            counters[name] = _plus(counters[name], RATE)
            sent += RATE * TOKENS
        if second % POLL == 0:
            answering = [name for name in GATEWAYS if draw.random() < 0.8] if second % ROUND else GATEWAYS
            readings |= {name: {"": counters[name]} for name in answering}
        if draw.random() < 0.002:  # a gateway ends in order: its last counts are read
            name = draw.choice(GATEWAYS)
            readings |= {name: {"": counters[name]}}
            book = ledger.entered(book, (remote,), UsageReading(readings), NOW + timedelta(seconds=second))
            counters[name] = NOTHING
            readings = {}
        if second % ROUND == 0:
            book = ledger.entered(book, (remote,), UsageReading(readings), NOW + timedelta(seconds=second))
            out, readings = bool(spending.budget_spent(book.accounts, (remote,))), {}

    assert out
    assert int(budget.amount) <= sent <= int(budget.amount) + (ROUND + POLL) * RATE * TOKENS * len(GATEWAYS)
    following = ledger.entered(book, (remote,), UsageReading({}), NOW + timedelta(hours=1))
    assert spending.budget_spent(following.accounts, (remote,)) == ()


def _plus(usage: Usage, requests: int) -> Usage:
    return Usage(usage.requests + requests, usage.input_tokens + requests * TOKENS)


def test_a_controller_that_was_gone_finds_what_was_spent_meanwhile() -> None:
    remote = RemoteBackend(Scheme.HTTPS, "api.example.com", 443)
    before = ledger.entered(EMPTY, (remote,), UsageReading({"a": {"": Usage(5, 50, 5)}}), NOW)

    after = ledger.entered(before, (remote,), UsageReading({"a": {"": Usage(9, 90, 9)}}), NOW + timedelta(hours=5))

    assert after.accounts[0].total == Usage(4, 40, 4)


def test_what_was_spent_outlives_a_stop_that_ends_the_gateways() -> None:
    remote = RemoteBackend(Scheme.HTTPS, "api.example.com", 443)
    first = ledger.entered(EMPTY, (remote,), UsageReading({"a": {"": NOTHING}}), NOW)
    before = ledger.entered(first, (remote,), UsageReading({"a": {"": Usage(5, 50, 5)}}), NOW)

    after = ledger.entered(ledger.stopped(before), (remote,), UsageReading({"a": {"": Usage(6, 60, 6)}}), NOW)

    assert after.accounts[0].total == Usage(11, 110, 11)


def test_the_requests_of_local_count_from_the_opening_of_the_first_account() -> None:
    remote = RemoteBackend(Scheme.HTTPS, "api.example.com", 443)

    without = ledger.entered(EMPTY, (remote,), UsageReading({}, local=7), NOW)
    book = ledger.entered(replace(without), (remote,), UsageReading({"a": {}}, local=3), NOW)

    assert (without.local_requests, book.local_requests) == (0, 3)
