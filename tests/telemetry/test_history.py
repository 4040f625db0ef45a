"""The share and the highest metric of the last hours."""

from datetime import datetime, timedelta

from beamlit_controller.core import cycle
from beamlit_controller.telemetry.history import MINUTES, HistoryMinute, ShareHistory
from builders import NOW, missing, sample, signals, spec

SECOND = timedelta(seconds=1)


def told(history: ShareHistory, at: datetime, value: int | None = 5) -> None:
    read = missing() if value is None else sample(value, at=at, window=timedelta(0))
    history.record(cycle.run(spec(), signals(read, at=at), previous=None, now=at))


def test_a_minute_has_its_last_share_and_its_highest_ratio() -> None:
    history = ShareHistory()

    told(history, NOW, 25)
    told(history, NOW + 30 * SECOND, 5)
    told(history, NOW + 60 * SECOND, 8)

    assert history.minutes == (HistoryMinute(NOW, 0, 2.5), HistoryMinute(NOW + 60 * SECOND, 0, 0.8))


def test_a_minute_without_any_value_has_no_ratio() -> None:
    history = ShareHistory()

    told(history, NOW, None)

    assert history.minutes == (HistoryMinute(NOW, 0, None),)


def test_a_clock_that_went_back_a_little_makes_no_second_line() -> None:
    history = ShareHistory()

    told(history, NOW, 5)
    told(history, NOW - 60 * SECOND, 25)

    assert history.minutes == (HistoryMinute(NOW, 100, 2.5),)


def test_minutes_of_a_clock_that_was_ahead_are_dropped_once_it_is_right() -> None:
    history = ShareHistory()

    told(history, NOW)
    for ahead in (1, 2, 60, 365 * 24 * 60):
        told(history, NOW + ahead * 60 * SECOND, 25)
    told(history, NOW + 60 * SECOND)
    told(history, NOW + 120 * SECOND)

    assert [each.begin for each in history.minutes] == [NOW, NOW + 60 * SECOND, NOW + 120 * SECOND]


def test_only_the_last_hours_are_kept() -> None:
    history = ShareHistory()

    for minute in range(MINUTES + 10):
        told(history, NOW + 60 * minute * SECOND)

    assert len(history.minutes) == MINUTES
    assert history.minutes[0].begin == NOW + 600 * SECOND
