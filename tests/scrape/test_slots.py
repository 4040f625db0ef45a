"""When a server is asked for its slots again."""

from datetime import timedelta

import pytest

from beamlit_controller.scrape.slots import AGAIN, ReportedSlots
from builders import NOW

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("later", "due"), [(timedelta(0), False), (AGAIN - SECOND, False), (AGAIN, True), (-SECOND, True)]
)
def test_a_server_that_has_not_reported_is_asked_again_a_minute_later_or_when_the_clock_was_set_back(
    later: timedelta, *, due: bool
) -> None:
    assert ReportedSlots(asked_at={"a:80": NOW}).is_due("a:80", NOW + later) is due


def test_one_that_was_never_asked_is_asked_and_one_that_has_reported_is_not() -> None:
    slots = ReportedSlots(numbers={"a:80": 4}, asked_at={"a:80": NOW})

    assert slots.is_due("b:80", NOW)
    assert not slots.is_due("a:80", NOW + 2 * AGAIN)
