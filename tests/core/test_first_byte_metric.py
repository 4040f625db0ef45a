"""The gateways' time to first byte in Adaptive mode: the counts tell how many requests wait, and since when."""

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

import pytest

from beamlit_controller.core import adaptive, adaptive_state, first_byte_metric, in_flight_span
from beamlit_controller.core.adaptive_state import Learned, RatioSample
from beamlit_controller.core.in_flight_span import InFlightSpan
from beamlit_controller.core.load_curve import Observed, Point
from beamlit_controller.core.metric_spec import (
    AverageValue,
    ExternalMetric,
    FirstByte,
    GatewayFigure,
    GatewayMetric,
    MetricSpec,
    ObjectMetric,
    ObjectReference,
    PodsMetric,
    SeriesSelector,
    Value,
)
from builders import NOW

NAME = SeriesSelector("ttft_seconds")
SECONDS = FirstByte(Fraction(1))
PERIOD = timedelta(seconds=5)
SLOTS = 8
"""Each of two servers has eight slots, and a request takes four seconds: two are completed per second and server."""


def spans(level: int, *, count: int = 24, served: int = 20, overflowed: int = 0) -> tuple[InFlightSpan, ...]:
    return tuple(
        InFlightSpan(NOW + PERIOD * at, NOW + PERIOD * (at + 1), Fraction(level), served, 0, overflowed, ready=2)
        for at in range(count)
    )


def sample(ratio: Fraction | int, *, waited: Fraction | None = Fraction(1), at: int = 24) -> RatioSample:
    until = NOW + PERIOD * at
    return RatioSample(Fraction(ratio), until - 3 * PERIOD, until, waited=waited)


@pytest.mark.parametrize(
    ("metric", "seconds"),
    [
        (GatewayMetric(GatewayFigure.FIRST_BYTE, Value(1500)), Fraction(3, 2)),
        (GatewayMetric(GatewayFigure.IN_FLIGHT, Value(1500)), None),
        (ExternalMetric(NAME, Value(1500), SECONDS), Fraction(3, 2)),
        (ExternalMetric(NAME, Value(1_500_000), FirstByte(Fraction(1, 1000))), Fraction(3, 2)),
        (ExternalMetric(NAME, AverageValue(1500), SECONDS), None),
        (ExternalMetric(NAME, Value(1500)), None),
        (ObjectMetric(NAME, ObjectReference("v1", "Service", "llama"), Value(1500), SECONDS), Fraction(3, 2)),
        (PodsMetric(NAME, AverageValue(1500), first_byte=SECONDS), Fraction(3, 2)),
        (PodsMetric(NAME, AverageValue(1500)), None),
    ],
)
def test_the_target_of_a_time_to_first_byte_is_in_seconds(metric: MetricSpec, seconds: Fraction | None) -> None:
    """The average of a value over the replicas is not the time that anybody waited."""
    assert first_byte_metric.target(metric) == seconds


@pytest.mark.parametrize(
    ("quantile", "times"),
    [("0.01", 1), ("0.5", 1), ("0.9", 2.303), ("0.95", 2.996), ("0.99", 4.605), ("0.9999", 6.908), ("1", 6.908)],
)
def test_a_high_quantile_is_at_its_target_while_the_mean_is_far_below(quantile: str, times: float) -> None:
    """As of times that are distributed exponentially. A lower one is no less than the mean: then fewer would wait than do."""
    metric = ExternalMetric(NAME, Value(1500), FirstByte(Fraction(1), Fraction(quantile)))

    assert first_byte_metric.target(metric) == Fraction(3, 2) / Fraction(str(times))


def test_one_more_request_waits_as_long_as_it_takes_to_complete_one() -> None:
    """Two per second: half a second more, which is a quarter of a target of two seconds."""
    counted = first_byte_metric.counted(sample(2, waited=Fraction(2)), Learned(recent=spans(12)))

    assert counted.slope == Fraction(1, 4)


def test_requests_that_waited_arrived_earlier() -> None:
    """Three seconds passed until their first bytes; of these a half passes without waiting too."""
    read = sample(3)
    counted = first_byte_metric.counted(read, Learned(recent=spans(12), base=Fraction(1, 2)))

    assert read.since - counted.since == read.until - counted.until == timedelta(seconds=2.5)


def test_a_wait_of_centuries_is_no_longer_than_what_is_remembered() -> None:
    """Whatever a gateway reports, it must not end the rounds of its model: there is no time so long ago."""
    read = sample(10**12)

    assert read.until - first_byte_metric.counted(read, Learned(recent=spans(12))).until == in_flight_span.MEMORY


def test_counts_of_an_empty_time_tell_nothing() -> None:
    """The clock may be set between two reports."""
    empty = tuple(replace(each, until=each.since) for each in spans(12))

    assert first_byte_metric.counted(sample(2), Learned(recent=empty)) == sample(2)


@pytest.mark.parametrize(
    ("read", "learned"),
    [
        pytest.param(sample(2), Learned(), id="nothing counted"),
        pytest.param(sample(2), Learned(recent=spans(12, served=0)), id="none completed"),
        pytest.param(sample(2, waited=None), Learned(recent=spans(12)), id="another metric"),
    ],
)
def test_a_sample_of_which_the_counts_tell_nothing_stays_as_it_is(read: RatioSample, learned: Learned) -> None:
    assert first_byte_metric.counted(read, learned) == read


def test_completions_are_counted_further_back_if_they_were_few() -> None:
    """In the last 25 seconds one period's completions: two fifths of a request per second and server."""
    few = Learned(recent=(*spans(12, count=20), *(replace(each, served=0) for each in spans(12)[20:])))

    assert first_byte_metric.counted(sample(Fraction(1, 2)), few).slope == Fraction(5, 2)


def observed(ratio: Fraction | int, *levels: int) -> Observed:
    mean = Fraction(sum(levels), len(levels))
    return Observed(Point(mean, Fraction(ratio)), tuple(map(Fraction, levels)), steady=True, bound=False)


def test_a_long_wait_under_a_cap_that_is_never_reached_is_an_old_one() -> None:
    assert first_byte_metric.is_outdated(sample(2), observed(2, 9, 9), Fraction(12))


@pytest.mark.parametrize(("ratio", "levels"), [(2, (12, 12)), (2, (3, 12)), (1, (9, 9)), (Fraction(3, 2), (10, 10))])
def test_under_a_cap_that_is_reached_or_within_the_target_it_is_not(ratio: Fraction, levels: tuple[int, ...]) -> None:
    assert not first_byte_metric.is_outdated(sample(ratio), observed(ratio, *levels), Fraction(12))


@pytest.mark.parametrize(
    ("before", "ratio", "base"),
    [
        (None, Fraction(3, 10), Fraction(3, 10)),
        (Fraction(1, 2), Fraction(3, 10), Fraction(3, 10)),
        (Fraction(1, 10), Fraction(3, 10), Fraction(1, 10)),
        (None, Fraction(2), None),
        (Fraction(1, 2), Fraction(0), Fraction(1, 2)),
    ],
)
def test_the_lowest_ratio_is_that_without_waiting(
    before: Fraction | None, ratio: Fraction, base: Fraction | None
) -> None:
    """It is 0 without requests, and a sample over the target tells nothing of it."""
    assert first_byte_metric.noted(Learned(base=before), sample(ratio), observed(ratio, 8)).base == base


def test_the_first_sample_over_the_target_tells_how_many_fit() -> None:
    """Twelve in flight, of which four wait for two seconds. One second is the target: two may wait."""
    begun = adaptive.follow(Learned(recent=spans(12)), sample(2), NOW + PERIOD * 24)

    assert begun.cap == pytest.approx(SLOTS + 2, abs=0.5)


def test_a_time_over_the_target_with_nothing_in_flight_leaves_a_state_that_is_kept() -> None:
    """Requests may come past the gateways, and a mean over minutes outlasts the requests. An estimate of 0 would discard all that was learned."""
    begun = adaptive.follow(Learned(recent=spans(0, served=2)), sample(3), NOW + PERIOD * 24)

    assert begun.cap is not None
    assert adaptive_state.trusted(begun) == begun


@pytest.mark.parametrize(("at_end", "stays"), [(False, True), (True, False)])
def test_a_quantile_of_a_time_with_a_backlog_does_not_correct_the_first_cap(*, at_end: bool, stays: bool) -> None:
    """It is that of the requests that waited longest, of which the mean number in flight tells nothing."""
    first = Learned(
        cap=Fraction(12),
        full=Fraction(12),
        base=Fraction(1, 10),
        rough=True,
        changed_at=NOW + PERIOD * 23,
        recent=spans(12),
    )

    after = adaptive.follow(first, replace(sample(5), at_end=at_end), NOW + PERIOD * 24)

    assert (after.cap == first.cap) is stays


def test_an_old_wait_does_not_lower_the_cap() -> None:
    """A backlog is gone, but the requests that waited in it end only now."""
    learned = Learned(cap=Fraction(10), full=Fraction(10), changed_at=NOW - PERIOD * 24, recent=spans(4))

    assert adaptive.follow(learned, sample(9), NOW + PERIOD * 24).cap == 10


@pytest.mark.parametrize(("full", "cap"), [(12, 8), (4, 4)])
def test_the_cap_falls_in_small_steps_unless_earlier_samples_told_the_same(full: int, cap: int) -> None:
    """Ten of twelve wait for five seconds, so four fit if one second is the target. But old waits may be among these."""
    under = Learned(cap=Fraction(12), changed_at=NOW - PERIOD * 24, recent=spans(12, overflowed=20))

    fallen = adaptive.follow(replace(under, full=Fraction(full)), sample(5), NOW + PERIOD * 24)

    assert fallen.cap == pytest.approx(cap, abs=0.2)


@pytest.mark.parametrize(
    ("ratio", "few"),
    [(Fraction(21, 100), True), (Fraction(42, 100), True), (Fraction(43, 100), False), (Fraction(51, 100), False)],
)
def test_nothing_waits_if_few_do_though_the_time_varies(ratio: Fraction, *, few: bool) -> None:
    """Of 16 in flight, 0.64 would be 4 %: 0.32 s if two are completed per second. The time was 0.1 s at its lowest."""
    learned = Learned(recent=spans(16), base=Fraction(1, 10))
    read = first_byte_metric.counted(sample(ratio), learned)

    assert first_byte_metric.hardly_waits(read, observed(ratio, 16), learned) is few


@pytest.mark.parametrize(
    "read", [replace(sample(Fraction(1, 5)), at_end=True), sample(Fraction(1, 5), waited=None)], ids=["at end", "other"]
)
def test_a_time_of_requests_that_arrived_long_ago_does_not_show_that_few_wait_now(read: RatioSample) -> None:
    learned = Learned(recent=spans(16), base=Fraction(1, 10))

    assert not first_byte_metric.hardly_waits(
        first_byte_metric.counted(read, learned), observed(Fraction(1, 5), 16), learned
    )


def test_a_cap_under_which_few_wait_rises_although_the_time_was_lower_once() -> None:
    """Sixteen are in flight, and 0.2 s pass, for the third time. Once it was 0.1 s."""
    held = Learned(
        cap=Fraction(16),
        full=Fraction(16),
        base=Fraction(1, 10),
        idle=2,
        changed_at=NOW - PERIOD * 24,
        recent=spans(16, overflowed=20),
    )

    risen = adaptive.follow(held, sample(Fraction(1, 5)), NOW + PERIOD * 24)

    assert risen.cap is not None
    assert risen.cap > 17


def test_the_first_cap_is_no_higher_than_without_the_counts() -> None:
    """While more and more arrive, those that ended arrived when fewer were in flight."""
    rising = tuple(replace(each, in_flight=Fraction(4 + at)) for at, each in enumerate(spans(4)))
    counted, other = (
        adaptive.follow(Learned(recent=rising), read, NOW + PERIOD * 24) for read in (sample(2), sample(2, waited=None))
    )

    assert counted.cap is not None
    assert other.cap is not None
    assert counted.cap <= other.cap
