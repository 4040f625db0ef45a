"""How much of a server's page is parsed at most."""

import pytest

from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.scrape import page as pages
from beamlit_controller.scrape.page import Page, ParsingBudget

KIB = 1024


def page(count: int, length: int) -> Page:
    """Return a page with so many series, whose lines have this length with the newline."""
    lines = (f'queue{{n="{number:06}",a="' for number in range(count))
    return Page("".join(f'{line}{"x" * (length - len(line) - 5)}"}} 1\n' for line in lines).encode())


def read(page: Page, budget: ParsingBudget | None = None) -> int | Reason:
    """Return the number of samples, or why there are none."""
    found = pages.samples(page, "queue", budget)
    return found.reason if isinstance(found, Missing) else len(found)


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (page(31, 8 * KIB), 31),
        (page(1, 8 * KIB + 2), Reason.MALFORMED_ANSWER),
        (page(33, 8 * KIB), Reason.ANSWER_TOO_LARGE),
        (page(524, 8 * KIB), Reason.ANSWER_TOO_LARGE),
        (page(5_000, 50), 5_000),
        (page(5_001, 50), Reason.ANSWER_TOO_LARGE),
        (page(4_999, 100), Reason.ANSWER_TOO_LARGE),
        (Page(b"# queue\n" * 10_001), Reason.ANSWER_TOO_LARGE),
        (Page(b"# queue\n" * 9_999 + b"queue 1\n"), 1),
    ],
    ids=[
        "long lines",
        "too long",
        "too many long ones",
        "far too many long ones",
        "many",
        "too many",
        "large",
        "mentions",
        "fewer",
    ],
)
def test_lines_and_bytes_of_a_name_are_bounded(page: Page, expected: int | Reason) -> None:
    """Their parser takes up to a microsecond per byte, in which nothing else happens: for 8 MiB of them it took seconds."""
    assert read(page) == expected


def test_other_lines_may_be_of_any_length() -> None:
    assert read(Page(b'other{a="' + b"x" * 1_000_000 + b'"} 1\nqueue 3\n')) == 1


def test_pages_of_one_round_share_a_budget() -> None:
    budget = ParsingBudget(25_000)

    found = [read(page(100, 100), budget) for _ in range(4)]

    assert found == [100, 100, Reason.ANSWER_TOO_LARGE, Reason.ANSWER_TOO_LARGE]


def test_looking_for_a_name_costs_too() -> None:
    """A model with many metrics and long pages would take seconds for nothing."""
    budget = ParsingBudget(100 * KIB)
    nothing = Page(b"other 1\n" * KIB * KIB)

    found = [read(nothing, budget) for _ in range(4)]

    assert found == [0, 0, 0, Reason.ANSWER_TOO_LARGE]


def test_a_step_ends_after_some_work() -> None:
    budget = ParsingBudget(KIB * KIB)

    budget.spend(60 * KIB)
    assert not budget.ends_step()
    budget.spend(10 * KIB)
    assert budget.ends_step()
    assert not budget.ends_step()
