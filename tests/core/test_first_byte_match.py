"""A time to first byte by a late metric: the gateways' own takes its place while both agree, and only if it is later."""

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

import pytest

from beamlit_controller.core import adaptive_state, decision, first_byte_match
from beamlit_controller.core.adaptive_state import Learned, RatioSample
from beamlit_controller.core.flow import Flow
from beamlit_controller.core.in_flight_span import InFlightSpan
from beamlit_controller.core.metric_spec import ExternalMetric, FirstByte, SeriesSelector, Value
from beamlit_controller.core.spec import Behavior, Mode
from builders import NOW, spec, verdict

PERIOD = timedelta(seconds=5)
TARGET = Fraction(2)
"""Seconds to the first byte."""
METRIC = ExternalMetric(SeriesSelector("ttft_seconds"), Value(2000), first_byte=FirstByte(Fraction(1)))


def spans(seconds: list[Fraction | int], *, lasting: int = 4, first_bytes: int = 10) -> tuple[InFlightSpan, ...]:
    """Return reports of requests that take `lasting` seconds; in each, requests ended whose first byte came after so many seconds."""
    return tuple(
        InFlightSpan(
            NOW + PERIOD * at,
            NOW + PERIOD * (at + 1),
            Fraction(2 * lasting),
            served=10,
            sent=0,
            overflowed=0,
            first_bytes=first_bytes,
            first_byte_ms=int(1000 * first_bytes * each),
        )
        for at, each in enumerate(seconds)
    )


def sample(seconds: Fraction | int, *, ended: int, waited: Fraction | None = TARGET) -> RatioSample:
    """Return a sample of the time to first byte in the period that ended so many periods after `NOW`."""
    until = NOW + PERIOD * ended
    return RatioSample(Fraction(seconds) / TARGET, until - PERIOD, until, waited=waited)


def agreeing(seconds: list[Fraction | int], *, count: int = 4, factor: Fraction = Fraction(1)) -> Learned:
    """Return what is known after some samples, each `factor` times what the gateways counted one period later."""
    learned = Learned(recent=spans(seconds))
    for ended in range(1, count + 1):
        learned = first_byte_match.compared(learned, sample(factor * seconds[ended], ended=ended))
    return learned


CALM: list[Fraction | int] = [Fraction(1, 2)] * 16
SATURATED: list[Fraction | int] = [Fraction(1, 2)] * 12 + [4] * 4


def test_after_samples_that_agree_the_gateways_own_takes_the_place_of_a_late_one() -> None:
    """It is twice the target while the metric still shows a fourth. Requests take four seconds, so its time begins earlier by that."""
    found = first_byte_match.latest(agreeing(SATURATED), sample(Fraction(1, 2), ended=6))

    assert found.ratio == 2
    assert found.at_end
    assert found.until == NOW + PERIOD * 16
    assert found.since == NOW + PERIOD * 13 - timedelta(seconds=4)


@pytest.mark.parametrize("count", range(4))
def test_a_few_samples_are_not_enough(count: int) -> None:
    late = sample(Fraction(1, 2), ended=6)

    assert first_byte_match.latest(agreeing(SATURATED, count=count), late) == late


def test_the_same_sample_counts_once_however_often_it_is_read() -> None:
    learned = Learned(recent=spans(SATURATED))
    for _ in range(10):
        learned = first_byte_match.compared(learned, sample(Fraction(1, 2), ended=3))

    assert learned.first_byte_match.count == 1


@pytest.mark.parametrize("factor", [Fraction(1, 5), Fraction(5), Fraction(1000)])
def test_another_time_keeps_its_place(factor: Fraction) -> None:
    """If the name of the metric is wrong about its unit, for instance."""
    late = sample(Fraction(1, 2), ended=6)

    assert first_byte_match.latest(agreeing(CALM, factor=factor, count=12), late) == late


def test_slightly_different_times_agree() -> None:
    """The servers' own does not include the way to them."""
    late = sample(Fraction(1, 2), ended=6)

    assert first_byte_match.latest(agreeing(SATURATED, factor=Fraction(3, 4)), late).at_end


@pytest.mark.parametrize("factor", [Fraction(2, 3), Fraction(2)])
def test_a_quantile_is_a_multiple_of_the_mean_that_the_gateways_count(factor: Fraction) -> None:
    """The gateways count four seconds, so the metric will be that times the factor."""
    found = first_byte_match.latest(agreeing(SATURATED, factor=factor), sample(Fraction(1, 2), ended=6))

    assert found.ratio == pytest.approx(factor * 4 / TARGET, rel=0.01)


def test_times_that_change_independently_do_not_agree() -> None:
    """Of requests that do not pass the gateways, for instance."""
    learned, late = Learned(recent=spans(CALM)), sample(Fraction(1, 2), ended=10)
    for ended in range(1, 10):
        learned = first_byte_match.compared(learned, sample(Fraction(4 ** (ended % 3), 4), ended=ended))

    assert first_byte_match.latest(learned, late) == late


def test_samples_that_agree_no_longer_end_it() -> None:
    """Requests that pass the gateways by saturate the servers: the gateways' own are hardly served, and wait for long."""
    learned = agreeing(CALM, count=6)
    for ended in range(7, 12):
        learned = first_byte_match.compared(learned, sample(8, ended=ended))
    late = sample(8, ended=12)

    assert first_byte_match.latest(learned, late) == late


def test_a_metric_that_is_later_than_the_counts_keeps_its_place() -> None:
    """What the gateways count is as late as a request takes: four seconds."""
    learned = agreeing(SATURATED)

    assert first_byte_match.latest(learned, sample(Fraction(1, 2), ended=15)).at_end
    assert first_byte_match.latest(learned, sample(4, ended=16)) == sample(4, ended=16)


@pytest.mark.parametrize("recent", [(), spans(CALM, first_bytes=0)])
def test_without_counts_the_metric_keeps_its_place(recent: tuple[InFlightSpan, ...]) -> None:
    known = agreeing(CALM).first_byte_match
    late = sample(Fraction(1, 2), ended=6)

    assert first_byte_match.latest(Learned(recent=recent, first_byte_match=known), late) == late
    assert first_byte_match.compared(Learned(recent=recent), late) == Learned(recent=recent)


def test_other_metrics_are_not_compared() -> None:
    """Slots in use and a queue may look alike under a steady load."""
    learned = Learned(recent=spans(CALM))

    assert first_byte_match.compared(learned, sample(Fraction(1, 2), ended=3, waited=None)) == learned


def test_what_agreed_is_compared_again_after_a_restart() -> None:
    assert adaptive_state.lasting(agreeing(CALM)) == Learned()


@pytest.mark.parametrize(("first_bytes", "is_limited"), [(10, True), (0, False)])
def test_requests_that_wait_are_limited_before_the_metric_shows_it(first_bytes: int, *, is_limited: bool) -> None:
    """They have waited for 15 s; the metric is 30 s late."""
    asked, previous = spec(behavior=Behavior(mode=Mode.ADAPTIVE), metrics=(METRIC,)), None
    for at in range(1, 16):
        now = NOW + PERIOD * at
        in_flight, ms = (8, 500) if at <= 12 else (16, 4500)
        flow = Flow(now - PERIOD, now, in_flight, in_flight, 10, 0, 0, first_bytes, first_bytes * ms)
        read = verdict(Fraction(1, 4), at=now, age=PERIOD * 6, window=PERIOD)
        (shown,) = read.metrics
        read = replace(read, metrics=(replace(shown, metric=METRIC),))
        previous = decision.decide(asked, previous, read, now, flow=flow)

    assert previous is not None
    assert (previous.cap is not None) == is_limited
    assert ("by the time to first byte that the gateways count" in previous.message) == is_limited
