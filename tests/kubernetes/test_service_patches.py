"""What a Service says of itself, whoever has written it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamlit_controller.kubernetes import service_patches
from beamlit_controller.kubernetes.service_patches import SelectorAnnotations

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "[" * 20_000, "{" * 20_000, '{"a":' * 5000, "null", '"x"', '{"a": 1}', "²"]
)
def test_an_original_selector_that_is_none_is_not_there(text: str) -> None:
    """One Service with 100 kB of `[` ended the controller, and every replacement."""
    assert service_patches.read_annotations({service_patches.ORIGINAL: text}) == SelectorAnnotations()


def test_annotations_that_are_longer_than_any_of_ours_are_not_read() -> None:
    long = dict.fromkeys((service_patches.ORIGINAL, service_patches.TAKEN_BY, service_patches.REVERTED), "x" * 200000)

    assert service_patches.read_annotations(long) == SelectorAnnotations()


@pytest.mark.parametrize("given", [None, 1, [], {}, True])
def test_annotations_of_another_type_are_not_there(given: object) -> None:
    assert (
        service_patches.read_annotations(
            dict.fromkeys((service_patches.ORIGINAL, service_patches.TAKEN_BY, service_patches.REVERTED), given)
        )
        == SelectorAnnotations()
    )


def test_times_that_nothing_can_be_computed_with_are_dropped() -> None:
    """A time in the year 9999 ended the controller when an hour was added to it."""
    text = "9999-12-31T23:59:59+00:00,0001-01-01T00:00:00+14:00,2026-06-01T11:00:00Z,soon,9999-12-31T23:59:59-12:00"

    assert service_patches.read_annotations({service_patches.REVERTED: text}).reverted == (NOW - timedelta(hours=1),)


def test_of_many_times_the_newest_few_count() -> None:
    times = [NOW + timedelta(seconds=number) for number in range(40)]

    kept = service_patches.read_annotations(
        {service_patches.REVERTED: ",".join(f"{each:%Y-%m-%dT%H:%M:%SZ}" for each in times)}
    ).reverted

    assert kept == tuple(times[-service_patches.MOST_TIMES :])


def test_recent_times_are_those_that_may_be_true() -> None:
    late, soon, old = NOW - timedelta(hours=23), NOW + timedelta(minutes=1), NOW - timedelta(days=2)

    assert service_patches.recent_reverts((old, late, NOW, soon, NOW + timedelta(hours=1)), NOW) == (late, NOW, soon)


@given(st.text(max_size=2000), st.text(max_size=300), st.text("0123456789-:TZ+,. ", max_size=300))
def test_whatever_is_written_a_day_can_be_added_to_every_time(original: str, taken_by: str, reverted: str) -> None:
    noted = service_patches.read_annotations(
        {service_patches.ORIGINAL: original, service_patches.TAKEN_BY: taken_by, service_patches.REVERTED: reverted}
    )

    assert all(each + timedelta(days=1) > each > each - timedelta(days=1) for each in noted.reverted)
