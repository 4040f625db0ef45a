"""The model's name in the body: another at the remote, and not one other byte changed on either side."""

import asyncio
import json
from pathlib import Path

import pytest

import builders
from beamlit_controller.core.price import UsageMode
from beamlit_controller.core.spec import Overflow
from beamlit_controller.envoy import remote_stats
from fakes import client, load
from fakes.gateway import gateway, to
from fakes.http1 import chunk
from fakes.trouble import says
from fakes.upstream import Exchange, upstream

pytestmark = pytest.mark.system

AS_JSON = ("content-type", "application/json")
OVER_THERE = 'meta/llama-3.1 "8b" \\ caf\xe9'
THERE = json.dumps(OVER_THERE, ensure_ascii=False).encode()
NAMES = (("llama", OVER_THERE), ("org/llama \xe9", "other"), ("sql-lora", "sql-lora"))

RENAMED = {
    "first": (b'{"model":"llama","n":1}', b'{"model":%s,"n":1}'),
    "last, with blanks": (
        b' \n{ "n" : 12345678901234567890.10,\t"model"\n: "llama" }\n',
        b' \n{ "n" : 12345678901234567890.10,\t"model"\n: %s }\n',
    ),
    "behind nested ones": (
        b'{"a":{"model":"in"},"b":[{"model":"in"},"model"],"c":"\\"model\\":","model":"llama"}',
        b'{"a":{"model":"in"},"b":[{"model":"in"},"model"],"c":"\\"model\\":","model":%s}',
    ),
    "escaped name": (b'{"model":"l\\u006cama","x":"model"}', b'{"model":%s,"x":"model"}'),
    "another that is mapped": (b'{"model":"org/llama \xc3\xa9"}', b'{"model":"other"}'),
    "with a slash as PHP writes it": (b'{"model":"org\\/llama \\u00E9"}', b'{"model":"other"}'),
    "mapped to itself": (b'{"model":"sql-lora"}', b'{"model":"sql-lora"}'),
    "twice": (b'{"model":"llama","a":1,"model":"sql-lora"}', b'{"model":%s,"a":1,"model":"sql-lora"}'),
    "escaped": (
        b'{"\\u006dodel":"llama","\\u006D\\u006f\\u0064el":"llama"}',
        b'{"\\u006dodel":%s,"\\u006D\\u006f\\u0064el":%s}',
    ),
    "in other letters": (b'{"model":"llama","Model":"llama"}', b'{"model":%s,"Model":%s}'),
    "behind backslashes": (
        b'{"a":"\\\\","b":"\\\\\\"\\\\\\\\","model":"llama"}',
        b'{"a":"\\\\","b":"\\\\\\"\\\\\\\\","model":%s}',
    ),
    "as a value before": (b'{"x":"model","model":"llama"}', b'{"x":"model","model":%s}'),
}
UNCHANGED = {
    "no name": b'{"prompt":"hello"}',
    "not at the top": b'{"a":{"model":"llama"}}',
    "empty object": b"{}",
    "another key": b'{"\\\\u006dodel":"gpt-5","mode":"gpt-5","modalities":["text"],"a":{"models":["gpt-5"]}}',
    "a tool": b'{"tools":[{"type":"function","function":{"parameters":{"properties":{"model":{"type":"string"}}}}}]}',
    "tools by name": b'{"tools":["search", "model"],"session":{"type":"realtime"},"parameters":{"seed":1},"plugins":[]}',
    "no tools": b'{"tools":null,"session":"model","parameters":{},"plugins":[ { } ,{"id":"web"}]}',
    "tools with nothing in them": b'{"tools":[1,-2.5e3,null,{"type":"a","model":null}],"parameters":[1,2]}',
    "how a provider serves it": b'{"provider":{"data_collection":"deny","sort":"price","zdr":true}}',
    "the engine of a search": b'{"plugins":[{"id":"web","engine":"exa"}],"disable_fallbacks":true}',
    "words with others in them": b'{"exploration_rate":0.1,"floral":1}',
    "metadata": b'{"metadata":{"model":"mine"},"messages":[{"role":"user","content":"a","model":"gpt-5"}]}',
    "not UTF-8": b'{"x":"\xff\xfe\x00"}',
    "nothing": b"",
}
UNREADABLE = {
    "a list": b'[{"model":"llama"}]',
    "a number": b'{"model":7}',
    "null": b'{"model":null}',
    "text": b"model",
    "cut off": b'{"prompt":"hel',
    "cut off in the name": b'{"model":"lla',
    "cut off behind a backslash": b'{"model":"llama\\\\\\"}',
    "never closed": b'{"model":"llama"',
    "a byte order mark": b'\xef\xbb\xbf{"model":"llama"}',
    "UTF-16": '{"model":"llama"}'.encode("utf-16"),
    "UTF-16 without a mark": '{"model":"gpt-5"}'.encode("utf-16-le"),
    "UTF-32 without a mark": '{"model":"gpt-5"}'.encode("utf-32-le"),
    "in one of two": b'{"model":"llama","model":["gpt-5"]}',
    "a key without quotes": b'{"model":"llama",model:"gpt-5"}',
    "a key in other quotes": b"{'model':'gpt-5'}",
    "quotes in comments": b'{/*"*/"model":"gpt-5"/*"*/}',
    "a comment": b'{"model"/**/:"gpt-5"}',
    "closed too often": b'{"model":"llama"}]{"model":"gpt-5"}[',
    "two of them with something between": b'{"model":"llama"};{"model":"gpt-5"}',
}
OTHERS = {
    "an adapter": b'{"model":"llama-lora"}',
    "an empty name": b'{"model":""}',
    "in other letters": b'{"model":"Llama"}',
    "in one of two": b'{"model":"llama","model":"gpt-5"}',
    "in one of two spellings": b'{"\\u006dodel":"gpt-5","model":"llama"}',
    "in a key that some take for it": b'{"model":"llama","MODEL":"gpt-5"}',
    "in a list of them": b'{"model":"llama","models":["gpt-5"]}',
    "in what to fall back to": b'{"model":"llama","fall\\u0062acks":["gpt-5"]}',
    "in a key with a long s": b'{"model":"llama","model\xc5\xbf":["gpt-5"]}',
    "in a key with the sign of kelvin": b'{"model":"llama","fallbac\\u212as":["gpt-5"]}',
    "in what a proxy adds to the body": b'{"model":"llama","extra_body":{"model":"gpt-5"}}',
    "in a configuration": b'{"user_config":{"model_list":[{"model_name":"gpt-5"}]},"model":"llama"}',
    "in an identifier beside it": b'{"model":"llama","model_id":"gpt-5"}',
    "in one of other letters": b'{"model":"llama","modelU\\u0072i":"gpt://gpt-5"}',
    "in a deployment": b'{"model":"llama","deployment-id":"gpt-5"}',
    "in an adapter": b'{"model":"llama","lora_path":"sql"}',
    "in a tool": b'{"model":"llama","tools":[{"type":"function"},{"type":"image","model":"gpt-5"}]}',
    "in a tool behind others": b'{"model":"llama","tools":["a", [], {"model":"gpt-5"}]}',
    "in a tool in other letters": b'{"model":"llama","tools":[{"a":"]","Mod\\u0065l":"gpt-5"}]}',
    "in a session": b'{"model":"llama","session":{"a":{"b":1},"model":"gpt-5"}}',
    "in the parameters of a server": b'{"model":"llama","parameters":{"adapter_id":"sql"}}',
    "in a plugin": b'{"model":"llama","plugins":[{"id":"fusion","model":"gpt-5"}]}',
    "for another part": b'{"model":"llama","draft_model":"gpt-5"}',
    "as a base": b'{"model":"llama","base_model":"gpt-5"}',
    "as an override": b'{"model":"llama","override_model":"gpt-5"}',
    "in another list": b'{"model":"llama","fallback_models":["gpt-5"]}',
    "in a version": b'{"model":"llama","modelVersion":"2"}',
    "in a key that some parse": b'{"model":"llama","model[]":"gpt-5","extra.model":"gpt-5"}',
    "in a long key": b'{"model":"llama","%smodel":"gpt-5"}' % (b"x" * 500),
    "in settings": b'{"model":"llama","router_settings_override":{"fallbacks":[]}}',
    "by the name of a provider": b'{"model":"llama","provider":"a"}',
    "by a model of a provider": b'{"model":"llama","provider":{"model":"gpt-5"}}',
    "in a list in a list": b'{"model":"llama","tools":[[{"model":"gpt-5"}]]}',
    "behind a number": b'{"model":"llama","tools":[1,{"model":"gpt-5"}]}',
    "by a provider": b'{"model":"llama","provider":{"order":["a"]}}',
    "in the name of an adapter": b'{"model":"llama","adapter_name":"sql"}',
    "in a list of adapters": b'{"model":"llama","lora_adapters":[{"name":"sql"}]}',
    "in a key that ends early": b'{"model":"llama","model\\u0000":"gpt-5"}',
    "by another address": b'{"model":"llama","api_base":"https://evil.example"}',
    "with half a surrogate": b'{"model":"llama\\ud83d"}',
    "very long": b'{"model":"%s"}' % (b"llama" * 20_000),
}
OTHER_TYPES = (
    (),
    (("content-type", "text/plain"),),
    (("content-type", "application/x-www-form-urlencoded"),),
    (("content-type", "multipart/form-data; boundary=a"),),
    (("content-type", "application/vnd.api+json"),),
    (("content-type", "application/json; charset=utf-16"),),
    (("content-type", "application/json"), ("content-type", "text/plain")),
    (AS_JSON, ("content-encoding", "br")),
    (AS_JSON, ("content-encoding", "identity")),
)


NAMING_PATHS = (
    "/openai/deployments/gpt-5/chat/completions",
    "/engines/gpt-5/completions",
    "/v1beta/models/gpt-5:generateContent",
    "/model/gpt-5/invoke",
    "/x%2fMODELS%5c;a=b/gpt-5",
    "/v2/models/llama/infer",
    "/v1/models/sql-lora/models/gpt-5",
)
NAMING_QUERIES = (
    "deployment=gpt-5",
    "engine=gpt-5",
    "model[]=gpt-5",
    "%20model=gpt-5",
    "model%00=gpt-5",
    "Model_ID=gpt-5",
)
NAMING_HEADERS = (
    "model",
    "x-model-name",
    "seldon-model",
    "mm-vmodel-id",
    "x-ai-eg-model",
    "x-amzn-sagemaker-target-model",
    "x-amzn-sagemaker-inference-component",
    "helicone-model-override",
    "x-litellm-tags",
    "x-adapter",
    "x-lora-adapter",
    "lora-id",
    "x-model-version",
    "x-modelversion",
    "acme-model-of-choice",
    "x-engine-id",
)


async def test_a_request_stays_whose_path_or_query_names_a_model(tmp_path: Path) -> None:
    same = ("/v2/models/sql-lora/infer", "/v1/models/sql-lora:predict?x=1")
    plain = ("/v1/completions", "/v1/chat?models_dir=1&x=model")
    async with upstream("local") as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote, model_names=NAMES))
        async with gateway(spec, tmp_path, local=[local], share=100) as gate, client.connect(gate.front) as asker:
            for path in (*NAMING_PATHS, *(f"/v1/chat?{query}" for query in NAMING_QUERIES), *same, *plain):
                await asker.post(path, b'{"model":"llama"}', headers=[AS_JSON])

    assert [request.line[1] for request in remote.requests] == [*same, *plain]


async def test_headers_by_which_others_choose_a_model_do_not_leave_where_names_are_mapped(tmp_path: Path) -> None:
    headers = [(name, "gpt-5") for name in NAMING_HEADERS]
    harmless = ("x-modelling", "x-remodel-1", "x-explorations", "x-request-id")
    async with upstream("remote") as remote:
        spec = builders.spec(remote=to(remote, model_names=NAMES))
        async with gateway(spec, tmp_path, share=100) as gate, client.connect(gate.front) as asker:
            await asker.post(
                "/v1/chat", b'{"model":"llama"}', headers=[AS_JSON, *headers, *((name, "a") for name in harmless)]
            )

    [seen] = remote.requests
    assert "gpt-5" not in str(seen.headers)
    assert {seen.header(name) for name in harmless} == {"a"}


async def test_the_remote_reads_its_own_name_and_every_other_byte_as_sent(tmp_path: Path) -> None:
    async with upstream("remote") as remote:
        spec = builders.spec(remote=to(remote, model_names=NAMES))
        async with gateway(spec, tmp_path, share=100) as gate, client.connect(gate.front) as asker:
            for sent, _ in RENAMED.values():
                await asker.post("/v1/chat", sent, headers=[("Content-Type", "Application/JSON; charset=utf-8")])
            for sent in UNCHANGED.values():
                await asker.post("/v1/chat", sent, headers=[AS_JSON])

    got = [request.body.content for request in remote.requests]
    assert got == [
        *(wanted.replace(b"%s", THERE) for _, wanted in RENAMED.values()),
        *UNCHANGED.values(),
    ]
    assert [request.header("content-length") for request in remote.requests] == [str(len(each)) for each in got]


async def test_a_request_for_another_model_stays(tmp_path: Path) -> None:
    async with upstream("local") as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote, model_names=NAMES))
        async with gateway(spec, tmp_path, local=[local], share=100) as gate, client.connect(gate.front) as asker:
            answers = [await asker.post("/v1/chat", sent, headers=[AS_JSON]) for sent in OTHERS.values()]
            for _ in range(20):
                await asker.post("/v1/chat", b'{"model":"llama-lora"}', headers=[AS_JSON])
            attempts = await client.get(gate.params.stats, "/stats/prometheus?filter=remote_attempts")
            afterwards = await asker.post("/v1/chat", b'{"model":"llama"}', headers=[AS_JSON])

    counted = remote_stats.attempts(attempts.body.content.decode())[""].counts
    assert counted == (("declined", 503, len(OTHERS) + 20),)
    assert [answer.header("x-offload-served-by") for answer in answers] == ["local"] * len(OTHERS)
    assert [request.body.content for request in local.requests[: len(OTHERS)]] == [*OTHERS.values()]
    assert afterwards.header("x-offload-served-by") == "remote"
    assert len(remote.requests) == 1


@pytest.mark.parametrize(
    ("path", "arrives"),
    [
        ("/v1/realtime?a=1&model=llama", "/v1/realtime?a=1&model=meta%2Fllama"),
        ("/v1/realtime?%6dodel=ll%61ma&Model=gpt-5", None),
        ("/v1/realtime?%6dodel=ll%61ma&Model=llama&b", "/v1/realtime?%6dodel=meta%2Fllama&Model=meta%2Fllama&b"),
        ("/v1/realtime?model=gpt-5", None),
        ("/v1/realtime?a=1;model=gpt-5", None),
        ("/v1/realtime?model", None),
        ("/v1/realtime?models=gpt-5", "/v1/realtime?models=gpt-5"),
    ],
)
async def test_a_name_in_the_query_is_replaced_or_stays_also_for_a_websocket(
    tmp_path: Path, path: str, arrives: str | None
) -> None:
    upgrade = (("connection", "upgrade"), ("upgrade", "websocket"))
    async with upstream("local") as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote, model_names=(("llama", "meta/llama"),)))
        async with gateway(spec, tmp_path, local=[local], share=100) as gate:
            await client.ask(gate.front, path)
            await client.get(gate.front, path, headers=upgrade)

    paths = [request.line[1] for request in (remote if arrives else local).requests]
    assert paths == [arrives or path] * 2
    assert len(local.requests) + len(remote.requests) == len(paths)


async def test_a_body_whose_name_cant_be_replaced_for_sure_stays(tmp_path: Path) -> None:
    async with upstream("local") as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote, model_names=NAMES))
        async with gateway(spec, tmp_path, local=[local], share=100) as gate, client.connect(gate.front) as asker:
            answers = [await asker.post("/v1/chat", sent, headers=[AS_JSON]) for sent in UNREADABLE.values()]
            answers += [await asker.post("/v1/chat", b'{"model":"llama"}', headers=headers) for headers in OTHER_TYPES]

    assert {answer.line[1] for answer in answers} == {"200"}
    assert not remote.requests
    assert [request.body.content for request in local.requests[: len(UNREADABLE)]] == [*UNREADABLE.values()]


async def test_local_reads_the_clients_name_also_when_the_remote_was_asked_first(tmp_path: Path) -> None:
    async with upstream("local") as local, upstream("remote", says(500)) as remote:
        spec = builders.spec(remote=to(remote, model_names=NAMES))
        async with gateway(spec, tmp_path, local=[local], share=100) as gate, client.connect(gate.front) as asker:
            await asker.post("/v1/chat", b'{"model":"llama"}', headers=[AS_JSON])

    assert remote.requests[0].body.content == b'{"model":%s}' % THERE
    assert local.requests[0].body.content == b'{"model":"llama"}'


async def test_a_body_that_takes_too_long_to_read_stays(tmp_path: Path) -> None:
    """Reading 1 MiB of brackets and commas blocked a worker for a third of a second."""
    limit = 8 * 2**20
    sent = {
        "an image": b'{"x": "%s", "model": "llama"}' % (b"iVBORw0K" * (limit // 8 - 10)),
        "a conversation": b'{"x": [%s], "model": "llama"}'
        % b", ".join([b'{"role": "user", "content": "hi"}'] * 20_000),
        "brackets": b'{"model": "llama", "x": [%s0]}' % (b"[]," * 1_000_000),
        "numbers": b'{"model": "llama", "x": [%s0]}' % (b"1," * 3_000_000),
    }
    async with upstream("local") as local, upstream("remote") as remote:
        asks = to(remote, model_names=NAMES, usage=UsageMode.ASK)
        spec = builders.spec(remote=asks, overflow=Overflow(max_request_bytes=limit))
        async with gateway(spec, tmp_path, local=[local], share=100) as gate, client.connect(gate.front) as asker:
            got = {
                name: (await asker.post("/v1/chat/completions", body, headers=[AS_JSON])).body.content
                for name, body in sent.items()
            }

    assert got == {"an image": b"remote", "a conversation": b"remote", "brackets": b"local", "numbers": b"local"}


async def test_a_long_body_stays_and_is_never_refused_for_its_length(tmp_path: Path) -> None:
    limit = 100_000
    fits = b'{"model":"llama","prompt":"%s"}' % (b"x" * (limit - 31))
    async with upstream("local") as local, upstream("remote") as remote:
        spec = builders.spec(
            remote=to(remote, model_names=(("llama", "m"),)), overflow=Overflow(max_request_bytes=limit)
        )
        async with gateway(spec, tmp_path, local=[local], share=100) as gate, client.connect(gate.front) as asker:
            assert len(fits) <= limit
            short = await asker.post("/", fits, headers=[AS_JSON])
            long = await asker.post("/", fits + b" " * limit, headers=[AS_JSON])
            other = await asker.post("/", b"x" * 10 * limit, headers=[("content-type", "audio/wav")])
            await asker.send_head("POST / HTTP/1.1", [AS_JSON, ("transfer-encoding", "chunked")])
            for piece in (fits, fits, b""):
                await asker.send(chunk(piece))
            untold = await asker.response()

    assert [answer.line[1] for answer in (short, long, other, untold)] == ["200"] * 4
    assert [answer.header("x-offload-served-by") for answer in (short, long, other, untold)] == [
        "remote",
        "local",
        "local",
        "local",
    ]
    assert local.requests[2].body.content == fits + fits


async def test_an_answer_streams_while_the_name_is_replaced(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def streams(exchange: Exchange) -> None:
        await exchange.begin(headers=[("content-type", "text/event-stream")])
        await exchange.send(b"data: 1\n\n")
        await go_on.wait()
        await exchange.send(b"data: 2\n\n")
        await exchange.send(b"")

    async with upstream("remote", streams) as remote:
        spec = builders.spec(remote=to(remote, model_names=(("llama", "m"),)))
        async with gateway(spec, tmp_path, share=100) as gate, client.connect(gate.front) as asker, asyncio.timeout(60):
            body = b'{"model":"llama","stream":true}'
            await asker.send_head("POST / HTTP/1.1", [AS_JSON, ("content-length", str(len(body)))])
            await asker.send(body)
            await asker.head()
            first = await asker.reader.readuntil(b"data: 1\n\n")
            go_on.set()
            rest = await asker.reader.readuntil(b"data: 2\n\n")

    assert first.endswith(b"data: 1\n\n")
    assert rest.endswith(b"data: 2\n\n")
    assert remote.requests[0].body.content == b'{"model":"m","stream":true}'


async def test_many_at_once_are_all_renamed(tmp_path: Path) -> None:
    async with upstream("remote") as remote:
        spec = builders.spec(remote=to(remote, model_names=(("llama", "m"),)))
        async with gateway(spec, tmp_path, share=100) as gate:
            tally = await load.ask(gate.front, requests=500)

    assert tally.answered == {("200", "remote"): 500}
