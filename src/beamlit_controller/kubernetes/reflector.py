"""A present copy of one collection: listed, then watched, for ever.

What breaks is begun again: a stream that ends or is torn goes on from the last version seen, one whose version has
expired is listed anew, and errors are waited out, ever longer. A copy is never emptied by an error: the old items stay
until a new list is complete, and what that does not have is then told as gone.
"""

import asyncio
import json
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar

import structlog

from beamlit_controller.controller.latest import Latest
from beamlit_controller.kubernetes.api_server import ApiError, Json, Query

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")
Place = tuple[str, str]
"""Namespace (empty for what has none) and name."""

CHUNK = 500
SILENCE = 75.0
"""Bookmarks come every minute: a watch that says nothing for longer is dead, whatever TCP thinks."""
WATCH_SECONDS = 300
RELIST_SECONDS = 600.0
FIRST_WAIT, LONGEST_WAIT = 1.0, 10.0
GONE = 410


class Server(Protocol):
    """What is asked of the API server."""

    async def get(self, path: str, query: Query = ()) -> Json:
        """Get a list."""
        ...

    def stream(self, path: str, query: Query, *, silence: float) -> Any:  # noqa: ANN401 - an async context of lines
        """Open a watch."""
        ...


@dataclass(frozen=True, slots=True)
class Collection:
    """What is watched: a path such as `/api/v1/pods`, and selectors."""

    path: str
    query: Query = ()


class ExpiredError(Exception):
    """The version to go on from is not known any more."""


class MalformedError(Exception):
    """The server said something that is no event."""


class Reflector(Generic[T]):
    """Keeps `items`, each as `keep` made it; `changed` is told every change, with None for what went."""

    def __init__(
        self,
        server: Server,
        collection: Collection,
        *,
        keep: Callable[[Json], T],
        changed: Callable[[Place, T | None], None] = lambda _place, _item: None,
        silence: float = SILENCE,
    ) -> None:
        self._silence = silence
        self.changes: Latest[int] = Latest(0)
        self._server = server
        self._collection = collection
        self._keep = keep
        self._changed = changed
        self._items: dict[Place, T] = {}
        self._version = ""
        self._synced: Latest[bool] = Latest(value=False)
        self._heard = float("-inf")

    @property
    def items(self) -> Mapping[Place, T]:
        """The present items, read-only."""
        return MappingProxyType(self._items)

    @property
    def synced(self) -> bool:
        """Whether a first list is complete."""
        return self._synced.value

    async def wait_synced(self) -> None:
        """Wait until a first list is complete."""
        await self._synced.other_than(seen=False)

    def age(self) -> float:
        """Give the seconds since the server last gave a sign of life."""
        return asyncio.get_running_loop().time() - self._heard

    async def run(self) -> None:
        """List and watch until cancelled."""
        wait = FIRST_WAIT
        while True:
            heard = self._heard
            try:
                await self._list()
                await self._follow()
                wait = FIRST_WAIT
                continue
            except ExpiredError:
                log.debug("watch expired", path=self._collection.path)
                failure = None
            except (ApiError, MalformedError) as error:
                failure = error
            # Something was heard in between: this is a new trouble, not the old one going on.
            wait = FIRST_WAIT if self._heard > heard else min(wait * 2, LONGEST_WAIT)
            await self._pause(failure, wait)

    async def _pause(self, failure: Exception | None, wait: float) -> None:
        if failure is None:
            # A version that has expired is nobody's trouble, but never a reason to ask without end.
            await asyncio.sleep(_spread(FIRST_WAIT))
            return
        asked = getattr(failure, "retry_after", None) or 0.0
        log.warning("watch broken", path=self._collection.path, error=str(failure), again_in_seconds=max(wait, asked))
        await asyncio.sleep(max(_spread(wait), asked))

    # Listing.

    async def _list(self) -> None:
        """Take a whole list, chunk by chunk, and only then put it in place of what was there."""
        listed: dict[Place, T] = {}
        query = [*self._collection.query, ("limit", str(CHUNK))]
        answer = await self._chunk(query)
        while True:
            listed |= {_place(item): self._kept(item) for item in _items(answer)}
            following = (answer.get("metadata") or {}).get("continue")
            if not following:
                break
            answer = await self._chunk([*query, ("continue", following)])
        self._version = _version(answer)
        self._replace(listed)
        self._synced.set(True)

    async def _chunk(self, query: Query) -> Json:
        try:
            answer = await self._server.get(self._collection.path, query)
        except ApiError as error:
            if error.code == GONE:
                raise ExpiredError from error
            raise
        self._listen()
        return answer

    def _replace(self, listed: Mapping[Place, T]) -> None:
        gone = [place for place in self._items if place not in listed]
        for place in gone:
            self._put(place, None)
        for place, item in listed.items():
            if self._items.get(place) != item:
                self._put(place, item)

    # Watching.

    async def _follow(self) -> None:
        """Watch from the last version on, stream after stream, until it is time for a new list."""
        clock = asyncio.get_running_loop()
        until = clock.time() + _spread(RELIST_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                while True:
                    began = clock.time()
                    await self._watch()
                    if clock.time() - began < FIRST_WAIT:
                        # A server that ends every stream at once is asked once a second.
                        await asyncio.sleep(_spread(FIRST_WAIT))

    async def _watch(self) -> None:
        query = [
            *self._collection.query,
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", self._version),
            ("timeoutSeconds", str(round(_spread(WATCH_SECONDS)))),
        ]
        try:
            async with self._server.stream(self._collection.path, query, silence=self._silence) as lines:
                self._listen()
                async for line in lines:
                    self._take(line)
        except ApiError as error:
            if error.code == GONE:
                raise ExpiredError from error
            raise

    def _take(self, line: str) -> None:
        """Take one event in."""
        self._listen()
        kind, content = _event(line)
        if kind == "ERROR":
            if content.get("code") == GONE:
                raise ExpiredError
            raise ApiError(int(content.get("code") or 0), str(content.get("reason")), str(content.get("message")))
        self._version = _version(content)
        if kind in {"ADDED", "MODIFIED"}:
            self._put(_place(content), self._kept(content))
        elif kind == "DELETED":
            self._put(_place(content), None)

    def _kept(self, content: Json) -> T:
        try:
            return self._keep(content)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise MalformedError(f"expected an object as the API server makes them: {error!r}") from error

    def _put(self, place: Place, item: T | None) -> None:
        if item is None:
            self._items.pop(place, None)
        else:
            self._items[place] = item
        self._changed(place, item)
        self.changes.set(self.changes.value + 1)

    def _listen(self) -> None:
        self._heard = asyncio.get_running_loop().time()


def _event(line: str) -> tuple[str, Json]:
    try:
        event = json.loads(line)
        return str(event["type"]), dict(event["object"])
    except (ValueError, TypeError, KeyError) as error:
        raise MalformedError(f"expected a watch event, got {line[:200]!r}") from error


def _items(answer: Json) -> list[Json]:
    items = answer.get("items")
    if items is None:
        return []
    if not isinstance(items, list):
        raise MalformedError("expected a list with items")
    return items


def _place(content: Json) -> Place:
    try:
        about = content["metadata"]
        return str(about.get("namespace", "")), str(about["name"])
    except (KeyError, TypeError, AttributeError) as error:
        raise MalformedError("expected an object with metadata") from error


def _version(content: Json) -> str:
    try:
        return str(content["metadata"]["resourceVersion"])
    except (KeyError, TypeError) as error:
        raise MalformedError("expected a resourceVersion") from error


def _spread(seconds: float) -> float:
    """Spread replicas and watches, so that they don't all come at once."""
    return seconds * (0.8 + 0.4 * random.random())  # noqa: S311 - guards nothing
