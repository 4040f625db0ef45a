"""Since when requests have been answered as they are now, as far as counts can tell."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import accumulate, chain, repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamlit_controller.core import traffic_change
from beamlit_controller.core.traffic import RequestCounters
from builders import minute, plus

HALF, FIVE = timedelta(seconds=0.5), timedelta(seconds=5)
"""How often a gateway is polled on one machine, and in a cluster."""
LOCAL, REMOTE, NOBODY = RequestCounters(local=20), RequestCounters(unavailable=20), RequestCounters(unanswered=20)
MIXED, SHARED = RequestCounters(local=8, unavailable=12), RequestCounters(local=10, overflow=10)


def times(*parts: tuple[RequestCounters, int]) -> list[RequestCounters]:
    return list(chain.from_iterable(repeat(counted, count) for counted, count in parts))


@pytest.mark.parametrize(
    ("before", "now"),
    [(LOCAL, REMOTE), (REMOTE, NOBODY), (NOBODY, REMOTE), (REMOTE, LOCAL), (SHARED, REMOTE), (SHARED, LOCAL)],
)
@pytest.mark.parametrize(("every", "rounds"), [(HALF, 5), (FIVE, 1)])
def test_a_change_is_seen_within_seconds(
    before: RequestCounters, now: RequestCounters, every: timedelta, rounds: int
) -> None:
    """For most of a minute, the sum of the last minute showed what was true before."""
    whole = minute(*times((before, 120), (now, rounds)), every=every)

    latest = traffic_change.latest(whole)

    assert traffic_change.SHORTEST <= latest.span <= every * rounds
    assert latest.counted == list(accumulate(times((now, latest.span // every)), plus))[-1]


@pytest.mark.parametrize("every", [HALF, FIVE])
def test_it_stays_in_effect_until_it_has_filled_the_minute(every: timedelta) -> None:
    """The interval in which it happened does not count: some of its requests are from before."""
    for rounds in range(6, int(timedelta(seconds=60) / every) - 1):
        latest = traffic_change.latest(minute(*times((LOCAL, 120), (MIXED, 1), (REMOTE, rounds)), every=every))

        assert (latest.counted.local, latest.counted.unavailable > 0) == (0, True)


def test_a_request_that_began_before_the_change_does_not_count() -> None:
    """A single one that local had answered was shown for a minute, so local was not quite down."""
    reports = times((LOCAL, 60), (MIXED, 1), (RequestCounters(local=1, unavailable=19), 1), (REMOTE, 10))

    assert traffic_change.latest(minute(*reports, every=HALF)).counted.local == 0


def test_the_last_of_several_changes_counts() -> None:
    """Local is killed, then the remote, and then local is back, all within a minute."""
    reports = times((LOCAL, 40), (REMOTE, 30), (NOBODY, 20), (LOCAL, 10))

    latest = traffic_change.latest(minute(*reports, every=HALF))

    assert (latest.counted.local >= 180, latest.counted.remote, latest.counted.unanswered) == (True, 0, 0)


@pytest.mark.parametrize(
    "reports",
    [
        times((LOCAL, 120)),
        times((SHARED, 120)),
        times((LOCAL, 116), (RequestCounters(local=19, unanswered=1), 1), (LOCAL, 3)),
        times((LOCAL, 116), (RequestCounters(), 3), (RequestCounters(unanswered=1), 1)),
        times((SHARED, 116), (RequestCounters(local=12, overflow=7), 2), (RequestCounters(local=7, overflow=12), 2)),
        [],
    ],
)
def test_without_a_clear_change_it_is_the_whole_minute(reports: Sequence[RequestCounters]) -> None:
    """Such as one unanswered request among many, or the last one before clients stopped."""
    whole = minute(*reports, every=HALF)

    assert traffic_change.latest(whole) is whole


def test_a_moment_is_too_short_to_be_shown_as_the_present() -> None:
    latest = traffic_change.latest(minute(*times((LOCAL, 116), (NOBODY, 2)), every=HALF))

    assert latest.span >= traffic_change.SHORTEST
    assert latest.counted.local > 0


COUNTS = st.builds(
    RequestCounters,
    local=st.integers(0, 30),
    share=st.integers(0, 3),
    overflow=st.integers(0, 30),
    unavailable=st.integers(0, 30),
    unanswered=st.integers(0, 30),
)


@given(st.lists(COUNTS, max_size=30))
def test_it_is_always_the_end_of_the_minute(reports: list[RequestCounters]) -> None:
    whole = minute(*reports, every=FIVE)

    latest = traffic_change.latest(whole)

    assert latest.moments == whole.moments[-len(latest.moments) :]
    assert latest is whole or latest.span >= traffic_change.SHORTEST
    assert latest == traffic_change.latest(whole)
