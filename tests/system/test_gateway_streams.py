"""What is long, large or no plain request: streams, websockets, gRPC, big bodies, clients that go away. On both sides."""

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import openai
import psutil
import pytest
import websockets

import builders
from beamlit_controller.core.spec import Overflow, RemoteBackend, RemoteTls, Scheme, SecretKey
from fakes import client, http1
from fakes.completions import completions
from fakes.gateway import Gateway, free_port, gateway, to
from fakes.tls import Authority
from fakes.upstream import Answer, Exchange, upstream

pytestmark = pytest.mark.system

NAME = "api.example.test"
SIDES = pytest.mark.parametrize("side", ["local", "remote"])
MEGABYTE = 1024 * 1024


@SIDES
async def test_events_arrive_one_by_one_as_they_are_sent(tmp_path: Path, side: str) -> None:
    seen: asyncio.Queue[bytes] = asyncio.Queue()

    async def answer(exchange: Exchange) -> None:
        await exchange.begin(headers=(("content-type", "text/event-stream"),))
        for event in range(20):
            await exchange.send(b"data: %d\n\n" % event)
            # The next one is sent only when the client has this one: whoever holds it back waits for ever.
            assert await seen.get() == b"data: %d\n\n" % event
        await exchange.send(b"")

    async with _gateway(tmp_path, side, answer) as gate, client.connect(gate.front) as asker:
        await asker.send_head("POST /events HTTP/1.1", (("content-length", "0"),))
        head = await asker.head()
        async with asyncio.timeout(60):
            events = 0
            async for piece in http1.chunks(asker.reader):
                events += 1
                seen.put_nowait(piece)

    assert head.header("x-offload-served-by") == side
    assert events == 20


@SIDES
async def test_openais_own_client_streams_a_completion(tmp_path: Path, side: str) -> None:
    async with (
        _gateway(tmp_path, side, completions("Served by the one that was asked.")) as gate,
        openai.AsyncOpenAI(base_url=f"http://{gate.front}/v1", api_key="clients-own") as asker,
    ):
        stream = await asker.chat.completions.create(
            model="llama", messages=[{"role": "user", "content": "Who are you?"}], stream=True
        )
        words = [chunk.choices[0].delta.content or "" async for chunk in stream]
        whole = await asker.chat.completions.create(
            model="llama", messages=[{"role": "user", "content": "Who are you?"}]
        )

    assert words == ["Served ", "by ", "the ", "one ", "that ", "was ", "asked. ", ""]
    assert stream.response.headers["x-offload-served-by"] == side
    assert whole.choices[0].message.content == "Served by the one that was asked."


@SIDES
async def test_bodies_of_a_hundred_megabytes_pass_both_ways(tmp_path: Path, side: str) -> None:
    piece, pieces = bytes(range(256)) * (MEGABYTE // 256), 100

    async def answer(exchange: Exchange) -> None:
        assert exchange.request.body.size == pieces * MEGABYTE
        await exchange.begin(length=pieces * MEGABYTE, headers=(("x-digest", exchange.request.body.digest),))
        for _ in range(pieces):
            await exchange.send_raw(piece)

    async with _gateway(tmp_path, side, answer) as gate, client.connect(gate.front) as asker:
        await asker.send_head("POST /v1/audio HTTP/1.1", (("content-length", str(pieces * MEGABYTE)),))
        for _ in range(pieces):
            await asker.send(piece)
        response = await asker.response()
        memory = psutil.Process(gate.process.pid).memory_info().rss

    digest = hashlib.sha256(piece * pieces).hexdigest()
    assert response.header("x-offload-served-by") == side
    assert (response.header("x-digest"), response.body.digest) == (digest, digest)
    assert memory < 200 * MEGABYTE


@SIDES
@pytest.mark.parametrize("begun", [False, True], ids=["before the answer", "in the middle of the answer"])
async def test_a_client_that_goes_away_is_seen_upstream(tmp_path: Path, side: str, *, begun: bool) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def answer(exchange: Exchange) -> None:
        if begun:
            await exchange.begin()
            await exchange.send(b"data: 0\n\n")
        asked.set()
        await exchange.gone()
        gone.set()

    async with (
        _gateway(tmp_path, side, answer) as gate,
        client.connect(gate.front) as asker,
        asyncio.timeout(60),
    ):
        await asker.send_head("POST /events HTTP/1.1", (("content-length", "0"),))
        if begun:
            await asker.head()
        await asked.wait()
        asker.abort()
        await gone.wait()


@SIDES
async def test_websockets_pass(tmp_path: Path, side: str) -> None:
    async def echo(connection: websockets.ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)
        await connection.close()

    tls = _authority(tmp_path).server(NAME)
    # A server that prefers HTTP/2 must still be spoken to in HTTP/1.1, or the upgrade has no meaning.
    tls.set_alpn_protocols(["h2", "http/1.1"])
    async with websockets.serve(echo, "127.0.0.1", 0, ssl=tls if side == "remote" else None, max_size=None) as server:
        port = server.sockets[0].getsockname()[1]
        async with _gateway_to(tmp_path, side, port) as gate:
            async with websockets.connect(f"ws://{gate.front}/v1/realtime", max_size=None) as socket:
                echoed = []
                for message in ("hello", b"\x00\xff", "x" * MEGABYTE):
                    await socket.send(message)
                    echoed.append(await socket.recv())
                served_by = socket.response.headers["x-offload-served-by"]
            closed = socket.close_code

    assert echoed == ["hello", b"\x00\xff", "x" * MEGABYTE]
    assert (served_by, closed) == (side, 1000)


@SIDES
async def test_grpc_passes_with_its_streams_and_trailers(tmp_path: Path, side: str) -> None:
    async with (
        _grpc_server(tmp_path, tls=side == "remote") as port,
        _gateway_to(tmp_path, side, port) as gate,
        grpc.aio.insecure_channel(gate.front) as channel,
        asyncio.timeout(60),
    ):
        call = channel.unary_unary("/model/Unary")(b"hello")
        unary = await call
        served_by = dict(await call.initial_metadata())["x-offload-served-by"]
        trailers = dict(await call.trailing_metadata())
        stream = [piece async for piece in channel.unary_stream("/model/Stream")(b"hello")]
        both = await _talk(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary("/model/Refuse")(b"")

    assert (unary, served_by, trailers["x-trailer"]) == (b"hello", side, "at the end")
    assert stream == [b"hello"] * 10
    assert both == [b"0", b"1", b"2"]
    # A remote that is exhausted has failed; local is asked then, and here there is none.
    wanted = grpc.StatusCode.RESOURCE_EXHAUSTED if side == "local" else grpc.StatusCode.UNAVAILABLE
    assert refused.value.code() == wanted


async def test_grpc_overflows_by_its_own_statuses(tmp_path: Path) -> None:
    async with (
        _grpc_server(tmp_path, tls=False) as full,
        upstream("remote") as remote,
        gateway(
            builders.spec(remote=to(remote), overflow=Overflow(on_status=(429,))),
            tmp_path,
            local=[f"127.0.0.1:{full}"],
        ) as gate,
        grpc.aio.insecure_channel(gate.front) as channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError):
            await channel.unary_unary("/model/Refuse")(b"", timeout=10)

    assert remote.connections == 1


async def test_grpc_falls_back_to_local_too(tmp_path: Path) -> None:
    nobody = RemoteBackend(Scheme.HTTP, "127.0.0.1", free_port())
    async with (
        _grpc_server(tmp_path, tls=False) as port,
        gateway(builders.spec(remote=nobody), tmp_path, local=[f"127.0.0.1:{port}"], share=100) as gate,
        grpc.aio.insecure_channel(gate.front) as channel,
    ):
        call = channel.unary_unary("/model/Unary")(b"hello", timeout=10)
        answer, served_by = await call, dict(await call.initial_metadata())["x-offload-served-by"]

    assert (answer, served_by) == (b"hello", "local")


async def _talk(channel: grpc.aio.Channel) -> list[bytes]:
    """Say a word only when the one before has come back."""
    call, heard = channel.stream_stream("/model/Echo")(), []
    for word in (b"0", b"1", b"2"):
        await call.write(word)
        heard.append(await call.read())
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    return heard


@asynccontextmanager
async def _grpc_server(folder: Path, *, tls: bool) -> AsyncIterator[int]:
    async def unary(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        context.set_trailing_metadata((("x-trailer", "at the end"),))
        return request

    async def stream(request: bytes, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        for _ in range(10):
            yield request

    async def echo(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    async def refuse(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full")

    methods = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Stream": grpc.unary_stream_rpc_method_handler(stream),
        "Echo": grpc.stream_stream_rpc_method_handler(echo),
        "Refuse": grpc.unary_unary_rpc_method_handler(refuse),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("model", methods),))
    if tls:
        pair = _authority(folder).issue(NAME)
        credentials = grpc.ssl_server_credentials([(pair.key.read_bytes(), pair.cert.read_bytes())])
        port = server.add_secure_port("127.0.0.1:0", credentials)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(grace=None)


@asynccontextmanager
async def _gateway(folder: Path, side: str, answer: Answer) -> AsyncIterator[Gateway]:
    """Run a gateway that sends everything to a server on this side: plain if it is local, over TLS if it is remote."""
    tls = _authority(folder).server(NAME) if side == "remote" else None
    async with upstream(side, answer, tls=tls) as server, _gateway_to(folder, side, server.port) as gate:
        yield gate


@asynccontextmanager
async def _gateway_to(folder: Path, side: str, port: int) -> AsyncIterator[Gateway]:
    trust = RemoteTls(SecretKey("remote", "ca.crt"), NAME)
    there = RemoteBackend(Scheme.HTTPS, "127.0.0.1", port if side == "remote" else 9, tls=trust)
    local = [f"127.0.0.1:{port}"] if side == "local" else []
    async with gateway(builders.spec(remote=there), folder, local=local, share=100 * (side == "remote")) as gate:
        yield gate


def _authority(folder: Path) -> Authority:
    made = Authority(folder)
    (folder / "remote").mkdir()
    shutil.copy(made.cert, folder / "remote" / "ca.crt")
    return made
