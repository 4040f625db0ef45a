"""What the gateways' counters say as a metric: values, the time that they cover, and when there is none."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from beamlit_controller.core import gateway_metric, traffic
from beamlit_controller.core.metric_spec import GatewayFigure
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.signals import Missing, Sample
from beamlit_controller.core.traffic import Meter, RequestCounters
from builders import NOW


def meter(*counted: RequestCounters, period: float = 1.0) -> Meter:
    """Return a meter that was told these counts, one per period, the last of them now."""
    begin = NOW - timedelta(seconds=period) * (len(counted) - 1)
    seen = Meter()
    for number, each in enumerate(counted):
        seen = traffic.fed(seen, {"gateway": each}, begin + number * timedelta(seconds=period))
    return seen


def steady(seconds: int, *, rate: int, first_byte_ms: int, in_flight: int = 0) -> Iterator[RequestCounters]:
    """Count `rate` local requests a second, each with the same time to first byte."""
    for second in range(seconds + 1):
        ended = rate * second
        yield RequestCounters(
            in_flight=in_flight, local=ended, local_first_bytes=ended, local_first_byte_ms=first_byte_ms * ended
        )


def test_the_time_to_first_byte_is_the_mean_of_what_ended_in_the_last_seconds() -> None:
    slow_before = list(steady(20, rate=10, first_byte_ms=4000))
    last = slow_before[-1]
    fast_now = [
        RequestCounters(
            local=last.local + 10 * second,
            local_first_bytes=last.local_first_bytes + 10 * second,
            local_first_byte_ms=last.local_first_byte_ms + 10 * 250 * second,
        )
        for second in range(1, 16)
    ]

    read = gateway_metric.sample(meter(*slow_before, *fast_now), GatewayFigure.FIRST_BYTE, NOW)

    assert isinstance(read, Sample)
    assert read.milli == 250
    assert read.at == NOW


def test_its_window_begins_when_the_requests_that_it_is_of_arrived() -> None:
    """20 in flight, and 2 that end per second: each lasts 10 s, so those of the last 15 s came up to 25 s ago."""
    read = gateway_metric.sample(
        meter(*steady(40, rate=2, first_byte_ms=900, in_flight=20)), GatewayFigure.FIRST_BYTE, NOW
    )

    assert isinstance(read, Sample)
    assert read.window == timedelta(seconds=25)


def test_few_requests_are_taken_from_a_longer_window() -> None:
    one_at_the_beginning = RequestCounters(local=1, local_first_bytes=1, local_first_byte_ms=1500)

    read = gateway_metric.sample(meter(RequestCounters(), *[one_at_the_beginning] * 30), GatewayFigure.FIRST_BYTE, NOW)

    assert isinstance(read, Sample)
    assert read.milli == 1500
    assert read.window >= timedelta(seconds=30)


def test_with_no_request_at_all_nobody_waits() -> None:
    read = gateway_metric.sample(meter(*[RequestCounters()] * 20), GatewayFigure.FIRST_BYTE, NOW)

    assert isinstance(read, Sample)
    assert read.milli == 0


def test_requests_of_which_none_ends_are_no_value_and_never_zero() -> None:
    read = gateway_metric.sample(meter(*[RequestCounters(in_flight=3)] * 20), GatewayFigure.FIRST_BYTE, NOW)

    assert isinstance(read, Missing)
    assert read.reason is Reason.NO_OBSERVATIONS
    assert "3 are in flight" in read.message


def test_a_rate_counts_what_local_finished_and_not_what_left() -> None:
    counted = [RequestCounters(local=4 * each, share=100 * each) for each in range(31)]

    read = gateway_metric.sample(meter(*counted), GatewayFigure.RATE, NOW)

    assert read == Sample(4000, NOW, timedelta(seconds=15))


def test_in_flight_is_the_mean_of_the_last_seconds() -> None:
    levels = [50] * 20 + [4, 6, 5, 5, 5]

    read = gateway_metric.sample(
        meter(*(RequestCounters(in_flight=level) for level in levels)), GatewayFigure.IN_FLIGHT, NOW
    )

    assert read == Sample(5000, NOW, timedelta(seconds=5))


def test_a_gateway_that_began_anew_takes_nothing_back() -> None:
    counted = [*steady(10, rate=10, first_byte_ms=500), *steady(20, rate=10, first_byte_ms=500)]

    read = gateway_metric.sample(meter(*counted), GatewayFigure.FIRST_BYTE, NOW)

    assert isinstance(read, Sample)
    assert read.milli == 500


@pytest.mark.parametrize("figure", GatewayFigure)
def test_without_two_reports_there_is_no_value(figure: GatewayFigure) -> None:
    known = gateway_metric.sample(meter(RequestCounters(in_flight=1)), figure, NOW)
    unknown = gateway_metric.sample(Meter(), figure, NOW)

    assert isinstance(known, Missing)
    assert isinstance(unknown, Missing)
    assert known.reason is unknown.reason is Reason.NO_SERIES


@pytest.mark.parametrize("figure", GatewayFigure)
def test_gateways_that_are_silent_have_no_value(figure: GatewayFigure) -> None:
    later = NOW + timedelta(seconds=31)

    read = gateway_metric.sample(meter(*[RequestCounters(in_flight=1)] * 5), figure, later)

    assert isinstance(read, Missing)
    assert read.reason is Reason.STALE
