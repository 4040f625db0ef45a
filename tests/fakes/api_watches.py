"""Watches of the fake API server: events, bookmarks, the end of a stream, and all ways to break."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

import httpx2

from fakes import api_kinds, api_lists, api_selectors
from fakes.api_faults import Act
from fakes.api_kinds import Address, Json
from fakes.api_requests import Asked
from fakes.api_selectors import Test

if TYPE_CHECKING:
    from fakes.api_server import FakeApiServer

BOOKMARKS: Final = 60.0
LASTS: Final = 1800.0
OF_EVENTS: Final = {Act.DELAY, Act.DOUBLE, Act.DROP}
SOON: Final = 0.001
"""A virtual clock is rounded: what is due is looked for a moment later, never a moment too early."""


@dataclass(slots=True)
class Watched:
    """An open watch. One that is `stalled` says nothing more, and one that is `torn` breaks."""

    asked: Asked
    torn: bool = False
    stalled: bool = False

    def matches(self, path: str, client: str = "*") -> bool:
        """Return whether it is of a path and a client, both patterns."""
        return fnmatchcase(self.asked.path, path) and fnmatchcase(self.asked.client, client)


@dataclass(slots=True)
class _Watch:
    server: "FakeApiServer"
    watched: Watched
    at: Address
    test: Test
    version: int
    silence: float
    ends: float
    marked: float

    def due(self) -> list[bytes]:
        """Return the lines to send now."""
        now, server, asked = _now(), self.server, self.watched.asked
        if self.watched.stalled:
            return []
        lines: list[bytes] = []
        lag = _lag(server, asked)
        for change in server.store.since(self.version):
            if change.at + lag > now:
                return lines
            self.version = change.version
            told = api_lists.told(change, self.at, self.test)
            lines += [self.line(*told)] if told else []
        if now >= self.marked + BOOKMARKS and asked.query.get("allowWatchBookmarks") == "true":
            self.marked = now
            lines.append(api_lists.bookmark(self.at, self.version))
        return lines

    def line(self, kind: str, content: Json) -> bytes:
        """Write an event, with as much of the object as is asked for."""
        return api_lists.line(kind, api_lists.partial(content) if self.watched.asked.partial else content)

    def until(self) -> float:
        """Return when to look again, whatever happens."""
        lag = _lag(self.server, self.watched.asked)
        late = [change.at + lag for change in self.server.store.since(self.version)]
        return min([self.ends, self.marked + BOOKMARKS, *late[:1]])


async def opened(server: "FakeApiServer", asked: Asked, silence: float) -> AsyncGenerator[bytes]:
    """Open a watch. Raises RefusedError or an httpx2 error where that fails."""
    server.reach(asked)
    rule = server.faults.for_(asked)
    if rule is not None and rule.act not in OF_EVENTS:
        server.faults.take(asked)
        if rule.act is Act.REFUSE and rule.error:
            raise rule.error
        if rule.act is not Act.HANG:
            raise httpx2.ReadError("connection reset by peer")
        await asyncio.sleep(silence)
        raise httpx2.ReadTimeout("no answer")
    return _lines(_watch(server, asked, silence))


def _watch(server: "FakeApiServer", asked: Asked, silence: float) -> _Watch:
    at, test = api_kinds.address(asked.path), api_selectors.selecting(asked.query)
    lasts = float(asked.query.get("timeoutSeconds") or LASTS)
    version = int(asked.query.get("resourceVersion") or 0)
    return _Watch(server, Watched(asked), at, test, version, silence, _now() + lasts, _now())


async def _lines(watch: _Watch) -> AsyncGenerator[bytes]:
    server, began = watch.server, watch.version
    server.watched.append(watch.watched)
    try:
        if not began:
            for content in server.store.of(watch.at.kind.resource, watch.at.namespace):
                if watch.test(content):
                    yield watch.line("ADDED", content)
            watch.version = server.store.version
        heard = _now()
        while _now() < watch.ends:
            if watch.version < server.store.oldest:
                # What was told up to now is all: the client has to list anew.
                said = f"too old resource version: {watch.version} ({server.store.oldest})"
                yield api_lists.line("ERROR", api_lists.expired(said).status())
                return
            for line in watch.due():
                heard = _now()
                told = server.faults.told(watch.watched.asked, line)
                if told is None:
                    raise httpx2.ReadError("connection reset by peer")
                for each in told:
                    yield each
            await _change(watch, heard)
    finally:
        server.watched.remove(watch.watched)


async def _change(watch: _Watch, heard: float) -> None:
    """Wait until there may be something to tell. Raises an httpx2 error where the connection breaks."""
    server, silent = watch.server, heard + watch.silence
    if watch.watched.torn or server.down or watch.watched.asked.client in server.cut_off:
        raise httpx2.ReadError("connection reset by peer")
    seen = server.store.changes.value
    until = silent if watch.watched.stalled else min(watch.until(), silent)
    try:
        async with asyncio.timeout_at(until + SOON):
            await server.store.changes.changed_from(seen)
    except TimeoutError:
        if _now() >= silent:
            raise httpx2.ReadTimeout("nothing came") from None


def _lag(server: "FakeApiServer", asked: Asked) -> float:
    rule = server.faults.for_(asked)
    return rule.seconds if rule is not None and rule.act is Act.DELAY else 0.0


def _now() -> float:
    return asyncio.get_running_loop().time()
