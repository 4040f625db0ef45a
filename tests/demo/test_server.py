"""The demo's model server, over real sockets: what it answers, how its queue works, and what its metrics say."""

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from demo.engine import Capacity
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import ASGIApp

from demo import certificates, children, server
from fakes.gateway import free_port
from waiting import eventually

Serve = Callable[[ASGIApp], Awaitable[str]]

WAITING, RUNNING, CACHE = "vllm:num_requests_waiting", "vllm:num_requests_running", "vllm:kv_cache_usage_perc"
QUICK = Capacity(slots=2, tokens_per_second=1000, prefill_seconds=0)
ENDLESS = Capacity(slots=2, tokens_per_second=50, prefill_seconds=0, context_tokens=100_000)


def ask(tokens: int = 3, **fields: object) -> dict[str, object]:
    messages = [{"role": "user", "content": "where are you?"}]
    return {"model": "llama", "messages": messages, "max_tokens": tokens, **fields}


def events(body: str) -> list[str]:
    return [line.removeprefix("data: ") for line in body.splitlines() if line]


@asynccontextmanager
async def asking(client: httpx2.AsyncClient, url: str, tokens: int = 50_000) -> AsyncIterator[httpx2.Response]:
    async with client.stream("POST", f"{url}/v1/chat/completions", json=ask(tokens, stream=True)) as answer:
        yield answer


async def values(client: httpx2.AsyncClient, url: str) -> dict[str, float]:
    page = (await client.get(f"{url}/metrics")).text
    return {sample.name: sample.value for family in text_string_to_metric_families(page) for sample in family.samples}


async def shows(client: httpx2.AsyncClient, url: str, **wanted: float) -> None:
    names = {"waiting": WAITING, "running": RUNNING}

    async def shown() -> bool:
        seen = await values(client, url)
        return all(seen[names[name]] == value for name, value in wanted.items())

    await eventually(shown, what=str(wanted))


async def test_streams_an_answer_token_by_token(serve: Serve, client: httpx2.AsyncClient) -> None:
    url = await serve(server.application("llama", QUICK))

    answer = await client.post(f"{url}/v1/chat/completions", json=ask(4, stream=True))

    *chunks, closing, end = events(answer.text)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert end == "[DONE]"
    assert json.loads(closing)["choices"][0]["finish_reason"] == "length"
    assert [json.loads(chunk)["choices"][0]["delta"]["content"] for chunk in chunks] == [
        "local ",
        "first ",
        "and ",
        "remote ",
    ]


async def test_streams_usage_when_asked(serve: Serve, client: httpx2.AsyncClient) -> None:
    url = await serve(server.application("llama", QUICK))

    answer = await client.post(
        f"{url}/v1/chat/completions", json=ask(4, stream=True, stream_options={"include_usage": True})
    )

    usage = json.loads(events(answer.text)[-2])
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 4, "completion_tokens": 4, "total_tokens": 8}


async def test_answers_in_one_piece_without_stream(serve: Serve, client: httpx2.AsyncClient) -> None:
    url = await serve(server.application("llama", QUICK))

    answer = (await client.post(f"{url}/v1/chat/completions", json=ask(3))).json()

    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["content"].split() == ["local", "first", "and"]
    assert answer["usage"]["completion_tokens"] == 3


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (ask(model="gpt"), 404, "gpt"),
        (ask(messages=[]), 400, "messages"),
        (ask(tokens=0), 400, "max_tokens"),
        (ask(tokens=600), 400, "604 were requested"),
    ],
)
async def test_refuses_what_it_cannot_do(
    serve: Serve, client: httpx2.AsyncClient, body: dict[str, object], status: int, said: str
) -> None:
    url = await serve(server.application("llama", QUICK))

    answer = await client.post(f"{url}/v1/chat/completions", json=body)

    assert answer.status_code == status
    assert said in answer.json()["error"]["message"]


async def test_works_on_as_many_requests_as_it_has_slots_and_lets_the_others_wait(
    serve: Serve, client: httpx2.AsyncClient
) -> None:
    url = await serve(server.application("llama", ENDLESS))

    async with asyncio.timeout(60), asking(client, url), asking(client, url):
        await shows(client, url, running=2, waiting=0)
        async with asking(client, url), asking(client, url), asking(client, url):
            await shows(client, url, running=2, waiting=3)

    await shows(client, url, running=0, waiting=0)


async def test_serves_in_the_order_of_arrival(serve: Serve, client: httpx2.AsyncClient) -> None:
    url = await serve(server.application("llama", Capacity(slots=1, tokens_per_second=100, prefill_seconds=0.05)))
    order: list[int] = []

    async def one(number: int) -> None:
        await client.post(f"{url}/v1/chat/completions", json=ask(5, stream=True))
        order.append(number)

    async with asyncio.timeout(60), asking(client, url, tokens=100), asyncio.TaskGroup() as group:
        await shows(client, url, running=1)
        for number in range(4):
            group.create_task(one(number))
            await shows(client, url, waiting=number + 1)

    assert order == [0, 1, 2, 3]


async def test_a_client_that_leaves_gives_its_slot_and_its_place_free(serve: Serve, client: httpx2.AsyncClient) -> None:
    url = await serve(server.application("llama", ENDLESS))

    async with asyncio.timeout(60), asking(client, url):
        async with asking(client, url):
            async with asking(client, url):
                await shows(client, url, running=2, waiting=1)
            await shows(client, url, running=2, waiting=0)
        await shows(client, url, running=1, waiting=0)


async def test_cache_usage_is_the_part_that_requests_in_work_fill(serve: Serve, client: httpx2.AsyncClient) -> None:
    url = await serve(server.application("llama", Capacity(2, 100, 0, context_tokens=104)))

    async with asyncio.timeout(60), asking(client, url, tokens=100) as one, asking(client, url, tokens=100) as other:
        seen = [(await values(client, url))[CACHE] for _ in range(20)]
        await asyncio.gather(one.aread(), other.aread())

    assert all(0 < value <= 1 for value in seen)
    assert seen == sorted(seen)
    assert (await values(client, url))[CACHE] == 0


async def test_metrics_have_the_names_and_labels_of_vllm(serve: Serve, client: httpx2.AsyncClient) -> None:
    url = await serve(server.application("llama", QUICK))
    await client.post(f"{url}/v1/chat/completions", json=ask(7))

    page = (await client.get(f"{url}/metrics")).text

    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    found = {sample.name: sample.value for sample in samples}
    assert all(sample.labels.items() >= {"model_name": "llama", "engine": "0"}.items() for sample in samples)
    assert {WAITING, RUNNING, CACHE} <= set(found)
    assert found["vllm:time_to_first_token_seconds_count"] == 1
    assert found["vllm:e2e_request_latency_seconds_count"] == 1
    assert found["vllm:generation_tokens_total"] == 7


async def test_the_first_token_of_a_queued_request_is_late_by_its_wait(
    serve: Serve, client: httpx2.AsyncClient
) -> None:
    url = await serve(server.application("llama", Capacity(slots=1, tokens_per_second=100, prefill_seconds=0)))

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(client.post(f"{url}/v1/chat/completions", json=ask(40, stream=True)))

    seen = await values(client, url)
    waited = seen["vllm:request_queue_time_seconds_sum"]
    assert waited > 0.6, "the second waited for 40 tokens of 10 ms, the third for 80, less what they came later"
    assert seen["vllm:time_to_first_token_seconds_sum"] >= waited


@pytest.mark.system
async def test_as_a_process_it_speaks_tls_below_a_prefix_and_ends_with_its_block(tmp_path: Path) -> None:
    tls, port = certificates.make(tmp_path), free_port()
    command = [sys.executable, "-m", "demo.server", "--port", str(port), "--slots", "1", "--tokens-per-second", "100"]
    options = ["--path-prefix", "/a/llama", "--certificate", str(tls.certificate), "--key", str(tls.key)]
    url = f"https://localhost:{port}"
    trust = ssl.create_default_context(cafile=tls.ca)

    async with (
        children.running("remote", command + options, logs=tmp_path),
        httpx2.AsyncClient(trust_env=False, verify=trust) as client,
    ):
        await eventually(lambda: answers(client, f"{url}/a/llama/health"))
        models = (await client.get(f"{url}/a/llama/v1/models")).json()
        outside = await client.get(f"{url}/v1/models")
    async with httpx2.AsyncClient(trust_env=False, verify=trust) as client:
        ended = not await answers(client, f"{url}/a/llama/health")

    assert [model["id"] for model in models["data"]] == ["llama-3-8b"]
    assert outside.status_code == 404
    assert ended


async def answers(client: httpx2.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == 200
    except httpx2.TransportError:
        return False


async def test_slots_that_are_taken_away_go_when_their_requests_are_done(
    serve: Serve, client: httpx2.AsyncClient
) -> None:
    url = await serve(server.application("llama", ENDLESS))

    async with asking(client, url), asking(client, url):
        await client.put(f"{url}/slots/1")
        async with asking(client, url):
            await shows(client, url, running=2, waiting=1)
    async with asking(client, url), asking(client, url):
        await shows(client, url, running=1, waiting=1)


async def test_slots_that_are_added_take_those_who_wait(serve: Serve, client: httpx2.AsyncClient) -> None:
    url = await serve(server.application("llama", ENDLESS))

    async with asking(client, url), asking(client, url), asking(client, url):
        await shows(client, url, running=2, waiting=1)
        await client.put(f"{url}/slots/3")
        await shows(client, url, running=3, waiting=0)


async def test_free_slots_are_taken_away_at_once(serve: Serve, client: httpx2.AsyncClient) -> None:
    url = await serve(server.application("llama", ENDLESS))

    await client.put(f"{url}/slots/1")

    async with asking(client, url), asking(client, url):
        await shows(client, url, running=1, waiting=1)
