"""Which addresses can't both be listened at."""

import pytest

from beamlit_controller.api import addresses, listen_addresses


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("127.0.0.1:1", "127.0.0.1:1"),
        ("127.0.0.1:1", "0.0.0.0:1"),
        ("10.0.0.1:1", "0.0.0.0:1"),
        ("0.0.0.0:1", "0.0.0.0:1"),
        ("[::1]:1", "[::]:1"),
        ("10.0.0.1:1", "[::]:1"),
        ("localhost:1", "127.0.0.1:1"),
        ("localhost:1", "0.0.0.0:1"),
        ("web.lan:1", "web.lan:1"),
        ("web.lan:1", "0.0.0.0:1"),
    ],
)
def test_they_overlap_whichever_is_first(one: str, other: str) -> None:
    first, second = (addresses.parse(each) for each in (one, other))

    assert listen_addresses.overlap(first, second)
    assert listen_addresses.overlap(second, first)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("127.0.0.1:1", "127.0.0.1:2"),
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("127.0.0.1:1", "127.0.0.2:1"),
        ("0.0.0.0:1", "[::1]:1"),
        ("web.lan:1", "127.0.0.1:1"),
    ],
)
def test_they_do_not(one: str, other: str) -> None:
    first, second = (addresses.parse(each, lowest_port=0) for each in (one, other))

    assert not listen_addresses.overlap(first, second)
    assert not listen_addresses.overlap(second, first)
