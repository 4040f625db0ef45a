"""The path, the query and the headers that the remote reads, held against a plain model of the rules."""

import asyncio
import os
import random
import re
from pathlib import Path
from urllib.parse import unquote_plus

import pytest

import builders
from beamlit_controller.core.named_address import NamedAddress
from fakes import client
from fakes.gateway import gateway, to
from fakes.http1 import Message
from fakes.upstream import upstream

pytestmark = pytest.mark.system

REQUESTS = 3_000
CLIENTS = 8
SEED = int(os.environ.get("FUZZ_SEED", "20260601"))

QUERY = (("a b", "c&d=e?#\xe9"), ("api-version", "2024-10-21"))
ADDED = "a%20b=c%26d%3De%3F%23%C3%A9&api-version=2024-10-21"
PLAIN_SEGMENTS = (
    "chat",
    "rerank",
    "embeddings",
    "v1",
    "a%20b",
    "%3Fq",
    "%23f",
    "%C3%A9",
)
ODD_SEGMENTS = (
    "x;y",
    "..",
    ".",
    "%2e%2e",
    "%2E.",
    "",
    "a%2fb",
    "..%2f..",
    "%5c..",
    "V1",
    "%76%31",
    "v1%2f",
    "v1;a",
    "%252e",
    "..;",
    "..;a",
    ".;",
)
PARAMETERS = (
    "a=1",
    "b",
    "",
    "=",
    "a=b=c",
    "api-version=1",
    "API_Version=2",
    "api%2Dversion=3",
    "a+b=4",
    "A%20B=5",
    "ab",
    "ke=y",
)
AS_JSON = (("content-type", "application/json"),)
SEPARATORS = ("&", "&", "&", ";", "?")


def paths() -> list[str]:
    draw = random.Random(SEED)
    return [_path(draw) for _ in range(REQUESTS)]


def _path(draw: random.Random) -> str:
    begin = draw.choice(("/v1",) * 6 + ("/v1beta", "//v1", "/V1", "", "/v1/..", "/%76%31", "/v1%2f", "/a/../v1"))
    odd = ODD_SEGMENTS if draw.random() < 0.4 else PLAIN_SEGMENTS
    segments = [draw.choice(draw.choice((PLAIN_SEGMENTS, odd))) for _ in range(draw.randint(0, 4))]
    path = "".join((begin, *(f"/{each}" for each in segments))) or "/"
    if draw.random() < 0.5:
        return path
    parameters = [f"{draw.choice(SEPARATORS)}{draw.choice(PARAMETERS)}" for _ in range(draw.randint(0, 4))]
    return f"{path}?{''.join(parameters)[1:]}"


def expected(sent: str) -> str | None:
    """Return what the remote must read if the request leaves; None if it must not leave."""
    path, _, query = sent.partition("?")
    path = _resolved(re.sub("%76%31", "v1", path))
    if not path.startswith("/v1/"):
        return None
    pieces = re.findall(r"([&;?])([^&;?]*)", f"&{query}")
    kept = [(mark, piece) for mark, piece in pieces if _plain(piece.partition("=")[0]) not in {"apiversion", "ab"}]
    rest = "".join(mark + piece for mark, piece in kept)[1:]
    return f"/v1beta/openai/{path.removeprefix('/v1/')}?{rest}{'&' if rest else ''}{ADDED}"


def _plain(name: str) -> str:
    return re.sub(r"[-_+ ]", "", unquote_plus(name).lower())


def _resolved(path: str) -> str:
    """Resolve dots and merge slashes, as the gateway does before anything else."""
    path = re.sub("%2e", ".", path, flags=re.IGNORECASE)
    segments: list[str] = []
    given = path.split("/")[1:]
    for number, each in enumerate(given):
        last = number == len(given) - 1
        plain = each.partition(";")[0]
        if plain == "..":
            segments = segments[:-1]
        elif plain != ".":
            segments.append(each)
            continue
        segments += [""] if last else []
    return re.sub("/+", "/", "/" + "/".join(segments))


def is_plain(sent: str) -> bool:
    """Return whether nothing in the path is so odd that the request may stay for it."""
    path = sent.partition("?")[0].removeprefix("/v1")
    return sent.startswith("/v1/") and all(each in PLAIN_SEGMENTS for each in path.split("/")[1:])


async def test_no_path_leaves_but_below_the_prefix_and_each_as_the_rules_have_it(tmp_path: Path) -> None:
    made = paths()
    async with upstream("local") as local, upstream("remote") as remote:
        backend = to(remote, replaced_prefix="/v1", path_prefix="/v1beta/openai", query_to_add=QUERY)
        async with gateway(builders.spec(remote=backend), tmp_path, local=[local], share=100) as gate:
            answers = await asyncio.gather(
                *(_send(gate.front, made, range(first, REQUESTS, CLIENTS)) for first in range(CLIENTS))
            )

    arrived = {int(request.header("x-number") or -1): request.line[1] for request in remote.requests}
    assert [(made[number], path) for number, path in arrived.items() if path != expected(made[number])] == []
    assert {number for number, sent in enumerate(made) if is_plain(sent)} <= arrived.keys()
    assert len(arrived) > REQUESTS // 4
    refused = [each for several in answers for each in several if each.line[1] == "400"]
    assert len(arrived) + len(local.requests) + len(refused) == REQUESTS


async def _send(front: str, made: list[str], numbers: range) -> list[Message]:
    return [await client.ask(front, made[number], headers=[("x-number", str(number))]) for number in numbers]


async def test_a_path_and_a_header_name_the_model_that_the_request_names(tmp_path: Path) -> None:
    addresses = tuple(NamedAddress(each, f"/deployments/{each}", (("x-name", each),)) for each in ("gpt-x", "gpt-y"))
    names = (("llama", "gpt-x"), ("sql-lora", "gpt-y"), ("law-lora", "gpt-y"))
    async with upstream("local") as local, upstream("remote") as remote:
        backend = to(
            remote,
            replaced_prefix="/v1",
            path_prefix="/deployments/gpt-x",
            query_to_add=(("api-version", "1"),),
            headers_to_add=(("x-name", "gpt-x"),),
            model_names=names,
            by_model=addresses,
        )
        async with (
            gateway(builders.spec(remote=backend), tmp_path, local=[local], share=100) as gate,
            client.connect(gate.front) as asker,
        ):
            for body in (
                b'{"model":"llama"}',
                b'{"model":"sql-lora"}',
                b'{"model":"llama","model":"law-lora"}',
                b"{}",
                b'{"model":"other"}',
            ):
                await asker.post("/v1/chat?q", body, headers=[*AS_JSON, ("x-offload-model", "1")])
            await asker.ask("/v1/realtime?model=sql-lora")

    seen = [
        (request.line[1], request.header("x-name"), request.header("x-offload-model")) for request in remote.requests
    ]
    assert seen == [
        ("/deployments/gpt-x/chat?q&api-version=1", "gpt-x", None),
        ("/deployments/gpt-y/chat?q&api-version=1", "gpt-y", None),
        ("/deployments/gpt-y/chat?q&api-version=1", "gpt-y", None),
        ("/deployments/gpt-x/chat?q&api-version=1", "gpt-x", None),
        ("/deployments/gpt-y/realtime?model=gpt-y&api-version=1", "gpt-y", None),
    ]
    assert [request.body.content for request in local.requests] == [b'{"model":"other"}']
