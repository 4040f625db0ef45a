"""Spans: one for each request, with who answered it and why, in the trace that the client began; and nothing confidential."""

from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

import builders
from beamlit_controller.api.settings import OtlpSettings
from beamlit_controller.core.spec import Overflow, PathPrefix
from fakes import client
from fakes.collector import Collector, attributes, collector
from fakes.gateway import Gateway, gateway, to
from fakes.ports import free_port
from fakes.trouble import says
from fakes.upstream import upstream
from waiting import eventually

pytestmark = pytest.mark.system

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


FLUSH = 5
"""Envoy sends spans once it has so many, or after 5 s."""


async def ask(gate: Gateway, path: str, *headers: tuple[str, str]) -> None:
    for _ in range(FLUSH):
        await client.ask(gate.front, path, headers=headers)


async def one(seen: Collector) -> Span:
    await eventually(lambda: len(seen.spans) == FLUSH, what="the spans have arrived")
    return seen.spans[0]


@pytest.mark.parametrize(
    ("share", "path", "side", "reason"),
    [(0, "/v1/chat", "local", "local"), (100, "/v1/chat", "remote", "share"), (100, "/kept", "local", "kept")],
)
async def test_a_span_says_who_answered_and_why(tmp_path: Path, share: int, path: str, side: str, reason: str) -> None:
    async with collector() as seen, upstream("local") as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), keep_local=(PathPrefix("/kept"),))
        otlp = OtlpSettings(seen.address, 100, "gateways")
        async with gateway(spec, tmp_path, local=[local], share=share, otlp=otlp) as gate:
            await ask(gate, path)
            span = await one(seen)

    said = attributes(span)
    assert (said["offload.side"], said["offload.reason"], said["offload.model"]) == (side, reason, "models/llama")
    assert span.name == "POST"
    assert seen.services == {"gateways"}


async def test_a_request_that_overflowed_says_so(tmp_path: Path) -> None:
    async with collector() as seen, upstream("local", says(503)) as local, upstream("remote") as remote:
        spec = builders.spec(remote=to(remote), overflow=Overflow(on_status=(503,)))
        otlp = OtlpSettings(seen.address, 100, "gateways")
        async with gateway(spec, tmp_path, local=[local], otlp=otlp) as gate:
            await ask(gate, "/v1/chat")
            span = await one(seen)

    assert (attributes(span)["offload.side"], attributes(span)["offload.attempts"]) == ("remote", "2")


async def test_a_clients_trace_is_continued_and_passed_on(tmp_path: Path) -> None:
    async with collector() as seen, upstream("local") as local, upstream("remote") as remote:
        otlp = OtlpSettings(seen.address, 0, "gateways")
        async with gateway(builders.spec(remote=to(remote)), tmp_path, local=[local], share=100, otlp=otlp) as gate:
            await ask(gate, "/", ("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"))
            span = await one(seen)
            request = remote.requests[0]

    assert span.trace_id.hex() == TRACE
    assert span.parent_span_id.hex() == "00f067aa0ba902b7"
    assert request.header("traceparent") == f"00-{TRACE}-{span.span_id.hex()}-01"


async def test_no_span_has_the_query_or_a_credential(tmp_path: Path) -> None:
    async with collector() as seen, upstream("local") as local, upstream("remote") as remote:
        otlp = OtlpSettings(seen.address, 100, "gateways")
        async with gateway(builders.spec(remote=to(remote)), tmp_path, local=[local], otlp=otlp) as gate:
            headers = [("authorization", "Bearer sk-secret"), ("cookie", "id=sk-secret")]
            await ask(gate, "/v1/chat?key=sk-secret", *headers)
            span = await one(seen)

    assert attributes(span)["http.url"].endswith("/v1/chat")
    assert "sk-secret" not in str(span)


async def test_without_a_collector_requests_are_answered_all_the_same(tmp_path: Path) -> None:
    async with upstream("local") as local, upstream("remote") as remote:
        otlp = OtlpSettings(f"127.0.0.1:{free_port()}", 100, "gateways")
        async with gateway(builders.spec(remote=to(remote)), tmp_path, local=[local], otlp=otlp) as gate:
            answers = [await client.ask(gate.front, "/") for _ in range(20)]

    assert {answer.line[1] for answer in answers} == {"200"}
