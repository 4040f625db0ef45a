"""What gateways counted, added up."""

from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

import builders
from beamlit_controller.core import traffic
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing
from beamlit_controller.core.spec import Behavior, Mode
from beamlit_controller.core.traffic import Meter, RequestCounters
from builders import NOW


def after(seconds: float) -> object:
    return NOW + timedelta(seconds=seconds)


def fed(*rounds: dict[str, RequestCounters | None]) -> Meter:
    """Return a meter that was fed every five seconds, the last time at `NOW`."""
    meter = Meter()
    for index, answers in enumerate(rounds):
        meter = traffic.fed(meter, answers, after(5 * (index + 1 - len(rounds))))
    return meter


def test_gateways_are_added_up_and_what_they_counted_before_is_left_out() -> None:
    meter = fed(
        {
            "one": RequestCounters(2, local=100, local_first_bytes=90, local_first_byte_ms=9000),
            "two": RequestCounters(1, local=50, overflow=9),
        },
        {
            "one": RequestCounters(3, local=110, local_first_bytes=98, local_first_byte_ms=9800),
            "two": RequestCounters(5, local=50, overflow=12, unavailable=1),
        },
    )

    assert traffic.flow(meter, None, NOW, by_cap=True) == Flow(
        since=after(-5),
        until=NOW,
        in_flight=8,
        most_in_flight=8,
        served=10,
        sent=4,
        overflowed=3,
        first_bytes=8,
        first_byte_ms=800,
    )


def test_a_request_that_nobody_answered_is_demand_that_local_did_not_serve() -> None:
    meter = fed(
        {"one": RequestCounters(local=100)},
        {"one": RequestCounters(local=110, overflow=4, unanswered=6)},
    )

    seen = traffic.flow(meter, None, NOW, by_cap=True)

    assert isinstance(seen, Flow)
    assert (seen.served, seen.sent, seen.overflowed) == (10, 10, 4)


def test_a_gateway_that_began_anew_is_counted_from_its_beginning() -> None:
    meter = fed({"one": RequestCounters(local=100, share=5)}, {"one": RequestCounters(local=3, share=6)})

    seen = traffic.flow(meter, None, NOW, by_cap=False)

    assert isinstance(seen, Flow)
    assert (seen.served, seen.sent) == (3, 6)


def test_of_a_gateway_that_does_not_answer_what_was_known_stays_and_the_gap_is_made_up_for() -> None:
    meter = fed(
        {"one": RequestCounters(1, local=10), "two": RequestCounters(2, local=10)},
        {"one": RequestCounters(4, local=11), "two": None},
        {"one": RequestCounters(1, local=12), "two": RequestCounters(2, local=30)},
    )

    seen = traffic.flow(meter, None, NOW, by_cap=False)

    assert isinstance(seen, Flow)
    assert (seen.served, seen.in_flight, seen.most_in_flight) == (22, 3, 6)


def test_a_gateway_that_is_gone_takes_nothing_away_from_what_was_counted() -> None:
    meter = fed(
        {"one": RequestCounters(1), "two": RequestCounters(2)},
        {"one": RequestCounters(1), "two": RequestCounters(2, local=5)},
        {"one": RequestCounters(1)},
    )

    seen = traffic.flow(meter, None, NOW, by_cap=False)

    assert isinstance(seen, Flow)
    assert (seen.served, seen.in_flight) == (5, 1)


def test_a_flow_begins_where_the_last_one_ended() -> None:
    meter = fed(*({"one": RequestCounters(index, local=index)} for index in range(5)))

    seen = traffic.flow(meter, after(-5), NOW, by_cap=False)

    assert isinstance(seen, Flow)
    assert (seen.since, seen.served, seen.most_in_flight) == (after(-5), 1, 4)


def test_what_leaves_unjudged_because_the_cap_is_below_one_left_for_the_cap() -> None:
    meter = fed({"one": RequestCounters()}, {"one": RequestCounters(share=4, overflow=1)})

    flows = [traffic.flow(meter, None, NOW, by_cap=by_cap) for by_cap in (True, False)]

    assert [each.overflowed for each in flows if isinstance(each, Flow)] == [5, 1]


def test_without_an_answer_for_half_a_minute_nothing_is_known() -> None:
    meter = fed({"one": RequestCounters(local=1)}, {"one": RequestCounters(local=2)})

    later = after(31)

    assert traffic.flow(meter, None, later, by_cap=False) == Missing(
        Reason.TIMED_OUT, "no gateway has reported stats for 31 s"
    )
    assert traffic.minute(meter, later) is None
    assert isinstance(traffic.flow(Meter(), None, NOW, by_cap=False), Missing)


def test_the_last_minute_forgets_what_was_before_it() -> None:
    meter = fed(*({"one": RequestCounters(2, local=10 * index, share=index)} for index in range(40)))

    seen = traffic.minute(meter, NOW)

    assert seen == traffic.Minute(timedelta(seconds=60), RequestCounters(in_flight=2, local=120, share=12))


@pytest.mark.parametrize(
    ("mode", "cap", "reason", "by_cap"),
    [
        (Mode.ADAPTIVE, Fraction(3), Reason.METRIC_ABOVE_TARGET, True),
        (Mode.ADAPTIVE, None, Reason.METRIC_BELOW_TARGET, True),
        (Mode.ADAPTIVE, Fraction(3), Reason.OVERRIDDEN, False),
        (Mode.ADAPTIVE, Fraction(0), Reason.METRIC_ABOVE_TARGET, False),
        (Mode.FIXED, Fraction(3), Reason.METRIC_ABOVE_TARGET, False),
    ],
)
def test_only_in_adaptive_mode_and_not_by_hand_does_the_cap_say_which_requests_leave(
    mode: Mode, cap: Fraction | None, reason: Reason, *, by_cap: bool
) -> None:
    spec = builders.spec(behavior=Behavior(mode=mode))

    assert traffic.leaves_by_cap(spec, cap, reason) is by_cap


COUNTS = st.builds(RequestCounters, *[st.integers(0, 10**15)] * 4)
ANSWERS = st.dictionaries(st.sampled_from("abc"), st.none() | COUNTS, max_size=3)


@given(st.lists(st.tuples(ANSWERS, st.integers(-100, 100)), max_size=30))
def test_whatever_gateways_say_and_the_clock_does_counts_are_never_below_zero(
    rounds: list[tuple[dict[str, RequestCounters | None], int]],
) -> None:
    meter, now = Meter(), NOW
    for answers, step in rounds:
        now += timedelta(seconds=step)
        meter = traffic.fed(meter, answers, now)

    seen = traffic.flow(meter, None, now, by_cap=True)

    assert len(meter.recent) <= traffic.MOST_MOMENTS
    assert isinstance(seen, Missing) or min(seen.served, seen.sent, seen.overflowed) >= 0
    assert isinstance(seen, Missing) or seen.since <= seen.until
