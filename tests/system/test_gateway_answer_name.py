"""The model's name in answers of the remote: the client's own again, and not one other byte changed."""

import asyncio
import gzip
import os
import random
from dataclasses import dataclass
from pathlib import Path

import pytest

import builders
from fakes import client
from fakes.gateway import gateway, to
from fakes.http1 import Message, chunk
from fakes.upstream import Exchange, upstream

pytestmark = pytest.mark.system

ANSWERS = 2_000
CLIENTS = 8
SEED = int(os.environ.get("FUZZ_SEED", "20260601"))
HERE = 'l"la\\ma \xe9'
HERE_IN_JSON = '"l\\"la\\\\ma \xe9"'
NAMES = ((HERE, "gpt-x"), ("same", "same"))
ASKED = f'{{"model":{HERE_IN_JSON}}}'.encode()
AS_JSON = (("content-type", "application/json"),)

Parts = list[tuple[bytes, bytes]]
"""An answer in parts, each as the remote sends it and as the client shall read it."""

BLANKS = ("", "", "", " ", "\t", " \t ")
KEYS = ("models", "mode", "Model", "\\u006dodel", "a\\\\", '\\"model', "", "choices", "model ")
INNER = ("message", "response")
VALUES = (
    *(
        '"gpt-x"',
        '"model"',
        '"{\\"model\\":\\"gpt-x\\"}"',
        '"\\\\"',
        '"\\\\\\""',
        "12345678901234567890.10",
        "null",
        "true",
    ),
    *(
        '{"model":"gpt-x"}',
        '["model","gpt-x",{"model":"gpt-x"}]',
        '{"a":{"model":"gpt-x"},"b":[]}',
        "[]",
        "{}",
        '"\xe9"',
    ),
)
NAMED = ('"gpt-x"', '"gpt-x-2026-06-01"', '""', '"a\\"b\\\\"', '"\\u0067pt"')
NOT_NAMED = ("null", "7", '{"model":"gpt-x"}', '["gpt-x"]')
LINE_ENDS = ("\n", "\n", "\r\n", "\r")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, the pieces that it is sent in, and what the client shall read."""

    headers: tuple[tuple[str, str], ...]
    pieces: tuple[bytes, ...]
    told_length: bool
    expected: bytes


def answers() -> list[Answer]:
    draw = random.Random(SEED)
    return [_answer(draw) for _ in range(ANSWERS)]


def _answer(draw: random.Random) -> Answer:
    kind = draw.choice(("json", "json", "events", "events", "lines", "other", "gzip", "list"))
    parts = {"events": _events, "lines": _lines}.get(kind, _document)(draw)
    if kind == "list":
        parts = _unchanged(b"[" + b"".join(sent for sent, _ in parts) + b"]")
    if kind in {"other", "gzip"}:
        parts = _unchanged(gzip.compress(b"".join(sent for sent, _ in parts)) if kind == "gzip" else _sent(parts))
    if draw.random() < 0.2:
        parts = _cut(parts, draw.randrange(len(_sent(parts)) + 1))
    headers = [("content-type", draw.choice(_TYPES[kind])), *([("content-encoding", "gzip")] if kind == "gzip" else [])]
    expected = b"".join(read for _, read in parts)
    return Answer(tuple(headers), tuple(_pieces(draw, _sent(parts))), draw.random() < 0.3, expected)


_TYPES = {
    "json": ("application/json", "Application/JSON; charset=UTF-8", "application/json"),
    "list": ("application/json",),
    "gzip": ("application/json", "text/event-stream"),
    "events": ("text/event-stream", "text/event-stream; charset=utf-8"),
    "other": ("text/plain", "application/json; charset=utf-16", "application/json-seq", "application/problem+json"),
    "lines": ("application/x-ndjson", "Application/NDJSON; charset=utf-8", "application/jsonl"),
}


def _sent(parts: Parts) -> bytes:
    return b"".join(sent for sent, _ in parts)


def _unchanged(text: bytes) -> Parts:
    return [(text, text)]


def _document(draw: random.Random, ends: tuple[str, ...] = ("\n", "\r\n"), inner: tuple[str, ...] = ()) -> Parts:
    """Write an object; a blank between tokens may be a line end, where the format lets it; `inner` are keys of answers within it."""
    blanks = (*BLANKS, *ends)
    parts = _unchanged(f"{draw.choice(blanks)}{{".encode())
    for number in range(draw.randint(0, 5)):
        comma = "," if number else ""
        if draw.random() < 0.4:
            head = f'{comma}{draw.choice(blanks)}"model"{draw.choice(blanks)}:{draw.choice(blanks)}'
            parts += [*_unchanged(head.encode()), _named(draw)]
        elif inner and draw.random() < 0.4:
            head = f'{comma}"{draw.choice(inner)}"{draw.choice(blanks)}:{draw.choice(blanks)}'
            parts += [*_unchanged(head.encode()), *_document(draw, ends)]
        else:
            text = f'{comma}"{draw.choice((*KEYS, *(() if inner else INNER)))}"{draw.choice(blanks)}:{draw.choice(blanks)}{draw.choice(VALUES)}'
            parts += _unchanged(text.encode())
    return [*parts, *_unchanged(f"{draw.choice(blanks)}}}{draw.choice(blanks)}".encode())]


def _named(draw: random.Random) -> tuple[bytes, bytes]:
    if draw.random() < 0.2:
        text = draw.choice(NOT_NAMED).encode()
        return text, text
    return draw.choice(NAMED).encode(), HERE_IN_JSON.encode()


def _events(draw: random.Random) -> Parts:
    parts = _unchanged(b"\xef\xbb\xbf") if draw.random() < 0.3 else []
    ending = draw.choice(LINE_ENDS)
    for _ in range(draw.randint(1, 5)):
        for _ in range(draw.randint(0, 2)):
            others = (': {"model":"gpt-x"}', "event: model", "id: 7", 'dat: {"model":"x"}', 'datas:{"model":"x"}')
            parts += _unchanged(f"{draw.choice(others)}{ending}".encode())
        if draw.random() < 0.2:
            parts += _unchanged(f"data: [DONE]{ending}".encode())
        else:
            lines = f"{ending}data:{draw.choice(('', ' '))}"
            several = (lines,) if draw.random() < 0.3 else ()
            parts += [
                *_unchanged(b"data:" + draw.choice((b"", b" "))),
                *_document(draw, several, INNER),
                *_unchanged(ending.encode()),
            ]
        parts += _unchanged(ending.encode())
    return parts


def _lines(draw: random.Random) -> Parts:
    return [part for _ in range(draw.randint(1, 4)) for part in (*_document(draw, ()), (b"\n", b"\n"))]


def _cut(parts: Parts, at: int) -> Parts:
    """Return the answer up to a byte; of a name that is cut off, the client reads all but its end."""
    kept: Parts = []
    for sent, read in parts:
        if at < len(sent):
            half = sent[:at] if sent == read or at == 0 else read[:-1]
            return [*kept, (sent[:at], half)]
        kept.append((sent, read))
        at -= len(sent)
    return kept


def _pieces(draw: random.Random, text: bytes) -> list[bytes]:
    most = draw.choice((1, 3, 10, 100, 1_000))
    found = []
    while text:
        length = draw.randint(1, most)
        found.append(text[:length])
        text = text[length:]
    return found


async def test_the_client_reads_the_name_that_it_sent_and_every_other_byte_as_the_remote_sent_it(
    tmp_path: Path,
) -> None:
    made = answers()

    async def says(exchange: Exchange) -> None:
        answer = made[int(exchange.request.header("x-number") or 0)]
        length = sum(map(len, answer.pieces)) if answer.told_length else None
        await exchange.begin(headers=answer.headers, length=length)
        for piece in answer.pieces:
            await exchange.send_raw(piece if answer.told_length else chunk(piece))
            await asyncio.sleep(0)
        if not answer.told_length:
            await exchange.send(b"")

    async with upstream("remote", says) as remote:
        spec = builders.spec(remote=to(remote, model_names=NAMES))
        async with gateway(spec, tmp_path, share=100) as gate:
            got = await asyncio.gather(*(_ask(gate.front, range(first, ANSWERS, CLIENTS)) for first in range(CLIENTS)))

    read = {number: message.body.content for each in got for number, message in each.items()}
    wrong = [(answer, read[number]) for number, answer in enumerate(made) if read[number] != answer.expected]
    assert wrong == []
    assert len([answer for answer in made if answer.expected != b"".join(answer.pieces)]) > ANSWERS // 4
    assert {request.header("accept-encoding") for request in remote.requests} == {"identity"}


async def _ask(front: str, numbers: range) -> dict[int, Message]:
    async with client.connect(front) as asker:
        about = [*AS_JSON, ("accept-encoding", "gzip")]
        return {
            number: await asker.post("/v1/chat", ASKED, headers=[*about, ("x-number", str(number))])
            for number in numbers
        }


async def test_a_stream_is_not_held_back(tmp_path: Path) -> None:
    text = b'data: {"id":1,"model":"gpt-x","a":"model"}\n\ndata: {"model":"gpt-x"}\n\ndata: [DONE]\n\n'
    may_go_on = asyncio.Semaphore(0)

    async def trickles(exchange: Exchange) -> None:
        await exchange.begin(headers=[("content-type", "text/event-stream")])
        for each in text:
            await exchange.send(bytes([each]))
            # Within a name that is replaced, nothing comes until it has ended.
            await may_go_on.acquire()
        await exchange.send(b"")

    async with upstream("remote", trickles) as remote:
        spec = builders.spec(remote=to(remote, model_names=NAMES))
        async with gateway(spec, tmp_path, share=100) as gate, client.connect(gate.front) as asker:
            await asker.send_head("POST /v1/chat HTTP/1.1", [*AS_JSON, ("content-length", str(len(ASKED)))])
            await asker.send(ASKED)
            await asker.head()
            read = b""
            wanted = text.replace(b'"gpt-x"', HERE_IN_JSON.encode())
            while read != wanted:
                in_name = read.endswith(HERE_IN_JSON.encode()[:-1])
                for _ in range(len(b"gpt-x") + 1 if in_name else 1):
                    may_go_on.release()
                read += await _chunk(asker)
            may_go_on.release()
            rest = await _chunk(asker)

    assert (read, rest) == (wanted, b"")


async def _chunk(asker: client.Client) -> bytes:
    async with asyncio.timeout(10):
        length = int(await asker.reader.readline(), 16)
        piece = await asker.reader.readexactly(length + 2)
    return piece[:-2]


async def test_answers_stay_as_they_are_where_the_name_is_kept_or_was_not_replaced(tmp_path: Path) -> None:
    body = b'{"model":"gpt-x"}'

    async def says(exchange: Exchange) -> None:
        await exchange.respond(body, headers=AS_JSON)

    async with upstream("remote", says) as remote:
        kept = builders.spec(remote=to(remote, model_names=NAMES, keep_remote_model_name=True))
        async with gateway(kept, tmp_path, share=100) as gate, client.connect(gate.front) as asker:
            of_kept = await asker.post("/v1/chat", ASKED, headers=[*AS_JSON, ("accept-encoding", "gzip")])
            await gate.change(builders.spec(remote=to(remote, model_names=NAMES)))
            others = [await asker.post("/v1/chat", sent, headers=AS_JSON) for sent in (b'{"model":"same"}', b"{}", b"")]

    assert [answer.body.content for answer in (of_kept, *others)] == [body] * 4
    assert [answer.header("content-length") for answer in (of_kept, *others)] == [str(len(body))] * 4
    assert remote.requests[0].header("accept-encoding") == "gzip"
