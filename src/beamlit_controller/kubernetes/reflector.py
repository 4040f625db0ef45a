"""A local copy of one collection, kept up to date by list and watch, like client-go's Reflector.

Errors are retried with backoff. A stream that ends, or whose connection breaks after an event, is resumed from the last
version; after any other error the collection is listed again. An error never empties the copy: the old items stay until
a new list is complete, and items that the new list lacks are then reported as deleted.

An object that can't be parsed is skipped, counted and logged once. By default its last parsed state is dropped, because
it is known to be outdated; `keep_last` keeps it.

If the API server refuses the watch (403, 404), that is logged once, and it is retried like any other error.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from math import inf
from types import MappingProxyType
from typing import Generic, TypeVar

import structlog

from beamlit_controller.controller.latest import Latest
from beamlit_controller.kubernetes import fields, watch_events
from beamlit_controller.kubernetes.api_server import ApiError, Json
from beamlit_controller.kubernetes.list_chunks import EXPIRED, GONE, Chunks, Collection, ExpiredError, Server, as_error
from beamlit_controller.kubernetes.skipped_objects import Skip, Skips
from beamlit_controller.kubernetes.watch_events import MalformedError, NamespacedName

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")
SILENCE = 75.0
"""Bookmarks come every minute, so a watch that is silent for longer is dead, even if the TCP connection is open."""
WATCH_SECONDS = 300
RELIST_SECONDS = 600.0
FIRST_WAIT, LONGEST_WAIT = 1.0, 10.0
REFUSED = frozenset({403, 404})
"""Forbidden; Not Found is the answer if the kind does not exist."""


class SilentError(Exception):
    """A watch sent nothing for too long."""


class Reflector(Generic[T]):
    """Keeps `items`, each parsed by `keep`; `changed` is called with each change, and None for a deletion."""

    def __init__(
        self,
        server: Server,
        collection: Collection,
        *,
        keep: Callable[[Json], T],
        changed: Callable[[NamespacedName, T | None], None] = lambda _place, _item: None,
        silence: float = SILENCE,
        skips: Skips | None = None,
        progress: Callable[[], None] = lambda: None,
    ) -> None:
        """`progress` is called when the first list is complete, and when `refused` changes."""
        self.skips = skips or Skips()
        self._progress = progress
        self._refused = ""
        self._silence = silence
        self.changes: Latest[int] = Latest(0)
        self._server = server
        self._collection = collection
        self._keep = keep
        self._changed = changed
        self._items: dict[NamespacedName, T] = {}
        self._version = ""
        self._chunks = Chunks(server, collection, heard=self._listen)
        self._synced: Latest[bool] = Latest(value=False)
        self._heard = float("-inf")
        self._worked = False

    @property
    def items(self) -> Mapping[NamespacedName, T]:
        """The current items, read-only."""
        return MappingProxyType(self._items)

    @property
    def synced(self) -> bool:
        """Whether the first list is complete."""
        return self._synced.value

    @property
    def refused(self) -> str:
        """Why the API server refuses the watch; "" if it does not."""
        return self._refused

    async def wait_synced(self) -> None:
        """Wait until the first list is complete."""
        await self._synced.changed_from(seen=False)

    def age(self) -> float:
        """Return the seconds since the last response or event."""
        return asyncio.get_running_loop().time() - self._heard

    def replay(self) -> None:
        """Call `changed` with every item."""
        for namespaced_name, item in tuple(self._items.items()):
            self._put(namespaced_name, item)

    async def run(self) -> None:
        """List and watch until cancelled."""
        wait = FIRST_WAIT
        while True:
            self._worked = False
            try:
                await self._list()
                await self._follow()
                wait = FIRST_WAIT
                continue
            except (ExpiredError, SilentError) as error:
                log.info("watch restarted", path=self._collection.path, why=str(error))
                failure = None
            except Exception as error:  # noqa: BLE001 - whatever breaks one watch, the others go on
                failure = error
            # A list alone proves nothing, nor does an event: if each watch breaks soon, everything would be listed every second.
            wait = FIRST_WAIT if self._worked else min(wait * 2, LONGEST_WAIT)
            await self._pause(failure, wait)

    async def _pause(self, failure: Exception | None, wait: float) -> None:
        if failure is None:
            await asyncio.sleep(_spread(wait))
            return
        retry_after = getattr(failure, "retry_after", None) or 0.0
        said = str(failure) or type(failure).__name__
        if isinstance(failure, ApiError) and failure.code in REFUSED:
            self._listen()
            self._set_refused(said)
        else:
            self._set_refused("")
            log.warning("watch broken", path=self._collection.path, error=said, again_in_seconds=max(wait, retry_after))
        await asyncio.sleep(max(_spread(wait), retry_after))

    def _set_refused(self, why: str) -> None:
        before, self._refused = self._refused, why
        if bool(before) == bool(why):
            return
        if why:
            log.warning("watch refused", path=self._collection.path, error=why)
        else:
            log.info("watch no longer refused", path=self._collection.path)
        self._progress()

    # Listing.

    async def _list(self) -> None:
        """Get a complete list in chunks, and then replace the items."""
        kept: dict[NamespacedName, T | None] = {}
        following: str | None = ""
        while following is not None:
            self._version, following = self._take_chunk(await self._chunks.get(following), kept)
        self._replace(kept)
        if not self.synced:
            self._synced.set(True)
            self._progress()

    def _take_chunk(self, answer: Json, kept: dict[NamespacedName, T | None]) -> tuple[str, str | None]:
        """Parse a chunk, so that its JSON can be freed; return the version and the continue token."""
        for each in watch_events.items(answer):
            read = self._read(each)
            if read is not None:
                kept[read[0]] = read[1]
        version = watch_events.version(answer)
        if not version:
            raise MalformedError("expected a list with a resourceVersion")
        return version, watch_events.following(answer) or None

    def _replace(self, kept: Mapping[NamespacedName, T | None]) -> None:
        for namespaced_name in [each for each in self._items if kept.get(each) is None]:
            self._put(namespaced_name, None)
        for namespaced_name, item in kept.items():
            if item is not None and self._items.get(namespaced_name) != item:
                self._put(namespaced_name, item)

    # Watching.

    async def _follow(self) -> None:
        """Watch from the last version on, one stream after another, until the next relist."""
        clock = asyncio.get_running_loop()
        until = clock.time() + _spread(RELIST_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                while True:
                    began = clock.time()
                    await self._watch()
                    if clock.time() - began < FIRST_WAIT:
                        # If the server ends every stream immediately, reconnect once a second.
                        await asyncio.sleep(_spread(FIRST_WAIT))

    async def _watch(self) -> None:
        query = [
            *self._collection.query,
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", self._version),
            ("timeoutSeconds", str(round(_spread(WATCH_SECONDS)))),
        ]
        path, only = self._collection.path, self._collection.metadata_only
        clock, opened, before = asyncio.get_running_loop(), inf, self._version
        try:
            async with self._server.stream(path, query, silence=self._silence, metadata_only=only) as lines:
                opened = clock.time()
                self._listen()
                self._set_refused("")
                await self._take_all(lines)
        except ApiError as error:
            if error.code == GONE:
                raise ExpiredError(EXPIRED) from error
            if opened < inf and error.reason == "Timeout":
                raise SilentError("it sent nothing for too long") from error
            if error.reason != "ConnectionFailed" or self._version == before:
                raise
            log.info("watch resumed", path=path, why=str(error))
        finally:
            self._worked = self._worked or clock.time() - opened >= LONGEST_WAIT

    async def _take_all(self, lines: AsyncIterator[str]) -> None:
        understood = [self._take(line) async for line in lines]
        if understood and not any(understood):
            raise MalformedError("expected watch events, got none in the response")

    def _take(self, line: str) -> bool:
        """Handle one event; False if it is not an event. An object that can't be parsed is skipped."""
        self._listen()
        event = watch_events.event(line)
        if event is None:
            self.skips.add(self._collection.kind, Skip.UNDECODABLE, why=line[:_SHOWN])
            return False
        kind, content = event
        if kind == "ERROR":
            raise as_error(content)
        # The next stream resumes after this event, even if its object can't be parsed.
        self._version = watch_events.version(content) or self._version
        if kind in {"ADDED", "MODIFIED"}:
            self._put_read(self._read(content))
        elif kind == "DELETED":
            self._put_read(
                (namespaced_name, None) if (namespaced_name := watch_events.namespaced_name(content)) else None
            )
        return True

    def _listen(self) -> None:
        self._heard = asyncio.get_running_loop().time()

    # Keeping.

    def _read(self, given: object) -> tuple[NamespacedName, T | None] | None:
        """Parse an object: its namespace and name, and the parsed item, if any. None if it can't be identified."""
        content = fields.mapping(given)
        namespaced_name = watch_events.namespaced_name(content)
        if namespaced_name is None:
            self.skips.add(self._collection.kind, Skip.UNNAMED, version=watch_events.version(content))
            return None
        try:
            return namespaced_name, self._keep(content)
        except Exception as error:  # noqa: BLE001 - whatever an object makes its parser do, it costs that object alone
            self._skip(Skip.UNREADABLE, namespaced_name, watch_events.version(content), error)
            return namespaced_name, self._items.get(namespaced_name) if self._collection.keep_last else None

    def _put_read(self, read: tuple[NamespacedName, T | None] | None) -> None:
        if read is not None:
            self._put(*read)

    def _put(self, namespaced_name: NamespacedName, item: T | None) -> None:
        before = self._items.pop(namespaced_name, None)
        if item is not None:
            self._items[namespaced_name] = item
        try:
            self._changed(namespaced_name, item)
        except Exception as error:  # noqa: BLE001 - the same: who is told of an object may fail over that object
            self._skip(Skip.REFUSED, namespaced_name, "", error)
            self._fall_back(namespaced_name, before if self._collection.keep_last else None)
        self.changes.set(self.changes.value + 1)

    def _fall_back(self, namespaced_name: NamespacedName, item: T | None) -> None:
        """Drop an object that can't be parsed, or keep its last state."""
        self._items.pop(namespaced_name, None)
        if item is not None:
            self._items[namespaced_name] = item
        with suppress(Exception):
            self._changed(namespaced_name, item)

    def _skip(self, reason: Skip, namespaced_name: NamespacedName, version: str, error: Exception) -> None:
        self.skips.add(self._collection.kind, reason, namespaced_name=namespaced_name, version=version, why=repr(error))


def _spread(seconds: float) -> float:
    """Add jitter, so that replicas and watches do not relist at the same time."""
    return seconds * (0.8 + 0.4 * random.random())  # noqa: S311 - jitter, not security


_SHOWN = 200
