"""How old the value of a query is, from when it changes."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamlit_controller.core import cycle, decision, value_age
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.value_age import ValueAge
from beamlit_controller.core.verdict import Assessed, Current, Judgement, Unread, Verdict
from builders import CPU, NOW, QUEUE, missing, sample, signals, spec

PERIOD = 5
STALE_AFTER = timedelta(seconds=90)


def at(second: float) -> datetime:
    return NOW + timedelta(seconds=second)


def read(milli: int, now: datetime, *, averaged: int = 0, undated: bool = True, ratio: int = 1) -> Assessed:
    """Return a query's value as it is read: it may be from any time since it would be stale."""
    mean_of = timedelta(seconds=averaged)
    read = Assessed(QUEUE, Current(value=milli), Fraction(ratio), now - STALE_AFTER - mean_of, now)
    return replace(read, milli=milli, undated=undated, averaged=mean_of)


def of(*metrics: Assessed | Unread) -> Verdict:
    return Verdict(Judgement.BETWEEN, Fraction(1), metrics)


def followed(
    values: Iterable[int], *, period: int = PERIOD, averaged: int = 0, ready: int = 1
) -> list[tuple[float, float]]:
    """Return the times, in seconds, between which each value was measured that was read one after the other."""
    ages: tuple[ValueAge, ...] = ()
    spans = []
    for number, value in enumerate(values):
        now = at(number * period)
        verdict, ages = value_age.dated(of(read(value, now, averaged=averaged)), ages, now, ready=ready)
        (seen,) = verdict.metrics
        assert isinstance(seen, Assessed)
        spans.append(((seen.since - NOW).total_seconds(), (seen.until - NOW).total_seconds()))
    return spans


def scraped(values: Sequence[int], every: int) -> list[int]:
    """Return what is read every `PERIOD` seconds of values that are scraped every `every` seconds."""
    return [value for value in values for _ in range(every // PERIOD)]


def test_nothing_is_known_of_the_first_value() -> None:
    assert followed([7]) == [(-90, 0)]


def test_a_value_that_changed_was_scraped_since_the_previous_round() -> None:
    assert followed([7, 8])[-1] == (0, 5)


def test_a_value_of_several_replicas_that_changed_may_be_from_any_of_their_scrapes() -> None:
    assert followed([7, 8], ready=2)[-1] == (-25, 5)


def test_a_value_that_did_not_change_is_the_same_sample() -> None:
    assert followed([7, 8, 8, 8])[-3:] == [(0, 5)] * 3


@pytest.mark.parametrize("every", [15, 30, 60])
def test_the_time_between_two_scrapes_is_learned(every: int) -> None:
    """A value that changed was scraped since the previous round, and one that stays for longer was scraped again."""
    values = scraped(range(6), every)
    stays = [values[-1]] * (every // PERIOD)

    spans = followed([*values, *stays])

    changed = 5 * every
    assert spans[-len(stays) - 1] == (changed - PERIOD, changed)
    assert spans[-len(stays)] == (changed, changed + every)
    assert {until for _, until in spans[-len(stays) :]} == {changed + every}


def test_two_scrapes_with_the_same_value_do_not_change_the_interval() -> None:
    values = scraped([1, 2, 3, 3, 4, 5, 5, 6, 7, 8], 15)

    assert followed([*values, 8])[-1] == (len(values) * PERIOD - 15, len(values) * PERIOD)


def test_a_sum_that_changes_in_every_round_may_be_of_values_that_are_scraped_one_after_the_other() -> None:
    assert followed(range(20), ready=4)[-1] == (75, 95)


@pytest.mark.parametrize("ready", [2, 3, 6])
def test_a_sum_over_replicas_is_as_old_as_the_one_that_was_scraped_first(ready: int) -> None:
    """Each is scraped every 60 s, at another time."""
    apart = 60 // ready
    sums = [sum((second - which * apart) // 60 for which in range(ready)) for second in range(0, 600, PERIOD)]

    spans = followed(sums, ready=ready)

    for second, (since, until) in list(zip(range(0, 600, PERIOD), spans, strict=True))[-24:]:
        assert since <= second - 60 + apart
        assert until - since <= 60


def test_two_servers_that_answer_in_turn_give_no_newer_values() -> None:
    """Each was scraped at another time."""
    spans = followed([7, 9] * 6)

    assert all(until - since >= 15 for since, until in spans[2:])


def test_another_number_of_replicas_is_no_other_value() -> None:
    first = read(7, NOW, ratio=2)
    _, ages = value_age.dated(of(first), (), NOW, ready=1)

    verdict, _ = value_age.dated(of(read(7, at(5), ratio=1)), ages, at(5), ready=2)

    (seen,) = verdict.metrics
    assert isinstance(seen, Assessed)
    assert seen.until == NOW


def test_a_round_that_takes_long_does_not_make_a_value_newer() -> None:
    """The time of the readings counts, not that of the decision. An API may cut its times to seconds."""
    ages: tuple[ValueAge, ...] = ()
    for second in range(0, 25, PERIOD):
        given_ = signals(replace(sample(5, at=at(second)), undated=True), at=at(second) + timedelta(seconds=0.9))
        previous = replace(decision.begin(NOW), ages=ages)
        ran = cycle.run(spec(), given_, previous=previous, now=at(second + 4))
        ages = ran.decision.ages
        (seen,) = ran.verdict.metrics
        assert isinstance(seen, Assessed)
        assert seen.until == NOW


def test_a_constant_value_is_scraped_as_often_as_is_usual() -> None:
    ends = [until for _, until in followed([7] * 20)]

    assert sorted(set(ends)) == [0, 30, 60, 90]


def test_a_mean_covers_the_time_that_the_query_averages_over() -> None:
    spans = followed([7, 8, 8], averaged=60)

    assert spans == [(-150, 0), (-60, 5), (-60, 5)]


def test_a_value_that_was_not_read_for_long_is_as_old_as_it_may_be() -> None:
    _, ages = value_age.dated(of(read(7, NOW)), (), NOW, ready=1)

    verdict, _ = value_age.dated(of(read(8, at(200))), ages, at(200), ready=1)

    assert verdict == of(read(8, at(200)))


@pytest.mark.parametrize(
    "given_",
    [read(7, NOW, undated=False), read(7, NOW - timedelta(seconds=10)), Unread(QUEUE, missing(Reason.TIMED_OUT))],
    ids=["dated", "from before", "unread"],
)
def test_what_has_a_time_of_its_own_or_none_is_left_alone(given_: Assessed | Unread) -> None:
    verdict, ages = value_age.dated(of(given_), (), NOW, ready=1)

    assert verdict == of(given_)
    assert ages == ()


def test_each_metric_is_known_by_itself_and_one_that_is_not_read_is_not_forgotten() -> None:
    other = replace(read(3, NOW), metric=CPU)
    _, ages = value_age.dated(of(read(7, NOW), other), (), NOW, ready=1)
    _, ages = value_age.dated(of(Unread(QUEUE, missing()), replace(other, until=at(5))), ages, at(5), ready=1)

    verdict, ages = value_age.dated(of(read(8, at(10))), ages, at(10), ready=1)

    (seen,) = verdict.metrics
    assert isinstance(seen, Assessed)
    assert (seen.since, seen.until) == (NOW, at(10))
    assert [each.metric for each in ages] == [QUEUE]


@given(
    st.lists(st.tuples(st.integers(-20, 200), st.integers(0, 3), st.integers(0, 120)), max_size=30),
    st.integers(0, 9),
)
def test_it_narrows_the_time_down_and_never_leaves_it(rounds: list[tuple[int, int, int]], ready: int) -> None:
    """Whatever comes, with a clock that is set back, too."""
    ages: tuple[ValueAge, ...] = ()
    now, ended = NOW, None
    for step, value, averaged in rounds:
        now += timedelta(seconds=step)
        given_ = read(value, now, averaged=averaged)
        verdict, ages = value_age.dated(of(given_), ages, now, ready=ready)
        (seen,) = verdict.metrics
        assert isinstance(seen, Assessed)
        assert given_.since <= seen.since <= seen.until <= given_.until
        assert seen.until - seen.since >= given_.averaged
        assert ended is None or step < 0 or seen.until >= ended
        assert len(ages) == 1
        assert len(ages[0].between) <= value_age.REMEMBERED
        ended = seen.until


def test_a_round_knows_how_old_a_query_is() -> None:
    first = cycle.run(spec(), signals(replace(sample(5), undated=True)), previous=None, now=NOW)
    changed = signals(replace(sample(6, at=at(5)), undated=True), at=at(5))
    second = cycle.run(spec(), changed, previous=first.decision, now=at(5))
    same = signals(replace(sample(6, at=at(10)), undated=True), at=at(10))
    third = cycle.run(spec(), same, previous=second.decision, now=at(10))

    (seen,) = third.verdict.metrics
    assert isinstance(seen, Assessed)
    assert seen.until == at(5)
