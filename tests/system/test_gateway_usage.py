"""Tokens of the remote's answers: counted as the remote tells them, and nothing else changed."""

import asyncio
import gzip
import json
import os
import random
import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

import builders
from beamlit_controller.core.price import Budget, BudgetUnit, Period, UsageMode
from beamlit_controller.core.spec import OnRemoteFailure
from beamlit_controller.envoy.rtds import RuntimeValues
from fakes import client
from fakes.gateway import Gateway, gateway, to
from fakes.http1 import chunk
from fakes.upstream import Exchange, upstream
from waiting import eventually

pytestmark = pytest.mark.system

ANSWERS = 2_000
CLIENTS = 40  # a connection that is cut is closed after a second
SEED = int(os.environ.get("FUZZ_SEED", "20260601"))
AS_JSON = (("content-type", "application/json"),)
STREAM = b'{"model": "m", "stream": true}'


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer in pieces, what the client shall read, and the tokens that are told in it; None if they can't be read."""

    headers: tuple[tuple[str, str], ...]
    pieces: tuple[bytes, ...]
    expected: bytes
    tokens: tuple[int, int] | None
    is_cut: bool


def answers() -> list[Answer]:
    draw = random.Random(SEED)
    return [_answer(draw) for _ in range(ANSWERS)]


def _answer(draw: random.Random) -> Answer:
    kind = draw.choice(
        ("json", "json", "chat", "chat", "messages", "gemini", "responses", "lines", "packed", "none", "other")
    )
    tokens = (draw.randint(10, 5_000), draw.randint(10, 900))
    parts, headers = _MADE[kind](draw, *tokens), [("content-type", _TYPES.get(kind, "text/event-stream"))]
    if kind == "packed":
        parts, headers = [(gzip.compress(parts[0][0]),) * 2], [*headers, ("content-encoding", "gzip")]
    is_cut = draw.random() < 0.1
    sent = b"".join(sent for sent, _ in parts)
    at = draw.randrange(len(sent)) if is_cut else len(sent)
    told = None if kind in {"packed", "none", "other"} else _told(kind, parts, at, tokens)
    return Answer(
        tuple(headers),
        tuple(_pieces(draw, sent[:at])),
        b"".join(read for _, read in parts),
        told,
        is_cut,
    )


_TYPES = {
    "json": "application/json",
    "packed": "application/json",
    "none": "application/json",
    "lines": "application/x-ndjson",
    "other": "audio/mpeg",
}


def _told(kind: str, parts: list[tuple[bytes, bytes]], at: int, tokens: tuple[int, int]) -> tuple[int, int] | None:
    """Return the tokens that are told before the cut: a number once what follows it is there, in an event once its line is."""
    length, found = 0, [0, 0]
    for sent, _ in parts:
        before, length = length, length + len(sent)
        if kind in {"json", "lines"}:
            told = sent[: max(0, at - before)]
            found[0] |= bool(re.search(rb'"prompt_(?:tokens|eval_count)": %d[^\d]' % tokens[0], told))
            found[1] |= bool(re.search(rb'"(?:completion_tokens|eval_count)": %d[^\d]' % tokens[1], told))
        elif at >= before + len(sent.rstrip(b"\r\n")) + 1:
            found[0] |= any(word in sent for word in (b'"prompt_tokens"', b'"input_tokens"', b'"promptTokenCount"'))
            found[1] |= any(
                word in sent for word in (b'"completion_tokens"', b'"output_tokens"', b'"candidatesTokenCount"')
            )
    return (tokens[0] * found[0], tokens[1] * found[1]) if any(found) else None


NO_COUNTS = (-99_999, 10**9, 10**40, 99_999.5, 1e30, "99999", None, True, [99_999], {"prompt_tokens": 99_999})
"""What no number of tokens is, where one belongs."""
COMMENT = (b": usage 99999\n\n",) * 2


def _json(draw: random.Random, prompt: int, completion: int) -> list[tuple[bytes, bytes]]:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    usage |= {"completion_tokens_details": {"reasoning_tokens": 7, "prompt_tokens": 8}}
    usage |= {"input_tokens": draw.choice(NO_COUNTS), "output_tokens": draw.choice(NO_COUNTS)}
    fields = [
        ("usage", usage),
        ("choices", [{"message": {"content": _words(draw), "usage": {"prompt_tokens": 99_999}}}]),
        ("usages", {"prompt_tokens": 99_999}),
        ("data", [{"embedding": [draw.random() for _ in range(draw.randint(0, 200))]}]),
        ("nested", {"usage": {"completion_tokens": 99_999}}),
    ]
    draw.shuffle(fields)
    text = json.dumps(dict(fields), indent=draw.choice((None, 1))).encode()
    return [(text, text)]


def _other(draw: random.Random, prompt: int, completion: int) -> list[tuple[bytes, bytes]]:
    return _json(draw, prompt, completion)


def _none(draw: random.Random, *_: int) -> list[tuple[bytes, bytes]]:
    text = json.dumps({"text": _words(draw), "usage": draw.choice((None, [], {}, {"prompt_tokens": "7"}))}).encode()
    return [(text, text)]


def _words(draw: random.Random) -> str:
    return draw.choice(
        (
            "hi",
            '"usage":{"prompt_tokens":99999}',
            "\\",
            '\\"usage":',
            "{[",
            "é" * 100,
            *(("x" * 6_000,) if draw.random() < 0.1 else ()),
        )
    )


def _event(
    draw: random.Random, body: object, name: str = "", *, ending: str, dropped: bool = False
) -> tuple[bytes, bytes]:
    text = body if isinstance(body, str) else json.dumps(body, separators=draw.choice(((",", ":"), None)))
    line = f"{f'event: {name}{ending}' if name else ''}data:{draw.choice(('', ' '))}{text}{ending}{ending}".encode()
    return line, b"" if dropped else line


def _chat(draw: random.Random, prompt: int, completion: int) -> list[tuple[bytes, bytes]]:
    ending = draw.choice(("\n", "\n", "\r\n", "\r"))
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    deltas = [
        {"choices": [{"delta": {"content": _words(draw)}}], **draw.choice(({}, {"usage": None}))}
        for _ in range(draw.randint(0, 6))
    ]
    return [
        *([COMMENT] if draw.random() < 0.2 else []),
        *(_event(draw, each, ending=ending) for each in deltas),
        _event(draw, {"choices": [], "usage": usage}, ending=ending, dropped=True),
        _event(draw, "[DONE]", ending=ending),
    ]


def _messages(draw: random.Random, prompt: int, completion: int) -> list[tuple[bytes, bytes]]:
    begin = {"type": "message_start", "message": {"content": [], "usage": {"input_tokens": prompt, "cache": {"a": 1}}}}
    delta = {"type": "content_block_delta", "delta": {"text": _words(draw)}}
    return [
        _event(draw, begin, "message_start", ending="\n"),
        *(_event(draw, delta, "content_block_delta", ending="\n") for _ in range(draw.randint(0, 4))),
        _event(draw, {"type": "message_delta", "usage": {"output_tokens": completion}}, "message_delta", ending="\n"),
    ]


def _gemini(draw: random.Random, prompt: int, completion: int) -> list[tuple[bytes, bytes]]:
    half = {"promptTokenCount": prompt}
    whole = {**half, "candidatesTokenCount": completion, "totalTokenCount": prompt + completion}
    said = {"candidates": [{"content": {"parts": [{"text": _words(draw)}]}}]}
    return [_event(draw, {**said, "usageMetadata": each}, ending="\r\n") for each in (half, whole)]


def _responses(draw: random.Random, prompt: int, completion: int) -> list[tuple[bytes, bytes]]:
    usage = {"input_tokens": prompt, "input_tokens_details": {"cached_tokens": 3}, "output_tokens": completion}
    done = {"type": "response.completed", "response": {"output": [{"text": _words(draw)}], "usage": usage}}
    return [
        _event(draw, {"type": "response.output_text.delta", "delta": _words(draw)}, "delta", ending="\n"),
        _event(draw, done, "response.completed", ending="\n"),
    ]


def _lines(draw: random.Random, prompt: int, completion: int) -> list[tuple[bytes, bytes]]:
    counts = {"prompt_eval_count": prompt, "eval_count": completion}
    pieces = [
        {
            "message": {"content": _words(draw), "eval_count": 99_999},
            "done": False,
            "eval_count": draw.choice(NO_COUNTS),
        }
        for _ in range(draw.randint(0, 4))
    ]
    last = {"done": True, **counts, "prompt_eval_duration": 99_999, "options": {"prompt_eval_count": 99_999}}
    return [(line, line) for line in (json.dumps(each).encode() + b"\n" for each in (*pieces, last))]


_MADE = {
    "json": _json,
    "chat": _chat,
    "messages": _messages,
    "gemini": _gemini,
    "responses": _responses,
    "lines": _lines,
    "packed": _json,
    "none": _none,
    "other": _other,
}


def _pieces(draw: random.Random, text: bytes) -> list[bytes]:
    most, found = draw.choice((3 if len(text) < 1_000 else 50, 500, 5_000, 100_000)), []
    while text:
        length = draw.randint(1, most)
        found.append(text[:length])
        text = text[length:]
    return found


async def counted(gate: Gateway) -> dict[tuple[str, ...], int]:
    """Return the counters of tokens and of answers."""
    page = await gate.admin("/stats/prometheus?filter=remote_tokens|remote_answers")
    found = re.findall(
        r'^envoy_offload_remote_(?:tokens|answers)\{[^}]*(?:direction|usage)="(\w+)"[^}]*\} (\d+)$', page, re.MULTILINE
    )
    return {(name,): int(count) for name, count in found}


async def test_the_tokens_counted_are_those_that_the_remote_told_in_any_form_and_at_any_cut(tmp_path: Path) -> None:
    made = answers()

    async def says(exchange: Exchange) -> None:
        answer = made[int(exchange.request.header("x-number") or 0)]
        await exchange.begin(headers=answer.headers)
        for piece in answer.pieces:
            await exchange.send_raw(chunk(piece))
            await asyncio.sleep(0)
        if answer.is_cut:
            await asyncio.sleep(0.002)  # what was sent before a reset may be lost with it
            exchange.reset()
        else:
            await exchange.send(b"")

    async with upstream("remote", says) as remote:
        spec = builders.spec(remote=to(remote, usage=UsageMode.ASK))
        async with gateway(spec, tmp_path, share=100) as gate:
            got = await asyncio.gather(*(_ask(gate.front, range(first, ANSWERS, CLIENTS)) for first in range(CLIENTS)))
            await eventually(lambda: _all_counted(gate))
            found = await counted(gate)

    read = {number: text for each in got for number, text in each.items()}
    assert [
        made[number] for number, text in read.items() if not made[number].is_cut and text != made[number].expected
    ] == []
    told = [answer.tokens for answer in made if answer.tokens is not None]
    assert found == {
        ("input",): sum(prompt for prompt, _ in told),
        ("output",): sum(completion for _, completion in told),
        ("read",): len(told),
        ("unread",): ANSWERS - len(told),
    }
    assert {request.header("accept-encoding") for request in remote.requests} == {"identity"}


async def _all_counted(gate: Gateway) -> bool:
    found = await counted(gate)
    return found.get(("read",), 0) + found.get(("unread",), 0) == ANSWERS


async def _ask(front: str, numbers: range) -> dict[int, bytes]:
    found = {}
    asker = await client.open_to(front)
    for number in numbers:
        about = [*AS_JSON, ("accept-encoding", "gzip"), ("x-number", str(number))]
        try:
            found[number] = (await asker.post("/v1/chat/completions", STREAM, headers=about)).body.content
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            found[number] = b""
            asker.abort()
            asker = await client.open_to(front)
    asker.abort()
    return found


USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":11,"completion_tokens":3}}\n\n'
FIRST = b'data: {"choices":[{"delta":{"content":"hi"}}],"usage":null}\n\n'
WHOLE = FIRST + USAGE + b"data: [DONE]"
ASKING = b'"stream_options":{"include_usage":true}'

BODIES = (
    # what the client sends, what the remote receives, and whether the client reads the event with the usage
    (b'{"stream":true}', b"{" + ASKING + b',"stream":true}', False),
    (
        b' {"a":[{"stream":false}],\n"stream": true}',
        b" {" + ASKING + b',"a":[{"stream":false}],\n"stream": true}',
        False,
    ),
    (b'{"stream":true,"stream_options":null}', b'{"stream":true,"stream_options":{"include_usage":true}}', False),
    (b'{"stream_options":{},"stream":true}', b'{"stream_options":{"include_usage":true},"stream":true}', False),
    (
        b'{"stream_options":{"a":{"include_usage":true}},"stream":true}',
        b'{"stream_options":{"include_usage":true,"a":{"include_usage":true}},"stream":true}',
        False,
    ),
    (
        b'{"stream_options":{"include_usage": false},"stream":true}',
        b'{"stream_options":{"include_usage": true},"stream":true}',
        False,
    ),
    (b'{"stream":true,"stream_options":{"include_usage":true}}', None, True),
    (b'{"stream":false}', None, True),
    (b'{"messages":[{"content":"\\"stream\\":true"}]}', None, True),
    (b'{"stream":true', None, True),
    (b'[{"stream":true}]', None, True),
    (b'{"stream":true,"stream_options":7}', b'{"stream":true,"stream_options":{"include_usage":true}}', False),
    # What a client can do so that its tokens are not told. Some parsers take the first of two keys, and some the last one.
    (
        b'{"stream":true,"STREAM":false}',
        b'{"stream_options":{"include_usage":true},"stream":true,"STREAM":false}',
        False,
    ),
    (
        b'{"stream":true,"stream":false}',
        b'{"stream_options":{"include_usage":true},"stream":true,"stream":false}',
        False,
    ),
    (b'{"str\\u0065am":true}', b'{"stream_options":{"include_usage":true},"str\\u0065am":true}', False),
    (
        b'{"stream":true,"stream_options":{"include_usage":0 , "a": [1,{"include_usage":2}]} }',
        b'{"stream":true,"stream_options":{"include_usage":true , "a": [1,{"include_usage":2}]} }',
        False,
    ),
    (
        b'{"stream":true,"stream_options":{"include_usage":true,"include_usage":"tru,e}"}}',
        b'{"stream":true,"stream_options":{"include_usage":true,"include_usage":true}}',
        False,
    ),
    (
        b'{"stream_options":{"include_usage":[{"a":1},2]},"stream":true,"stream_options":{}}',
        b'{"stream_options":{"include_usage":true},"stream":true,"stream_options":{"include_usage":true}}',
        False,
    ),
    (
        b'{"stream":true,"STREAM_OPTIONS":{"include_usage":true}}',
        b'{"stream_options":{"include_usage":true},"stream":true,"STREAM_OPTIONS":{"include_usage":true}}',
        False,
    ),
    (b'{"STREAM":true}', None, True),
)


async def test_usage_is_asked_for_where_the_client_did_not_and_its_event_is_taken_away_again(tmp_path: Path) -> None:
    async def says(exchange: Exchange) -> None:
        await exchange.respond(WHOLE, headers=[("content-type", "text/event-stream")])

    async with upstream("remote", says) as remote:
        spec = builders.spec(remote=to(remote, usage=UsageMode.ASK))
        async with gateway(spec, tmp_path, share=100) as gate, client.connect(gate.front) as asker:
            got = [await asker.post("/v1/chat/completions?a=b", sent, headers=AS_JSON) for sent, _, _ in BODIES]
            elsewhere = await asker.post("/v1/messages", STREAM, headers=AS_JSON)
            await gate.change(builders.spec(remote=to(remote)))
            about = [*AS_JSON, ("accept-encoding", "gzip")]
            only_read = await asker.post("/v1/chat/completions", STREAM, headers=about)
            await gate.change(builders.spec(remote=to(remote, usage=UsageMode.IGNORE)))
            await asker.post("/v1/chat/completions", STREAM, headers=AS_JSON)
            found = await counted(gate)

    received = [request.body.content for request in remote.requests]
    assert received == [
        *(sent if received is None else received for sent, received, _ in BODIES),
        *(STREAM,) * 3,
    ]
    without = WHOLE.replace(USAGE, b"")
    assert [answer.body.content for answer in got] == [WHOLE if is_there else without for _, _, is_there in BODIES]
    assert (elsewhere.body.content, only_read.body.content) == (WHOLE, WHOLE)
    assert remote.requests[-2].header("accept-encoding") == "gzip"
    assert only_read.header("content-length") == str(len(WHOLE))
    assert found[("read",)] == len(BODIES) + 2


async def test_an_event_is_passed_on_as_soon_as_its_line_is_whole(tmp_path: Path) -> None:
    may_go_on = asyncio.Event()

    async def waits(exchange: Exchange) -> None:
        await exchange.begin(headers=[("content-type", "text/event-stream")])
        await exchange.send(FIRST)
        await may_go_on.wait()
        await exchange.send(USAGE)
        await exchange.send(b"data: [DONE]\n\n")
        await exchange.send(b"")

    async with upstream("remote", waits) as remote:
        spec = builders.spec(remote=to(remote, usage=UsageMode.ASK))
        async with gateway(spec, tmp_path, share=100) as gate, client.connect(gate.front) as asker:
            about = [*AS_JSON, ("content-length", str(len(STREAM)))]
            await asker.send_head("POST /v1/chat/completions HTTP/1.1", about)
            await asker.send(STREAM)
            await asker.head()
            async with asyncio.timeout(10):
                first = await asker.reader.readuntil(FIRST)
            may_go_on.set()
            async with asyncio.timeout(10):
                rest = await asker.reader.readuntil(b"0\r\n\r\n")

    assert first.endswith(FIRST)
    assert b"data: [DONE]" in rest
    assert b"prompt_tokens" not in rest


async def test_a_remote_whose_budget_is_spent_declines_and_the_next_server_is_asked(tmp_path: Path) -> None:
    budget = Budget(Decimal(1), BudgetUnit.REQUESTS, Period.DAY)

    async with upstream("one") as one, upstream("two") as two, upstream("local") as local:
        first, second = to(one, name="one", budget=budget), to(two, name="two", budget=budget)
        spec = builders.spec(remote=first, next_remotes=(second,), on_remote_failure=OnRemoteFailure.FAIL)
        async with gateway(spec, tmp_path, local=[local], share=100) as gate:
            found = [await _answers(gate)]
            for budget_spent in (("one",), ("one", "two"), ()):
                gate.shares.set(spec.key, RuntimeValues(100, budget_spent=budget_spent))
                await eventually(lambda budget_spent=budget_spent: gate.leaves_out(budget_spent))
                found.append(await _answers(gate))
            gate.shares.set(spec.key, RuntimeValues(100, budget_spent=("one",)))
            await eventually(lambda: gate.leaves_out(("one",)))
            gate.shares.forget(spec.key)  # as when the controller is gone
            found.append(await _answers(gate))
            results = await gate.admin("/stats/prometheus?filter=remote_attempts")
            ejected = await gate.stat("cluster.remote_hop-one.outlier_detection.ejections_enforced_total")

    assert found == [{b"one"}, {b"two"}, {b"local"}, {b"one"}, {b"two"}]
    assert 'result="declined"' in results
    assert 'result="reset"' not in results
    assert ejected == 0


async def _answers(gate: Gateway) -> set[bytes]:
    async with client.connect(gate.front) as asker:
        return {(await asker.ask("/v1/chat/completions")).body.content for _ in range(15)}
