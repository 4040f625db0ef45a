"""Bounds the connections to the web endpoints: their number, and how long a request may take to arrive.

By default uvicorn waits forever, so that idle clients could use up all file descriptors.
"""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial

from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

MOST = 100
"""Maximum number of connections. The controller needs file descriptors for other purposes, and may have only 256."""
REQUEST_TIMEOUT = 10.0
"""Seconds from the first byte of a connection or request to the end of its headers."""


def bounded(config: Config, *, request_timeout: float) -> None:
    """Close connections of this server if no request arrives on them in time, or if there are too many."""
    config.load()
    made: Callable[..., asyncio.Protocol] = partial(_Connection, request_timeout=request_timeout)
    config.http_protocol_class = made  # type: ignore[assignment] # uvicorn only calls it


class _Connection(H11Protocol):
    """A connection of uvicorn's; by default it waits forever for the first request."""

    def __init__(
        self, config: Config, server_state: ServerState, *args: object, request_timeout: float, **options: object
    ) -> None:
        super().__init__(config, server_state, *args, **options)  # type: ignore[arg-type] # uvicorn's own
        self._request_timeout = request_timeout
        self.waits_since = 0.0

    @property
    def is_waiting(self) -> bool:
        """Return whether no request is in progress."""
        return getattr(self.cycle, "response_complete", True)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self._expect_a_request()
        _make_room(each for each in self.connections if isinstance(each, _Connection) and each is not self)

    def data_received(self, data: bytes) -> None:
        if self.timeout_keep_alive_task is not None:
            self._expect_a_request()
        super().data_received(data)

    def _expect_a_request(self) -> None:
        self.waits_since = self.loop.time()
        self.loop.call_later(self._request_timeout, self._end_if_late, self.waits_since)

    def _end_if_late(self, since: float) -> None:
        if since == self.waits_since and self.is_waiting and self.timeout_keep_alive_task is None:
            self.transport.close()


def _make_room(others: Iterable[_Connection]) -> None:
    """If there are too many connections, close the one that has waited longest for a request, else that with the oldest request."""
    present = [each for each in others if not each.transport.is_closing()]
    if len(present) >= MOST:
        # Abort: a mere close would wait for the client to read what was sent.
        min(present, key=lambda each: (not each.is_waiting, each.waits_since)).transport.abort()
