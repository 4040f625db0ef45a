"""The RTDS server, spoken to as Envoy speaks to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from fractions import Fraction
from pathlib import Path

import grpc
import pytest
import structlog

from beamlit_controller.core.spec import ModelKey
from beamlit_controller.envoy import caps
from beamlit_controller.envoy.pending_streams import PendingStreams
from beamlit_controller.envoy.rtds import RUNTIME, RtdsServer, RuntimeValues
from beamlit_controller.envoy.rtds_access import Certificate, Tokens
from beamlit_controller.envoy.rtds_pb2 import DiscoveryRequest, DiscoveryResponse, Node, Refusal, Runtime
from fakes.tls import Authority
from waiting import eventually

LLAMA = ModelKey("models", "llama")
MISTRAL = ModelKey("models", "mistral")


class Gateway:
    """A gateway's stream."""

    def __init__(self, call: grpc.aio.StreamStreamCall, name: str) -> None:
        self._call = call
        self._name = name

    async def subscribe(self) -> None:
        asked = DiscoveryRequest(node=Node(id=f"{self._name}/gateway-0"), resource_names=[self._name], type_url=RUNTIME)
        # The server may have ended the stream already; what is read then says why.
        with suppress(grpc.aio.AioRpcError):
            await self._call.write(asked)

    async def hears(self) -> DiscoveryResponse:
        async with asyncio.timeout(60):
            return await self._call.read()

    async def share(self) -> dict[str, object]:
        """Return the layer that is told next, and accept it."""
        response = await self.hears()
        await self._answer(response)
        [resource] = response.resources
        runtime = Runtime.FromString(resource.value)
        assert (response.type_url, resource.type_url, runtime.name) == (RUNTIME, RUNTIME, self._name)
        return {key: dict(value) for key, value in runtime.layer.items()}

    async def refuses(self, message: str) -> None:
        await self._answer(await self.hears(), error_detail=Refusal(code=3, message=message))

    async def _answer(self, response: DiscoveryResponse, **refusal: object) -> None:
        await self._call.write(
            DiscoveryRequest(
                version_info=response.version_info,
                resource_names=[self._name],
                type_url=RUNTIME,
                response_nonce=response.nonce,
                **refusal,
            )
        )


async def test_tells_the_present_share_at_once_and_every_change_of_it() -> None:
    shares = RtdsServer()
    shares.set(LLAMA, 50)
    async with _served(shares) as address, _gateway(address) as gateway:
        told = [await gateway.share()]
        for percentage in (100, 0, 1):
            shares.set(LLAMA, percentage)
            told.append(await gateway.share())

    assert told == [_layer(500_000), _layer(1_000_000), _layer(0), _layer(10_000)]


async def test_a_cap_is_told_as_the_steps_around_it_and_no_cap_as_none_of_them() -> None:
    shares = RtdsServer()
    shares.set(LLAMA, RuntimeValues(50, Fraction(7, 2)))
    async with _served(shares) as address, _gateway(address) as gateway:
        shared = await gateway.share()
        shares.set(LLAMA, RuntimeValues(50, Fraction(7, 2), cap_only=True))
        bounded = await gateway.share()
        shares.set(LLAMA, RuntimeValues(50, None, cap_only=True))
        unlimited = await gateway.share()

    assert _on(shared) == {
        "offload.percentage": 500_000,
        "offload.in_flight.3": 750_000,
        "offload.in_flight.4": 1_000_000,
    }
    assert _on(bounded) == {"offload.in_flight.3": 250_000, "offload.in_flight.4": 500_000}
    assert _on(unlimited) == {}
    assert len(unlimited) == 1 + len(caps.LADDER)


def _on(layer: dict[str, object]) -> dict[str, int]:
    parts = {key: int(value["numerator"]) for key, value in layer.items() if isinstance(value, dict)}
    return {key: part for key, part in parts.items() if part}


TOKENS = Tokens(b"k" * 32)


@pytest.mark.parametrize(
    "token", ["", "Bearer ", f"Bearer {TOKENS.token_of(str(MISTRAL))}", TOKENS.token_of(str(LLAMA))]
)
async def test_who_does_not_show_the_models_token_is_turned_away(token: str) -> None:
    shares = RtdsServer(TOKENS)
    shares.set(LLAMA, 50)
    async with _served(shares) as address:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            async with _gateway(address, token=token) as gateway:
                await gateway.hears()

    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert shares.connected(LLAMA) == 0


async def test_without_a_token_a_stream_ends_before_it_has_said_anything() -> None:
    async with _served(RtdsServer(TOKENS)) as address, grpc.aio.insecure_channel(address) as channel:
        for token in (
            "",
            "Bearer x",
            f"bearer {TOKENS.token_of(str(LLAMA))}",
            f"Bearer {TOKENS.token_of(str(LLAMA))} ",
        ):
            assert await _code(_call(channel, token)) is grpc.StatusCode.PERMISSION_DENIED


async def test_who_says_nothing_is_turned_away_after_a_while() -> None:
    shares = RtdsServer(TOKENS, waiting=PendingStreams(timeout=0.2))
    async with _served(shares) as address, grpc.aio.insecure_channel(address) as channel:
        assert await _code(_call(channel, f"Bearer {'0' * 64}")) is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_strangers_who_say_nothing_are_few_and_keep_no_gateway_out() -> None:
    """Streams without a first message were kept for ever: 20,000 of them took 351 MiB."""
    waiting = PendingStreams[DiscoveryRequest](timeout=60, most=10)
    shares = RtdsServer(TOKENS, waiting=waiting)
    shares.set(LLAMA, 50)
    own = (("grpc.use_local_subchannel_pool", 1),)
    async with _served(shares) as address, AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(grpc.aio.insecure_channel(address, options=own)) for _ in range(4)]
        strangers = [_call(channel, f"Bearer {'0' * 64}") for channel in channels for _ in range(10)]
        ends = [asyncio.ensure_future(stranger.code()) for stranger in strangers]
        await eventually(lambda: sum(each.done() for each in ends) >= 30)

        assert len(waiting) == 10
        async with _gateway(address, token=f"Bearer {TOKENS.token_of(str(LLAMA))}") as gateway:
            assert await gateway.share() == _layer(500_000)
        for each in (*strangers, *ends):
            each.cancel()


async def test_a_long_name_of_a_stranger_is_logged_in_part_and_once() -> None:
    async with _served(RtdsServer(TOKENS)) as address, grpc.aio.insecure_channel(address) as channel:
        with structlog.testing.capture_logs() as logs:
            for _ in range(20):
                call = _call(channel, f"Bearer {'0' * 64}")
                await call.write(DiscoveryRequest(resource_names=["m" * 100_000], node=Node(id="X" * 100_000)))
                assert await _code(call) is grpc.StatusCode.PERMISSION_DENIED

    [line] = [each for each in logs if each["log_level"] == "warning"]
    assert len(str(line)) < 500


async def _code(call: grpc.aio.StreamStreamCall) -> grpc.StatusCode:
    async with asyncio.timeout(60):
        return await call.code()


async def test_over_tls_the_server_shows_its_certificate_and_hears_the_token(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    pair = authority.issue("localhost")
    shares = RtdsServer(TOKENS)
    shares.set(LLAMA, 50)
    async with shares.serve("localhost:0", Certificate(pair.cert, pair.key)) as address:
        credentials = grpc.ssl_channel_credentials(authority.cert.read_bytes())
        token = f"Bearer {TOKENS.token_of(str(LLAMA))}"
        async with (
            grpc.aio.secure_channel(address, credentials) as channel,
            _gateway(address, channel=channel, token=token) as gateway,
        ):
            assert await gateway.share() == _layer(500_000)


def test_a_models_token_is_its_own_and_the_same_in_every_replica() -> None:
    assert Tokens(b"k" * 32).token_of("models/llama") == TOKENS.token_of("models/llama")
    assert TOKENS.token_of("models/llama") != TOKENS.token_of("models/mistral")
    assert Tokens(b"other" * 8).token_of("models/llama") != TOKENS.token_of("models/llama")


async def test_an_equal_share_is_no_news_and_a_late_reader_sees_the_newest() -> None:
    shares = RtdsServer()
    shares.set(LLAMA, 50)
    async with _served(shares) as address, _gateway(address) as gateway:
        await gateway.share()
        shares.set(LLAMA, 50)
        for percentage in range(60, 80):
            shares.set(LLAMA, percentage)
        told = await gateway.share()

    assert told == _layer(790_000)


async def test_says_nothing_of_a_model_whose_share_it_does_not_know() -> None:
    shares = RtdsServer()
    shares.set(MISTRAL, 10)
    async with _served(shares) as address, _gateway(address) as gateway, _gateway(address, MISTRAL) as other:
        hearing = asyncio.create_task(gateway.share())
        assert await other.share() == _layer(100_000)
        await eventually(lambda: shares.connected(LLAMA))
        assert not hearing.done()
        shares.set(LLAMA, 70)
        told = await hearing

    assert told == _layer(700_000)


async def test_a_gateway_hears_of_no_other_model() -> None:
    shares = RtdsServer()
    async with _served(shares) as address, _gateway(address) as gateway, _gateway(address, MISTRAL) as other:
        for percentage in (10, 20):
            shares.set(MISTRAL, percentage)
            assert await other.share() == _layer(percentage * 10_000)
        shares.set(LLAMA, 30)
        told = await gateway.share()

    assert told == _layer(300_000)


async def test_a_model_that_was_forgotten_is_told_of_again_when_it_is_known_again() -> None:
    shares = RtdsServer()
    shares.set(LLAMA, 50)
    async with _served(shares) as address, _gateway(address) as gateway:
        await gateway.share()
        shares.forget(LLAMA)
        shares.set(MISTRAL, 5)
        async with _gateway(address, MISTRAL) as other:
            await other.share()
        shares.set(LLAMA, 60)
        told = await gateway.share()

    assert told == _layer(600_000)


async def test_a_gateway_that_comes_back_hears_the_present_share_at_once(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/shares.sock"
    shares, restarted = RtdsServer(), RtdsServer()
    shares.set(LLAMA, 50)
    restarted.set(LLAMA, 25)
    async with shares.serve(address), _gateway(address) as gateway:
        first = await gateway.share()
    async with restarted.serve(address), _gateway(address) as gateway:
        second = await gateway.share()

    assert [first, second] == [_layer(500_000), _layer(250_000)]


async def test_counts_who_listens_and_who_refused() -> None:
    shares = RtdsServer()
    shares.set(LLAMA, 50)
    async with _served(shares) as address:
        assert (shares.connected(LLAMA), shares.refusals(LLAMA)) == (0, 0)
        async with _gateway(address) as gateway, _gateway(address) as second:
            await gateway.refuses("no such key")
            await second.share()
            await eventually(lambda: shares.refusals(LLAMA) == 1)
            assert (shares.connected(LLAMA), shares.connected(MISTRAL)) == (2, 0)
            # A refusal ends nothing: the next share is told as ever.
            shares.set(LLAMA, 60)
            assert await gateway.share() == _layer(600_000)
        await eventually(lambda: shares.connected(LLAMA) == 0)


async def test_serves_many_gateways_of_many_models() -> None:
    shares = RtdsServer()
    keys = [ModelKey("models", f"model-{index}") for index in range(300)]
    async with _served(shares) as address, asyncio.timeout(60), AsyncExitStack() as stack:
        gateways = [await stack.enter_async_context(_gateway(address, key)) for key in keys]
        for round_ in (1, 2, 3):
            for index, key in enumerate(keys):
                shares.set(key, (index + round_) % 100)
            told = await asyncio.gather(*(gateway.share() for gateway in gateways))
            assert told == [_layer((index + round_) % 100 * 10_000) for index in range(len(keys))]


@pytest.mark.parametrize("percentage", [-1, 101])
def test_refuses_what_is_no_percentage(percentage: int) -> None:
    with pytest.raises(ValueError, match=r"models/llama: expected a percentage from 0 to 100"):
        RtdsServer().set(LLAMA, percentage)


async def test_a_stream_that_asks_for_nothing_is_ended() -> None:
    async with _served(RtdsServer()) as address, grpc.aio.insecure_channel(address) as channel:
        call = _call(channel, "")
        await call.write(DiscoveryRequest(node=Node(id="nobody"), type_url=RUNTIME))

        assert await call.read() is grpc.aio.EOF


async def test_says_so_when_it_cannot_listen() -> None:
    async with _served(RtdsServer()) as address:
        with pytest.raises(OSError, match=f"can't listen at {address}"):
            async with RtdsServer().serve(address):
                pass


def _layer(numerator: int) -> dict[str, object]:
    return {"offload.percentage": {"numerator": numerator, "denominator": "MILLION"}}


def _served(shares: RtdsServer) -> object:
    return shares.serve("127.0.0.1:0")


@asynccontextmanager
async def _gateway(
    address: str, key: ModelKey = LLAMA, *, channel: grpc.aio.Channel | None = None, token: str = ""
) -> AsyncIterator[Gateway]:
    # A connection of its own, as a process of its own has: grpc would share one.
    own = grpc.aio.insecure_channel(address, options=(("grpc.use_local_subchannel_pool", 1),))
    async with own:
        gateway = Gateway(_call(channel or own, token), str(key))
        await gateway.subscribe()
        yield gateway


def _call(channel: grpc.aio.Channel, token: str) -> grpc.aio.StreamStreamCall:
    return channel.stream_stream(
        "/envoy.service.runtime.v3.RuntimeDiscoveryService/StreamRuntime",
        request_serializer=DiscoveryRequest.SerializeToString,
        response_deserializer=DiscoveryResponse.FromString,
    )(metadata=[("authorization", token)] if token else [])
