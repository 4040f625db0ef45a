"""What came of the requests in the last minute, in numbers and words."""

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

import builders
from beamlit_controller.core import cycle, traffic_summary
from beamlit_controller.core.spec import Behavior, Mode, Overflow
from beamlit_controller.core.traffic import Minute, RequestCounters

SEEN = RequestCounters(
    in_flight=7,
    local=60,
    kept=6,
    share=10,
    overflow=20,
    unavailable=5,
    unanswered=5,
    local_first_bytes=60,
    local_first_byte_ms=30_000,
)
SPLIT = traffic_summary.summarize(Minute(timedelta(seconds=50), SEEN))


def test_tells_rates_parts_and_the_time_to_the_first_byte() -> None:
    assert (SPLIT.local, SPLIT.remote, SPLIT.in_flight) == (1.2, 0.7, 7)
    assert dict(SPLIT.left) == {"share": 0.1, "overflow": 0.2, "unavailable": 0.05, "forced": 0.0}
    assert (round(SPLIT.sent, 6), SPLIT.kept, SPLIT.unanswered) == (0.35, 0.06, 0.05)
    assert (SPLIT.local_first_byte_ms, SPLIT.remote_first_byte_ms) == (500, None)


def test_says_it_in_a_sentence() -> None:
    assert traffic_summary.sentence(SPLIT, Fraction(34, 5)) == (
        "1.2/s local, 0.7/s remote: 35 % went to the remote (10 % share, 20 % overflow, 5 % unavailable); "
        "5 % unanswered; 7 of at most 6.8 in flight at local"
    )


def test_of_no_requests_nothing_is_said_to_have_left() -> None:
    nothing = traffic_summary.summarize(Minute(timedelta(0), RequestCounters()))

    assert (
        traffic_summary.sentence(nothing, None) == "0/s local, 0/s remote: 0 % went to the remote; 0 in flight at local"
    )


def test_the_limit_is_that_of_all_ready_servers_together() -> None:
    spec = builders.spec(behavior=Behavior(mode=Mode.ADAPTIVE), overflow=Overflow(max_in_flight_per_replica=8))
    played = cycle.run(spec, builders.signals(ready=3), previous=None, now=builders.NOW)

    learned = replace(played, decision=replace(played.decision, cap=Fraction(5, 2)))

    assert traffic_summary.limit(learned) == Fraction(15, 2)
    assert traffic_summary.limit(played) == 24
