"""The RTDS server: pushes runtime values to the gateways whenever they change (xDS, state of the world).

The values are the model's share, its cap, and the remotes whose budget is spent. A gateway opens one stream for its
model. If the stream breaks, it keeps the last values and reconnects.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NoReturn, Protocol

import grpc
import structlog

from beamlit_controller.controller.latest import Latest
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.envoy import budget, caps
from beamlit_controller.envoy.pending_streams import PendingStreams
from beamlit_controller.envoy.routes import SHARE_KEY
from beamlit_controller.envoy.rtds_access import Certificate, Tokens
from beamlit_controller.envoy.rtds_pb2 import DiscoveryRequest, DiscoveryResponse, Runtime
from beamlit_controller.envoy.throttled_log import LONGEST, ThrottledLog

log = structlog.stdlib.get_logger(__name__)

RUNTIME = "type.googleapis.com/envoy.service.runtime.v3.Runtime"
SERVICE = "envoy.service.runtime.v3.RuntimeDiscoveryService"

STOP_GRACE = 2.0
"""Seconds that streams have to end when the server stops."""

LONGEST_NAME = 63 + 1 + 253
"""Maximum length of `namespace/name`."""
MOST_STREAMS = 5_000
OPTIONS = (
    ("grpc.so_reuseport", 0),  # so that a second server fails to bind instead of sharing the port
    # Envoy lists all its extensions in its first message.
    ("grpc.max_receive_message_length", 512 * 1024),
    ("grpc.max_metadata_size", 8 * 1024),
    # A gateway needs one stream per connection.
    ("grpc.max_concurrent_streams", 16),
    # Gateways ping every 10 s, which grpc treats as an attack by default.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    # A gateway that vanished without closing the connection is not counted for longer than a minute.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


class Stream(Protocol):
    """The part of grpc's ServicerContext that is used here."""

    async def write(self, message: DiscoveryResponse) -> None:
        """Send a response."""

    async def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        """End the stream with an error, which is raised."""
        ...


@dataclass(frozen=True, slots=True)
class RuntimeValues:
    """What is in force at a gateway: the share in percent, and the limit of local requests in flight, if any.

    With `cap_only`, requests leave only because of that limit, and the percentage is the maximum fraction of them that
    may. `budget_spent` has the names of the remotes whose budget is spent.
    """

    percentage: int
    in_flight: Fraction | None = None
    cap_only: bool = False
    budget_spent: tuple[str, ...] = ()


@dataclass(slots=True)
class _Subscription:
    """One model: its values, None while they are unknown, and the streams subscribed to it."""

    values: Latest[RuntimeValues | None] = field(default_factory=lambda: Latest(None))
    streams: int = 0
    refusals: int = 0


class RtdsServer:
    """The current values of every model, served to the gateways that subscribe.

    A gateway subscribes to its model's `namespace/name` only. It gets the current values immediately, and the latest
    ones whenever they change. While a model's values are unknown, nothing is sent and the gateway keeps its last. With
    `tokens`, it has to present the token of its model.
    """

    def __init__(
        self, tokens: Tokens | None = None, *, waiting: PendingStreams[DiscoveryRequest] | None = None
    ) -> None:
        self._subscriptions: dict[str, _Subscription] = {}
        self._tokens = tokens
        self._waiting = PendingStreams[DiscoveryRequest]() if waiting is None else waiting
        self._throttled_log = ThrottledLog()

    def set(self, key: ModelKey, values: RuntimeValues | int) -> None:
        """Set the values of a model, or a share without a limit. No update is sent if they are unchanged."""
        wanted = RuntimeValues(values) if isinstance(values, int) else values
        if not 0 <= wanted.percentage <= caps.WHOLE:
            raise ValueError(f"{key}: expected a percentage from 0 to 100, got {wanted.percentage}")
        self._subscription(str(key)).values.set(wanted)

    def forget(self, key: ModelKey) -> None:
        """Forget a model's values. Gateways that still run keep the last ones."""
        self._subscription(str(key)).values.set(None)
        self._drop_unused(str(key))

    def connected(self, key: ModelKey) -> int:
        """Return the number of gateways subscribed to the model."""
        subscription = self._subscriptions.get(str(key))
        return subscription.streams if subscription else 0

    def refusals(self, key: ModelKey) -> int:
        """Return how many times a gateway rejected an update (xDS: NACK)."""
        subscription = self._subscriptions.get(str(key))
        return subscription.refusals if subscription else 0

    @asynccontextmanager
    async def serve(self, address: str, certificate: Certificate | None = None) -> AsyncIterator[str]:
        """Serve at `host:port` or `unix:/path`, and return the address; port 0 takes a free port. Raises OSError if it can't listen."""
        server = grpc.aio.server(options=OPTIONS, maximum_concurrent_rpcs=MOST_STREAMS)
        closing = asyncio.Event()
        server.add_generic_rpc_handlers((self._handler(closing),))
        try:
            port = _bind(server, address, certificate)
        except RuntimeError as error:
            raise OSError(f"the RTDS server can't listen at {address}: {error}") from error
        await server.start()
        try:
            yield address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"
        finally:
            # Streams end by themselves first: grpc prints a traceback for each that it has to cancel.
            closing.set()
            await server.stop(grace=STOP_GRACE)

    def _handler(self, closing: asyncio.Event) -> grpc.GenericRpcHandler:
        async def serve_one(requests: AsyncIterator[DiscoveryRequest], stream: Any) -> None:  # noqa: ANN401 - of grpc
            metadata = {str(key): str(value) for key, value in stream.invocation_metadata() or ()}
            await self._serve_one(requests, stream, closing, shown=metadata.get("authorization", ""))

        method = grpc.stream_stream_rpc_method_handler(
            serve_one,
            request_deserializer=DiscoveryRequest.FromString,
            response_serializer=DiscoveryResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"StreamRuntime": method})

    async def _serve_one(
        self, requests: AsyncIterator[DiscoveryRequest], stream: Stream, closing: asyncio.Event, *, shown: str
    ) -> None:
        """Serve one gateway until it disconnects or the server closes."""
        if self._tokens is not None and not self._tokens.is_any_token(shown):
            self._throttled_log.warn("gateway rejected: no token")
            await stream.abort(grpc.StatusCode.PERMISSION_DENIED, "expected the token of a model")
        subscription = await self._first(requests, stream)
        if subscription is None or not subscription.resource_names:
            return
        name, node = subscription.resource_names[0], subscription.node.id[:LONGEST]
        if len(name) > LONGEST_NAME or (self._tokens is not None and not self._tokens.accepts(name, shown)):
            self._throttled_log.warn("gateway rejected: not the token of this model", model=name, node=node)
            await stream.abort(grpc.StatusCode.PERMISSION_DENIED, "expected the token of this model")
        await self._serve_model(name, requests, stream, closing, node=node)

    async def _first(self, requests: AsyncIterator[DiscoveryRequest], stream: Stream) -> DiscoveryRequest | None:
        try:
            return await self._waiting.first(requests)
        except TimeoutError:
            self._throttled_log.warn("gateway rejected: no first message")
            await stream.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "expected the model's name in the first message")

    async def _serve_model(
        self,
        name: str,
        requests: AsyncIterator[DiscoveryRequest],
        stream: Stream,
        closing: asyncio.Event,
        *,
        node: str,
    ) -> None:
        subscription = self._subscription(name)
        subscription.streams += 1
        log.debug("gateway connected", model=name, node=node)
        try:
            await _first_of(
                _push(name, subscription, stream), self._listen(name, subscription, requests), closing.wait()
            )
        except* grpc.aio.InternalError:
            # The gateway had just disconnected. If it is still there, it subscribes again.
            log.debug("gateway disconnected before the update", model=name, node=node)
        finally:
            subscription.streams -= 1
            self._drop_unused(name)
            log.debug("gateway disconnected", model=name, node=node)

    async def _listen(self, name: str, subscription: _Subscription, requests: AsyncIterator[DiscoveryRequest]) -> None:
        """Read the stream, and record rejections, until the gateway disconnects."""
        async for answer in requests:
            if answer.HasField("error_detail"):
                subscription.refusals += 1
                self._throttled_log.warn("gateway rejected an update", model=name, message=answer.error_detail.message)

    def _subscription(self, name: str) -> _Subscription:
        return self._subscriptions.setdefault(name, _Subscription())

    def _drop_unused(self, name: str) -> None:
        subscription = self._subscriptions[name]
        if subscription.values.value is None and not subscription.streams:
            del self._subscriptions[name]


async def _push(name: str, subscription: _Subscription, stream: Stream) -> None:
    """Send the values whenever they differ from those sent last; a slow gateway gets the latest, not all of them."""
    sent: RuntimeValues | None = None
    version = 0
    while True:
        sent = await subscription.values.changed_from(sent)
        if sent is not None:
            version += 1
            await stream.write(_response(name, sent, version=str(version)))


async def _first_of(*work: Coroutine[Any, Any, Any]) -> None:
    """Run all of these concurrently until the first one is done."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(part) for part in work]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()


def _bind(server: Any, address: str, certificate: Certificate | None) -> int:  # noqa: ANN401 - of grpc
    if certificate is None:
        return int(server.add_insecure_port(address))
    return int(server.add_secure_port(address, certificate.credentials()))


def _response(name: str, values: RuntimeValues, *, version: str) -> DiscoveryResponse:
    response = DiscoveryResponse(version_info=version, type_url=RUNTIME, nonce=version)
    runtime = Runtime(name=name)
    # As Envoy's FractionalPercent; in any other format it would silently count as 0.
    runtime.layer.update(
        {key: {"numerator": part, "denominator": "MILLION"} for key, part in _numerators(values).items()}
    )
    response.resources.add(type_url=RUNTIME, value=runtime.SerializeToString())
    return response


def _numerators(values: RuntimeValues) -> dict[str, int]:
    """Return the value of each runtime key. Without a cap, the gateways keep the numerators that they started with."""
    budget_spent = {budget.key(name): budget.WHOLE for name in values.budget_spent}
    share = values.percentage * caps.PERCENT
    if values.in_flight is None and not values.cap_only:
        return {SHARE_KEY: share, **budget_spent}
    first, last = (0, share) if values.cap_only else (share, caps.WHOLE * caps.PERCENT)
    parts = caps.numerators(values.in_flight, first=first, last=last)
    return {SHARE_KEY: parts.pop(0), **{caps.key(number): part for number, part in parts.items()}, **budget_spent}
