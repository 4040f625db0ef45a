"""When a server is asked for its slots again, and how long what it reported counts."""

from datetime import timedelta

import pytest

from beamlit_controller.core.metric_spec import SlotsPage
from beamlit_controller.scrape.slots import AGAIN, KEPT, ReportedSlots, path_of
from builders import NOW

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("later", "due"), [(timedelta(0), False), (AGAIN - SECOND, False), (AGAIN, True), (-SECOND, True)]
)
def test_a_server_is_asked_again_a_minute_later_or_when_the_clock_was_set_back(later: timedelta, *, due: bool) -> None:
    assert ReportedSlots(asked_at={"a:80": NOW}).is_due("a:80", NOW + later) is due


def test_one_that_was_never_asked_is_asked() -> None:
    assert ReportedSlots(asked_at={"a:80": NOW}).is_due("b:80", NOW)


def test_one_that_does_not_answer_is_forgotten_and_asked_at_once_when_it_answers_again() -> None:
    slots = ReportedSlots(asked_at={"a:80": NOW})
    slots.report("a:80", 4, NOW)

    slots.note("a:80", answers=False)
    assert slots.fewest() is None
    assert not slots.is_due("a:80", NOW + 2 * AGAIN)

    slots.note("a:80", answers=True)
    assert slots.is_due("a:80", NOW + SECOND)


@pytest.mark.parametrize(("later", "kept"), [(KEPT - SECOND, 4), (KEPT, None), (-SECOND, None)])
def test_a_number_that_is_not_reported_again_counts_for_a_while(later: timedelta, kept: int | None) -> None:
    slots = ReportedSlots()
    slots.report("a:80", 4, NOW)

    slots.report("a:80", None, NOW + later)

    assert slots.fewest() == kept


def test_nothing_is_kept_of_servers_that_are_gone() -> None:
    slots = ReportedSlots(asked_at={"a:80": NOW, "b:80": NOW})
    slots.report("a:80", 4, NOW)
    slots.note("b:80", answers=False)

    slots.keep([])

    assert slots == ReportedSlots()


@pytest.mark.parametrize(
    ("metrics", "path"), [("/metrics", "/props"), ("/prefix/metrics", "/prefix/props"), ("/a/b/metrics", "/a/b/props")]
)
def test_the_page_of_slots_is_beside_the_metrics(metrics: str, path: str) -> None:
    assert path_of(SlotsPage("/props", "total_slots"), metrics) == path
