"""Lists in chunks limited by bytes: a chunk with large objects gets fewer of them.

`limit` of the Kubernetes API counts objects, so it alone does not bound memory.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from beamlit_controller.kubernetes import fields
from beamlit_controller.kubernetes.api_server import LONGEST, TOO_LARGE, ApiError, Json, Query

MOST_OBJECTS, FIRST_OBJECTS = 500, 64
MOST_BYTES = 4 * 1024 * 1024
GONE = 410


class Server(Protocol):
    """The requests that are needed here."""

    async def get(self, path: str, query: Query = (), *, most: int, metadata_only: bool) -> Json:
        """Get a list; raises ApiError with the reason `AnswerTooLarge` above `most` bytes."""
        ...

    def stream(self, path: str, query: Query, *, silence: float, metadata_only: bool) -> Any:  # noqa: ANN401 - an async context of lines
        """Open a watch."""
        ...


@dataclass(frozen=True, slots=True)
class Collection:
    """A watched collection: a path such as `/api/v1/pods`, and selectors.

    With `metadata_only` the API server sends only the objects' metadata. With `keep_last` an object that can't be
    parsed any more keeps its last parsed state.
    """

    path: str
    query: Query = ()
    metadata_only: bool = False
    keep_last: bool = False

    @property
    def kind(self) -> str:
        """The plural name of the kind."""
        return self.path.rpartition("/")[2]


class ExpiredError(Exception):
    """The resourceVersion or continue token has expired."""


EXPIRED = "the resourceVersion to resume from has expired"


def as_error(status: Json) -> Exception:
    """Interpret the Status of an ERROR event."""
    code = fields.whole(status.get("code"))
    if code == GONE:
        return ExpiredError(EXPIRED)
    return ApiError(code, fields.text(status.get("reason")), fields.text(status.get("message"))[:_SHOWN])


_SHOWN = 200


class Chunks:
    """Requests the chunks of one collection; `heard` is called on each response."""

    def __init__(self, server: Server, collection: Collection, *, heard: Callable[[], None]) -> None:
        self._server = server
        self._collection = collection
        self._heard = heard
        self._limit = FIRST_OBJECTS

    async def get(self, following: str) -> Json:
        """Get the next chunk, with a smaller limit while the response is too large."""
        while True:
            try:
                answer = await self._get(self._limit, following)
            except ApiError as error:
                if error.code == GONE:
                    raise ExpiredError("the list has expired") from error
                if error.reason != TOO_LARGE or self._limit == 1:
                    raise
                self._limit = max(1, self._limit // 4)
                continue
            self._heard()
            self._limit = min(MOST_OBJECTS, self._limit * 2)
            return answer

    async def _get(self, limit: int, following: str) -> Json:
        given = self._collection
        query = [*given.query, ("limit", str(limit)), *([("continue", following)] if following else [])]
        # A single object can't be split, but etcd limits its size.
        most = MOST_BYTES if limit > 1 else LONGEST
        return await self._server.get(given.path, query, most=most, metadata_only=given.metadata_only)
