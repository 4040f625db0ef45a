"""The model that the remote reads, held against a plain model of the rules: bodies that are written and sent in odd ways."""

import asyncio
import gzip
import json
import os
import random
from dataclasses import dataclass
from pathlib import Path

import pytest

import builders
from fakes import client
from fakes.gateway import gateway, to
from fakes.http1 import Message, chunk
from fakes.upstream import upstream

pytestmark = pytest.mark.system

REQUESTS = 3_000
CLIENTS = 8
SEED = int(os.environ.get("FUZZ_SEED", "20260601"))

NAMES = {"llama": "gpt-x", "caf\xe9": "gpt-y"}
KEYS = (
    *('"model"',) * 4,
    *(
        '"Model"',
        '"\\u006dodel"',
        '"MODE\\u004C"',
        '"models"',
        '"Fall\\u0062acks"',
        '"modelss"',
        '"model\u017f"',
        '"fallbac\\u212as"',
        '"prompt"',
        '"a\\\\"',
        '"\\"model"',
        '"\\\\u006dodel"',
    ),
)
OTHERS = {"fallbacks"}
VALUES = (
    *('"llama"',) * 6,
    *('"ll\\u0061ma"', '"caf\xe9"', '"caf\\u00e9"', '"gpt-5"', '"Llama"', '""', '"llama-lora"', '"llama "'),
    *("7", "null", "true", '["llama"]', '{"model":"gpt-5"}', '"a\\\\"', '"{\\"model\\":"'),
)
BLANKS = ("", "", " ", "\n", "\t ")
TYPES = (
    *("application/json",) * 8,
    *("Application/JSON; charset=utf-8", "application/json;charset=utf-16", "application/vnd.api+json", "text/plain"),
    *("application/x-www-form-urlencoded", "multipart/form-data; boundary=a", "application/json, text/plain", ""),
)
WRAPPINGS = ("plain",) * 8 + ("chunked", "gzip", "mark", "utf-16", "utf-16-le", "list", "cut", "form")


@dataclass(frozen=True, slots=True)
class Sent:
    """A body, what it was made from, and how it is sent."""

    text: str
    body: bytes
    content_type: str
    wrapping: str


def bodies() -> list[Sent]:
    draw = random.Random(SEED)
    return [_sent(_text(draw), draw.choice(TYPES), draw.choice(WRAPPINGS)) for _ in range(REQUESTS)]


def _text(draw: random.Random) -> str:
    pairs = [
        f"{draw.choice(BLANKS)}{draw.choice(KEYS)}{draw.choice(BLANKS)}:{draw.choice(BLANKS)}{draw.choice(VALUES)}"
        for _ in range(draw.choice((0, 1, 1, 1, 2, 3)))
    ]
    return f"{draw.choice(BLANKS)}{{{','.join(pairs)}}}{draw.choice(BLANKS)}"


def _sent(text: str, content_type: str, wrapping: str) -> Sent:
    plain = text.encode()
    wrapped = {
        "gzip": gzip.compress(plain),
        "mark": b"\xef\xbb\xbf" + plain,
        "utf-16": text.encode("utf-16"),
        "utf-16-le": text.encode("utf-16-le"),
        "list": b"[" + plain + b"]",
        "cut": plain.rstrip()[:-1],
        "form": b'--a\r\ncontent-disposition: form-data; name="model"\r\n\r\ngpt-5\r\n--a--\r\n',
    }
    return Sent(text, wrapped.get(wrapping, plain), content_type, wrapping)


def expected(sent: Sent) -> object:
    """Return what the remote must read, pair by pair; None if the request must stay."""
    if sent.wrapping != "plain" or sent.content_type.lower() not in (
        "application/json",
        "application/json; charset=utf-8",
    ):
        return None
    pairs = json.loads(sent.text, object_pairs_hook=list)
    named = [value for key, value in pairs if key.casefold() == "model"]
    keys = {key.casefold() for key, _ in pairs} - {"model"}
    if (
        keys & OTHERS
        or any("model" in key for key in keys)
        or not all(isinstance(value, str) and value in NAMES for value in named)
    ):
        return None
    return [(key, NAMES[value] if key.casefold() == "model" else value) for key, value in pairs]


async def test_the_remote_reads_only_names_that_are_mapped(tmp_path: Path) -> None:
    made = bodies()
    async with upstream("local") as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote, model_names=tuple(NAMES.items())))
        async with gateway(spec, tmp_path, local=[local], share=100) as gate:
            await asyncio.gather(
                *(_send(gate.front, made, range(first, REQUESTS, CLIENTS)) for first in range(CLIENTS))
            )

    arrived = {int(request.header("x-number") or -1): request for request in remote.requests}
    wanted = {number: pairs for number, sent in enumerate(made) if (pairs := expected(sent)) is not None}
    assert arrived.keys() == wanted.keys()
    assert len(wanted) > REQUESTS // 10
    assert [number for number, request in arrived.items() if _read(request) != wanted[number]] == []


def _read(request: Message) -> object:
    return json.loads(request.body.content, object_pairs_hook=list)


async def _send(front: str, made: list[Sent], numbers: range) -> None:
    async with client.connect(front) as asker:
        for number in numbers:
            sent = made[number]
            about = [("x-number", str(number)), *((("content-type", sent.content_type),) if sent.content_type else ())]
            about += [("content-encoding", "gzip")] if sent.wrapping == "gzip" else []
            if sent.wrapping == "chunked":
                await asker.send_head("POST /v1/chat HTTP/1.1", [*about, ("transfer-encoding", "chunked")])
                await asker.send(chunk(sent.body) + chunk(b""))
                await asker.response()
            else:
                await asker.post("/v1/chat", sent.body, headers=about)
