"""Requests to the API server: JSON in, JSON out, one error type.

lightkube finds the API server and authenticates (in-cluster or kubeconfig, tokens that are reread on 401, exec plugins,
client certificates). Objects stay JSON: the few fields that are needed are parsed where they are used.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from copy import copy
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlencode

import httpx2
from lightkube.config.client_adapter import AsyncClient, ConnectionParams
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.core.exceptions import ConfigError

from beamlit_controller.api import redaction, system_errors
from beamlit_controller.controller import response_body
from beamlit_controller.controller.deadline import HANDSHAKE, Deadline
from beamlit_controller.kubernetes import api_bodies, watch_lines

Json = dict[str, Any]
Query = Sequence[tuple[str, str]]

FIELD_MANAGER: Final = "beamlit-controller"

LONGEST: Final = 16 * 1024 * 1024
"""Maximum size in bytes of a response, or of one event. Objects are smaller: etcd accepts 1.5 MB, and JSON escapes expand 6 to 1."""
TOO_LARGE: Final = "AnswerTooLarge"
"""The `reason` of the error for a response that is too large."""


class ApiError(Exception):
    """The API server rejected a request or did not answer.

    `code` is the HTTP status, 0 if there was no response. `reason` is that of the Status object (`Conflict`,
    `NotFound`, …). `retry_after` is in seconds, if the server sent it.
    """

    def __init__(self, code: int, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


def configuration(kubeconfig: Path | None = None, *, context: str = "") -> SingleConfig:
    """Find the API server: the given file, else in-cluster, else `KUBECONFIG`, else ~/.kube/config. Raises ApiError."""
    try:
        found = KubeConfig.from_file(kubeconfig) if kubeconfig else KubeConfig.from_env()
        single = found.get(context or None)
    except (ConfigError, OSError, ValueError, KeyError) as error:
        raise ApiError(0, "ConfigError", f"can't connect to the API server: {error}") from error
    if single is None:
        raise ApiError(0, "ConfigError", "can't connect to the API server: the kubeconfig has no current context")
    return single


class ApiServer:
    """An open connection to the API server; used as `async with`.

    Paths are absolute and already percent-encoded; every call has a deadline, in seconds.
    """

    def __init__(self, config: SingleConfig, *, timeout: float = 10) -> None:
        parameters = ConnectionParams(timeout=httpx2.Timeout(timeout), trust_env=False)
        self.namespace = config.namespace
        self._timeout = timeout
        self._allowed: Callable[[], bool] = lambda: True
        self._client = AsyncClient(config, parameters)
        self._client.event_hooks = {"response": [api_bodies.guard]}
        self._base = str(config.cluster.server or "").rstrip("/")

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    def guarded(self, allowed: Callable[[], bool]) -> Self:
        """Return the same connection, on which each write fails unless `allowed` returns true at that moment."""
        twin = copy(self)
        twin._allowed = allowed  # noqa: SLF001 - our own
        return twin

    async def get(self, path: str, query: Query = (), *, most: int = LONGEST, metadata_only: bool = False) -> Json:
        """Get an object or a list of at most `most` bytes; with `metadata_only`, only the metadata."""
        accept = _ONLY_METADATA.format("PartialObjectMetadataList") if metadata_only else _JSON
        return await self._exchange("GET", path, query, accept=accept, most=most)

    async def create(self, path: str, content: Mapping[str, object]) -> Json:
        """Create an object in a collection."""
        return await self._exchange("POST", path, _MANAGED, content)

    async def replace(self, path: str, content: Mapping[str, object]) -> Json:
        """Replace an object; its resourceVersion must match."""
        return await self._exchange("PUT", path, _MANAGED, content)

    async def apply(self, path: str, content: Mapping[str, object], *, force: bool = True) -> Json:
        """Apply our fields with server-side apply; conditional if `content` has a resourceVersion."""
        query = (*_MANAGED, ("force", "true")) if force else _MANAGED
        return await self._exchange("PATCH", path, query, content, kind="application/apply-patch+yaml")

    async def merge(self, path: str, content: Mapping[str, object]) -> Json:
        """Send a merge patch."""
        return await self._exchange("PATCH", path, _MANAGED, content, kind="application/merge-patch+json")

    async def patch(self, path: str, operations: Sequence[Mapping[str, object]]) -> Json:
        """Send a JSON patch."""
        return await self._exchange("PATCH", path, _MANAGED, operations, kind="application/json-patch+json")

    async def delete(self, path: str, *, uid: str | None = None, resource_version: str | None = None) -> Json:
        """Delete an object, conditional on the preconditions if given."""
        given = {"uid": uid, "resourceVersion": resource_version}
        preconditions = {name: value for name, value in given.items() if value is not None}
        options: dict[str, object] = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        return await self._exchange(
            "DELETE", path, (), options | ({"preconditions": preconditions} if preconditions else {})
        )

    @asynccontextmanager
    async def stream(
        self, path: str, query: Query, *, silence: float, metadata_only: bool = False
    ) -> AsyncIterator[AsyncIterator[str]]:
        """Open a watch and yield its lines. Raises ApiError if nothing came for `silence` seconds, or if the connection broke.

        Only the beginning of an overlong line is yielded.
        """
        timeout = httpx2.Timeout(self._timeout, read=silence)
        accept = _ONLY_METADATA.format("PartialObjectMetadata") if metadata_only else _JSON
        request = self._client.build_request(
            "GET", self._url(path, query), timeout=timeout, headers={"accept": accept, **api_bodies.PLAIN}
        )
        async with _mapped(), aclosing(await self._client.send(request, stream=True)) as response:
            if response.is_error:
                raise _refusal(response, await api_bodies.beginning(response))
            api_bodies.require_plain(response)
            yield watch_lines.read(response.aiter_raw(), longest=LONGEST)

    async def _exchange(
        self,
        method: str,
        path: str,
        query: Query,
        content: object = None,
        *,
        kind: str = "application/json",
        accept: str = "application/json",
        most: int = LONGEST,
    ) -> Json:
        if method != "GET" and not self._allowed():
            raise ApiError(0, "NotLeading", f"{method} {path}: not written, another replica may lead")
        body = None if content is None else json.dumps(content).encode()
        headers = {"accept": accept, **api_bodies.PLAIN, **({"content-type": kind} if body else {})}
        timeout = httpx2.Timeout(None, connect=HANDSHAKE * self._timeout)
        request = self._client.build_request(
            method, self._url(path, query), content=body, headers=headers, timeout=timeout
        )
        async with (
            _mapped(most),
            Deadline(self._timeout),
            aclosing(await self._client.send(request, stream=True)) as response,
        ):
            if response.is_error or response.is_redirect:
                raise _refusal(response, await api_bodies.beginning(response))
            answer = await api_bodies.whole(response, most)
        return _parsed(answer, _secrets(response.request))

    def _url(self, path: str, query: Query) -> str:
        return f"{self._base}{path}" + (f"?{urlencode(query)}" if query else "")


_MANAGED: Query = (("fieldManager", FIELD_MANAGER),)
_JSON = "application/json"
_ONLY_METADATA = "application/json;as={};g=meta.k8s.io;v=v1,application/json"


@asynccontextmanager
async def _mapped(most: int = LONGEST) -> AsyncIterator[None]:
    """Convert exceptions of the HTTP client to ApiError."""
    try:
        yield
    except response_body.EncodingError as error:
        raise ApiError(0, "MalformedAnswer", f"the API server's answer can't be read: {error}") from error
    except response_body.BodyTooLargeError as error:
        raise ApiError(0, TOO_LARGE, f"expected an answer of at most {most} bytes, got more") from error
    except TimeoutError as error:
        raise ApiError(0, "Timeout", "the API server did not answer in time") from error
    except httpx2.ConnectTimeout as error:
        raise ApiError(0, "Timeout", "no connection to the API server in time") from error
    except httpx2.TimeoutException as error:
        raise ApiError(0, "Timeout", "the API server did not answer in time") from error
    except (httpx2.HTTPError, ConfigError, OSError) as error:
        raise ApiError(
            0, "ConnectionFailed", f"no connection to the API server: {system_errors.message(error)}"
        ) from error


def _refusal(response: httpx2.Response, body: bytes) -> ApiError:
    """Parse a Status object; of anything else, such as a proxy's error page, an excerpt is shown."""
    code, hide = response.status_code, _secrets(response.request)
    try:
        status = json.loads(body)
        reason, message = str(status.get("reason") or ""), str(status.get("message") or "")
    except (ValueError, AttributeError, RecursionError):
        reason, message = "", _excerpt(body, hide)
    said = redaction.hidden(message, hide)[:_LONGEST_MESSAGE] or f"HTTP {code}"
    reason = redaction.hidden(reason, hide)[:_SHOWN]
    return ApiError(code, reason, said, _retry_after(response.headers.get("retry-after", "")))


def _secrets(request: httpx2.Request) -> tuple[str, ...]:
    return redaction.of_header(request.headers.get("authorization", ""))


def _excerpt(body: bytes, hide: tuple[str, ...]) -> str:
    text = body[:_LONGEST_MESSAGE].decode(errors="replace")
    return redaction.hidden(text, hide)[:_SHOWN].strip()


def _retry_after(after: str) -> float | None:
    """Parse a Retry-After header, limited to a few minutes."""
    seconds = after.isascii() and after.isdecimal() and len(after) < _LONGEST_SECONDS
    return min(float(after), _LONGEST_RETRY_AFTER) if seconds else None


def _parsed(body: bytes, hide: tuple[str, ...]) -> Json:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ApiError(0, "MalformedAnswer", f"expected JSON, got {_excerpt(body, hide)!r}") from error
    if not isinstance(content, dict):
        raise ApiError(0, "MalformedAnswer", f"expected a JSON object, got {_excerpt(body, hide)!r}")
    return content


_SHOWN = 200
_LONGEST_MESSAGE = 4096
_LONGEST_SECONDS = 10
_LONGEST_RETRY_AFTER = 300.0
