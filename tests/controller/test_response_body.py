"""Bodies of responses: bounded pieces, at most one layer of gzip, and other tasks have their turn."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncGenerator

import pytest

from beamlit_controller.controller import response_body
from beamlit_controller.controller.response_body import PIECE, BodyTooLargeError, EncodingError

LONGEST = 1024 * 1024
HEAD = gzip.compress(b"")[:10]
EMPTY_BLOCK = b"\x00\x00\x00\xff\xff"
NOTHING = HEAD + EMPTY_BLOCK * 400_000
"""Two megabytes of gzip that hold nothing."""


async def received(*pieces: bytes) -> AsyncGenerator[bytes]:
    for piece in pieces:
        yield piece


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
async def test_a_plain_body_is_returned_as_it_came(encoding: str) -> None:
    body = b"x" * LONGEST

    assert await response_body.whole(received(body[:9], body[9:]), encoding=encoding, longest=LONGEST) == body


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", " GZIP ", "identity, gzip"])
@pytest.mark.parametrize("size", [0, 1, PIECE, LONGEST])
async def test_one_layer_of_gzip_is_decoded(encoding: str, size: int) -> None:
    zipped = gzip.compress(bytes(size))

    bytewise = received(*(zipped[i : i + 1] for i in range(len(zipped))))

    assert await response_body.whole(bytewise, encoding=encoding, longest=LONGEST, gzip=True) == bytes(size)


@pytest.mark.parametrize("encoding", ["gzip, gzip", "gzip,gzip,gzip", "br", "deflate", "zstd"])
async def test_any_other_encoding_is_refused_unread(encoding: str) -> None:
    """A client decoded three layers at once: 24 kB held up the event loop for 16 s."""
    with pytest.raises(EncodingError, match="expected content-encoding gzip or none, got"):
        await response_body.whole(received(b"x"), encoding=encoding, longest=LONGEST, gzip=True)
    with pytest.raises(EncodingError, match="expected content-encoding none, got"):
        await response_body.whole(received(b"x"), encoding=encoding, longest=LONGEST)

    assert await response_body.beginning(received(b"x"), encoding=encoding, longest=LONGEST, gzip=True) == b""


async def test_gzip_is_refused_where_it_is_not_expected() -> None:
    with pytest.raises(EncodingError, match="expected content-encoding none, got gzip"):
        await response_body.whole(received(gzip.compress(b"x")), encoding="gzip", longest=LONGEST)


@pytest.mark.parametrize("encoding", ["\x1b[31m", "x" * 5_000, ", ".join(["gzip"] * 1_000), "a secret of ours"])
async def test_only_known_encodings_are_named(encoding: str) -> None:
    with pytest.raises(EncodingError) as raised:
        await response_body.whole(received(), encoding=encoding, longest=LONGEST)

    assert str(raised.value) == "expected content-encoding none, got an unknown one"


@pytest.mark.parametrize(
    "body", [b"certainly not gzip", gzip.compress(bytes(1000))[:-9], b""], ids=["other", "half", "nothing"]
)
async def test_broken_gzip_is_an_error_but_has_a_beginning(body: bytes) -> None:
    with pytest.raises(EncodingError, match="the gzip encoding of the body is broken"):
        await response_body.whole(received(body), encoding="gzip", longest=LONGEST, gzip=True)

    assert set(await response_body.beginning(received(body), encoding="gzip", longest=LONGEST, gzip=True)) <= {0}


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (bytes(LONGEST + 1), ""),
        (gzip.compress(bytes(LONGEST + 1)), "gzip"),
        (gzip.compress(bytes(64 * LONGEST)), "gzip"),
        (NOTHING, "gzip"),
    ],
    ids=["plain", "gzip", "bomb", "blocks that hold nothing"],
)
async def test_a_body_is_bounded_both_as_it_comes_and_as_it_is_decoded(body: bytes, encoding: str) -> None:
    with pytest.raises(BodyTooLargeError):
        await response_body.whole(received(body), encoding=encoding, longest=LONGEST, gzip=True)

    first = await response_body.beginning(received(body), encoding=encoding, longest=LONGEST, gzip=True)

    assert first == (b"" if body is NOTHING else bytes(LONGEST))


async def test_pieces_stay_small_however_much_a_byte_expands_to() -> None:
    zipped = gzip.compress(bytes(LONGEST))

    sizes = [
        len(piece)
        async for piece in response_body.pieces(received(zipped), encoding="gzip", longest=LONGEST, gzip=True)
    ]

    assert max(sizes) <= PIECE
    assert sum(sizes) == LONGEST


STEADY = {
    "plain": ("", b"x" * LONGEST),
    "gzip": ("gzip", gzip.compress(bytes(LONGEST))),
    "blocks that hold nothing": ("gzip", HEAD + EMPTY_BLOCK * (LONGEST // 5)),
    "byte by byte": ("", b"x" * 10_000),
}


@pytest.mark.parametrize("kind", STEADY)
async def test_other_tasks_have_their_turn_though_everything_has_come(kind: str) -> None:
    encoding, body = STEADY[kind]
    size = 1 if kind == "byte by byte" else len(body)
    parts = received(*(body[i : i + size] for i in range(0, len(body), size)))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    await response_body.beginning(parts, encoding=encoding, longest=LONGEST, gzip=True)
    beside.cancel()

    assert turns > 10


async def test_what_follows_the_gzip_is_not_read() -> None:
    zipped = zlib.compress(b"body", wbits=31)

    async def endless() -> AsyncGenerator[bytes]:
        yield zipped
        while True:
            yield bytes(PIECE)

    assert await response_body.whole(endless(), encoding="gzip", longest=LONGEST, gzip=True) == b"body"
