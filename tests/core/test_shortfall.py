"""Whether the highest share is enough, and what is said when it is not."""

from datetime import timedelta
from fractions import Fraction

import pytest

from beamlit_controller.core import cycle, preview, shortfall
from beamlit_controller.core.cycle import Cycle
from beamlit_controller.core.shortfall import Shortfall
from beamlit_controller.core.spec import Behavior, Mode
from builders import NOW, sample, signals, spec

SECOND = timedelta(seconds=1)
HALF = Behavior(percentage=50)


def after(*values: int, behavior: Behavior = HALF, period: int = 10) -> Cycle:
    """Read these values, one after the other, and give the last round."""
    model, record = spec(behavior=behavior), None
    for step, value in enumerate(values):
        at = NOW + step * period * SECOND
        read = signals(sample(value, at=at, window=timedelta(0)), at=at)
        record = cycle.run(model, read, previous=record.decision if record else None, now=at)
    assert record is not None
    return record


def not_enough(record: Cycle) -> bool:
    return record.decision.shortfall is not None and record.decision.shortfall.lasts


@pytest.mark.parametrize("values", [[20 + 10 * step for step in range(9)], [30] * 9], ids=["grows", "stays"])
def test_a_metric_that_grows_or_stays_over_its_target_for_a_minute_shows_that_the_share_is_not_enough(
    values: list[int],
) -> None:
    assert not not_enough(after(*values[:7]))
    assert not_enough(after(*values))


def test_a_backlog_that_drains_does_not() -> None:
    assert not not_enough(after(200, 180, 160, 140, 120, 100, 85, 70, 60, 50, 40, 30))


def test_it_is_over_when_the_metric_is_at_its_target_again() -> None:
    assert not_enough(after(*[30] * 9))
    assert after(*[30] * 9, 10).decision.shortfall is None


def test_a_higher_percentage_is_given_its_time() -> None:
    record = after(*[30] * 9)
    at = record.at + 10 * SECOND
    more = spec(behavior=Behavior(percentage=80))

    raised = cycle.run(more, signals(value=30, at=at), previous=record.decision, now=at)

    assert raised.decision.percentage == 80
    assert raised.decision.shortfall is None


def test_a_dry_run_says_nothing_of_it_for_nothing_was_sent() -> None:
    assert not not_enough(after(*[30] * 12, behavior=Behavior(percentage=50, dry_run=True)))


def test_it_is_said_with_what_would_help() -> None:
    record = after(*[30] * 9)

    said = preview.sentences(record, record.at)

    assert record.decision.message == (
        "queue 30 > 10; 50 % is not enough: over the target for 1 min 10 s with the highest share allowed"
    )
    assert (
        "50 % is not enough: a higher behavior.percentage, mode Adaptive or overflow.maxInFlightPerReplica offloads requests as soon as local is full"
    ) in said


def test_the_proportional_share_is_not_enough_at_its_highest_either() -> None:
    proportional = Behavior(percentage=40, mode=Mode.PROPORTIONAL)

    assert not_enough(after(*[30 + step for step in range(20)], behavior=proportional, period=15))


def test_noise_takes_nothing_back_once_it_was_told() -> None:
    told = Shortfall(NOW, Fraction(3), lasts=True)

    assert shortfall.followed(told, Fraction(2), NOW + SECOND).lasts
    assert not shortfall.followed(told, Fraction(6, 5), NOW + SECOND).lasts
