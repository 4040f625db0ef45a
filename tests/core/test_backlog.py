"""A backlog that the gateways see before a late metric shows it."""

from datetime import timedelta
from fractions import Fraction

import pytest

from beamlit_controller.core import backlog
from beamlit_controller.core.in_flight_span import InFlightSpan
from builders import NOW

EVIDENCE = pytest.mark.parametrize("evidence", [backlog.LOWER, backlog.FIRST, backlog.FIRST_AFTER_CALM])


def spans(
    *seen: tuple[int, int], ready: int = 1, sent: int = 0, overflowed: int = 0, seconds: int = 5
) -> tuple[InFlightSpan, ...]:
    """Return spans of five seconds each: what is in flight at the end, per replica, and what was finished."""
    lasted = timedelta(seconds=seconds)
    return tuple(
        InFlightSpan(
            NOW + lasted * step, NOW + lasted * (step + 1), Fraction(in_flight), served, sent, overflowed, ready
        )
        for step, (in_flight, served) in enumerate(seen)
    )


CALM = ((4, 20), (4, 20), (4, 20))


def test_a_backlog_that_grows_while_no_more_is_finished_gives_a_cap_near_what_fits() -> None:
    seen = spans(*CALM, (30, 40), (70, 40), (110, 40))

    found = backlog.found(seen, backlog.LOWER)

    assert found is not None
    assert 8 <= found.cap <= 11


def test_the_cap_is_per_replica() -> None:
    whole = tuple((each * 2, served) for each, served in ((30, 40), (70, 40), (110, 40)))
    one = backlog.found(spans(*CALM, *whole), backlog.LOWER)

    two = backlog.found(
        spans((2, 20), (2, 20), (2, 20), *((level // 2, served) for level, served in whole), ready=2), backlog.LOWER
    )

    assert one is not None
    assert two is not None
    assert abs(two.cap - one.cap / 2) <= 1
    assert one.rate == 2 * two.rate == 8


@EVIDENCE
@pytest.mark.parametrize(
    "seen",
    [
        (*CALM, *CALM),
        (*CALM, (8, 40), (8, 40), (8, 40)),
        (*CALM, (8, 20), (12, 25), (16, 50), (16, 80), (16, 80)),
        (*CALM, (16, 10), (16, 20), (16, 20), (16, 20)),
        (*CALM, (70, 40)),
        ((0, 0), (0, 0), (3, 1), (2, 2)),
        (),
    ],
    ids=["calm", "more, and more is finished", "long requests begin", "slower requests", "too soon", "few", "nothing"],
)
def test_without_such_a_backlog_there_is_none(seen: tuple[tuple[int, int], ...], evidence: backlog.Evidence) -> None:
    assert backlog.found(spans(*seen), evidence) is None


@pytest.mark.parametrize(("rounds", "seconds"), [(3, 2), (6, 1)])
def test_many_requests_show_within_seconds_what_fits(rounds: int, seconds: int) -> None:
    """Forty requests finish each second, sixty more wait each second: the first cap follows after six seconds."""
    calm = ((20, 20 * seconds),) * 8
    grows = tuple((20 + 60 * seconds * step, 40 * seconds) for step in range(1, rounds + 1))

    found = backlog.found(spans(*calm, *grows, seconds=seconds), backlog.FIRST_AFTER_CALM)

    assert found is not None
    assert 40 <= found.cap <= 44


def test_few_requests_do_not_lower_a_cap_that_is_in_force() -> None:
    seen = spans(*((2, 5),) * 8, (15, 13), (30, 14), sent=1, overflowed=1)

    assert backlog.found(seen, backlog.FIRST) is not None
    assert backlog.found(seen, backlog.LOWER) is None


def test_without_a_calm_time_before_a_backlog_is_believed_only_where_the_metric_is_late() -> None:
    seen = spans((60, 40), (120, 40), (180, 40))

    assert backlog.found(seen, backlog.FIRST) is not None
    assert backlog.found(seen, backlog.FIRST_AFTER_CALM) is None


@pytest.mark.parametrize("after", [(), ((12, 60),), ((20, 90), (4, 66))], ids=["while it lasts", "over", "long over"])
def test_a_pause_of_the_servers_is_no_backlog(after: tuple[tuple[int, int], ...]) -> None:
    """They answer nothing for three seconds, and then all that waited."""
    seen = spans(*((4, 20),) * 8, (24, 0), (44, 0), (64, 0), *after, seconds=1)

    assert backlog.found(seen, backlog.FIRST) is None


def test_where_requests_leave_already_it_says_nothing() -> None:
    seen = spans(*CALM, (30, 40), (70, 40), (110, 40), sent=1)

    assert backlog.found(seen, backlog.LOWER) is None


def test_a_backlog_that_only_a_cap_far_too_high_holds_gives_a_lower_one() -> None:
    calm, held = spans(*CALM), spans(*CALM, (60, 40), (60, 40), (60, 40), sent=40, overflowed=40)[len(CALM) :]

    found = backlog.found((*calm, *held), backlog.LOWER)

    assert found is not None
    assert 8 <= found.cap <= 11


def test_what_a_cap_that_fits_holds_is_no_backlog() -> None:
    calm, held = spans(*CALM), spans(*CALM, (12, 40), (12, 40), (12, 40), sent=40, overflowed=40)[len(CALM) :]

    assert backlog.found((*calm, *held), backlog.LOWER) is None


@pytest.mark.parametrize(("served", "wanted"), [(20, Fraction(8)), (5, Fraction(16)), (36, None)])
def test_a_cap_under_which_fewer_end_than_during_the_backlog_is_corrected_by_as_much(
    served: int, wanted: Fraction | None
) -> None:
    """Forty requests ended in five seconds during the backlog. At most four times the cap, since the rate may be too high."""
    since = spans(*CALM)[-1].until
    held = spans(*CALM, *[(4, served)] * 4, sent=9, overflowed=9)

    assert backlog.corrected(held, Fraction(4), Fraction(8), since) == wanted


@pytest.mark.parametrize(("level", "overflowed"), [(40, 9), (4, 0)], ids=["it drains", "it is not reached"])
def test_a_cap_that_is_not_what_limits_the_requests_is_not_corrected(level: int, overflowed: int) -> None:
    since = spans(*CALM)[-1].until
    held = spans(*CALM, *[(level, 20)] * 4, sent=overflowed, overflowed=overflowed)

    assert backlog.corrected(held, Fraction(4), Fraction(8), since) is None


def test_equal_requests_that_have_not_ended_yet_are_no_backlog() -> None:
    """For the duration of a request after a step of the load, as many end as arrived before, however many slots are free."""
    calm = ((16, 10),) * 6
    rising = ((16, 10), (40, 10), (80, 10), (120, 10))

    seen = spans(*calm, *rising)

    assert backlog.found(seen, backlog.FIRST) is None
    assert backlog.found(spans(*calm, *rising, (160, 10), (200, 10)), backlog.FIRST) is not None
