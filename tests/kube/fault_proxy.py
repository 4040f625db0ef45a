"""Who stands between the controller and the API server: kills it right after a chosen write, and breaks watches off."""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

UNCOUNTED = re.compile(r"/leases|/events|/status\b")
"""Writes that only tell something."""
LINE = 8 * 1024 * 1024


class FaultProxy:
    """Passes on requests to the API server, one per connection, in HTTP/1.0: bodies then end with the connection.

    `writes` are those to one namespace: what other tests left behind is not counted. While it is `losing`, watches break off
    instead of every fifth event.
    """

    def __init__(self, server: str, trust: ssl.SSLContext, namespace: str) -> None:
        self.writes: list[str] = []
        self.losing = False
        self.kill: Callable[[], None] = lambda: None
        self.struck = asyncio.Event()
        self._server = server
        self._trust = trust
        self._ours = f"/namespaces/{namespace}/"
        self._strike: str | None = None
        self._striking = False
        self._lines = 0
        self._open: dict[asyncio.StreamWriter, asyncio.Future[None]] = {}

    def strike(self, path: str) -> None:
        """Kill the controller right after its next write whose path ends so, before it has the answer."""
        self.writes.clear()
        self.struck.clear()
        self._strike, self._striking = path, False

    async def spare(self) -> bool:
        """Kill it no more; tell whether it was killed. A write that is on its way is waited for: it kills yet."""
        self._strike = None
        if self._striking:
            await self.struck.wait()
        return self.struck.is_set()

    @asynccontextmanager
    async def standing(self, listener: socket.socket) -> AsyncIterator[None]:
        """Listen until the block ends."""
        server = await asyncio.start_server(self._connected, sock=listener, limit=LINE)
        try:
            yield
        finally:
            server.close()
            for writer, task in tuple(self._open.items()):
                task.cancel()
                writer.transport.abort()
            await asyncio.gather(*self._open.values(), return_exceptions=True)
            await asyncio.sleep(0)  # for the transports' own last steps

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._open[writer] = task
        task.add_done_callback(lambda _: self._open.pop(writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._one(reader, writer)
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search(r"(?im)^content-length: (\d+)", head)
            body = await reader.readexactly(int(length[1])) if length else b""
            await self._pass(head, body, writer)
            writer.close()
            await writer.wait_closed()

    async def _pass(self, head: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        line, _, rest = head.partition("\r\n")
        method, path, _ = line.split(" ")
        strike = self._noted(method, path)
        host, _, port = self._server.rpartition(":")
        there, back = await asyncio.open_connection(host, int(port), ssl=self._trust, limit=LINE)
        try:
            kept = "".join(
                f"{each}\r\n" for each in rest.split("\r\n") if each and not each.lower().startswith("connection:")
            )
            back.write(f"{method} {path} HTTP/1.0\r\n{kept}\r\n".encode() + body)
            if "watch=" in path:
                await self._watch(there, writer)
                return
            answer = await there.read()
            if not strike:
                writer.write(answer)
                await writer.drain()
        finally:
            back.transport.abort()
            if strike:
                self._hit()

    def _noted(self, method: str, path: str) -> bool:
        """Note a write; tell whether the controller is to be killed after it."""
        if method == "GET" or UNCOUNTED.search(path) or self._ours not in path:
            return False
        place = path.partition("?")[0]
        self.writes.append(f"{method} {place}")
        if self._strike is None or not place.endswith(self._strike):
            return False
        self._striking = True
        return True

    def _hit(self) -> None:
        self._strike = None
        self.kill()
        self.struck.set()

    async def _watch(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await there.readline():
            event = line.startswith(b"{")
            self._lines += event
            if event and self.losing and self._lines % 5 == 0:
                writer.transport.abort()
                return
            writer.write(line)
            await writer.drain()
