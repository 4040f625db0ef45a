"""Clients that send frames of HTTP/2 without end: their connection ends, and others are served."""

import asyncio
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import builders
from fakes import client
from fakes.gateway import gateway
from fakes.upstream import upstream

pytestmark = pytest.mark.system

DATA, HEADERS, RESET, CONTINUATION = 0, 1, 3, 9
END_STREAM, END_HEADERS = 1, 4
MOST = 100_000
# `POST http://h/` in HPACK, and a header that is not remembered.
POST = b"\x83\x86\x84\x41\x01h"
LITERAL = b"\x00\x01x\x7f\x81\x00" + b"v" * 256


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


BEGIN = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")
OPEN_HEAD = BEGIN + frame(HEADERS, 0, 1, POST)
# A header of 4,000 bytes that is remembered, and then named by one byte each time.
BOMB = POST + b"\x40\x01a\x7f\xa1\x1e" + b"b" * 4000 + b"\xbe" * 11_000


def opened_and_reset(number: int) -> bytes:
    stream = 2 * number + 1
    return frame(HEADERS, END_HEADERS, stream, POST) + frame(RESET, 0, stream, struct.pack(">I", 8))


FLOODS: dict[str, tuple[bytes, Callable[[int], bytes]]] = {
    "a head without end": (OPEN_HEAD, lambda _: frame(CONTINUATION, 0, 1, LITERAL * 10)),
    "a head of empty pieces": (OPEN_HEAD, lambda _: frame(CONTINUATION, 0, 1, b"")),
    "requests that are taken back": (BEGIN, opened_and_reset),
    "empty pieces of a body": (
        BEGIN + frame(HEADERS, END_HEADERS, 1, POST),
        lambda _: frame(DATA, 0, 1, b""),
    ),
    "headers that are small until they are read": (
        BEGIN,
        lambda number: frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, BOMB),
    ),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_of_frames_ends_its_connection_and_asks_hardly_anything(tmp_path: Path, name: str) -> None:
    begin, repeated = FLOODS[name]
    async with upstream("local") as local, gateway(builders.spec(), tmp_path, local=[local]) as gate:
        has_ended = await _ends(gate.front, begin, repeated)
        answer = await client.ask(gate.front)

    assert has_ended
    assert answer.line[1] == "200"
    assert len(local.requests) < 1_000


async def _ends(front: str, begin: bytes, repeated: Callable[[int], bytes]) -> bool:
    """Send until the gateway ends the connection, and tell whether it does."""
    host, _, port = front.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    ended = asyncio.create_task(reader.read())
    writer.write(begin)
    with suppress(ConnectionError):
        for number in range(MOST):
            if ended.done():
                break
            writer.write(repeated(number))
            await writer.drain()
    await asyncio.wait([ended], timeout=30)
    has_ended = ended.done()
    writer.transport.abort()
    await asyncio.gather(ended, return_exceptions=True)
    return has_ended
