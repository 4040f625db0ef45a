"""Requests to the API server: JSON in, JSON out, one type of error.

lightkube finds out where it is and who we are (in-cluster or kubeconfig, tokens read again on 401, exec plugins, client
certificates). Objects stay JSON: the few fields that we look at are parsed where they are needed.
"""

import asyncio
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

Json = dict[str, Any]
Query = Sequence[tuple[str, str]]

FIELD_MANAGER: Final = "beamlit-controller"


class ApiError(Exception):
    """The API server refused, or did not answer.

    `code` is the HTTP status, 0 without an answer; `reason` that of its Status (`Conflict`, `NotFound`, …); `retry_after`
    in seconds, where the server asked for patience.
    """

    def __init__(self, code: int, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


def configuration(kubeconfig: Path | None = None) -> SingleConfig:
    """Find the API server: the given file, else in-cluster, else `KUBECONFIG`, else ~/.kube/config. Raises ApiError."""
    try:
        found = KubeConfig.from_file(kubeconfig) if kubeconfig else KubeConfig.from_env()
        single = found.get()
    except (ConfigError, OSError, ValueError, KeyError) as error:
        raise ApiError(0, "ConfigError", f"no way to the API server: {error}") from error
    if single is None:
        raise ApiError(0, "ConfigError", "no way to the API server: the kubeconfig has no current context")
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
        self._base = str(config.cluster.server or "").rstrip("/")

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    def guarded(self, allowed: Callable[[], bool]) -> Self:
        """Give the same connection, over which nothing is written unless that is allowed at that very moment."""
        twin = copy(self)
        twin._allowed = allowed  # noqa: SLF001 - our own
        return twin

    async def get(self, path: str, query: Query = ()) -> Json:
        """Get an object or a list."""
        return await self._exchange("GET", path, query)

    async def create(self, path: str, content: Mapping[str, object]) -> Json:
        """Create an object in a collection."""
        return await self._exchange("POST", path, _MANAGED, content)

    async def replace(self, path: str, content: Mapping[str, object]) -> Json:
        """Put an object in place of the one whose resourceVersion it carries."""
        return await self._exchange("PUT", path, _MANAGED, content)

    async def apply(self, path: str, content: Mapping[str, object], *, force: bool = True) -> Json:
        """Apply our fields of an object, on the server's side; with its resourceVersion in `content`, only over that one."""
        query = (*_MANAGED, ("force", "true")) if force else _MANAGED
        return await self._exchange("PATCH", path, query, content, kind="application/apply-patch+yaml")

    async def merge(self, path: str, content: Mapping[str, object]) -> Json:
        """Merge fields into an object."""
        return await self._exchange("PATCH", path, _MANAGED, content, kind="application/merge-patch+json")

    async def patch(self, path: str, operations: Sequence[Mapping[str, object]]) -> Json:
        """Carry out the operations of a JSON patch, all or none."""
        return await self._exchange("PATCH", path, _MANAGED, operations, kind="application/json-patch+json")

    async def delete(self, path: str, *, uid: str | None = None, resource_version: str | None = None) -> Json:
        """Delete an object; with preconditions, only that very one."""
        given = {"uid": uid, "resourceVersion": resource_version}
        preconditions = {name: value for name, value in given.items() if value is not None}
        options: dict[str, object] = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        return await self._exchange(
            "DELETE", path, (), options | ({"preconditions": preconditions} if preconditions else {})
        )

    @asynccontextmanager
    async def stream(self, path: str, query: Query, *, silence: float) -> AsyncIterator[AsyncIterator[str]]:
        """Open a watch and give its lines; ApiError when nothing came for `silence` seconds, or the connection broke."""
        timeout = httpx2.Timeout(self._timeout, read=silence)
        request = self._client.build_request("GET", self._url(path, query), timeout=timeout)
        async with _mapped(), aclosing(await self._client.send(request, stream=True)) as response:
            if response.is_error:
                raise _refusal(response.status_code, await response.aread(), response.headers)
            yield response.aiter_lines()

    async def _exchange(
        self, method: str, path: str, query: Query, content: object = None, *, kind: str = "application/json"
    ) -> Json:
        if method != "GET" and not self._allowed():
            raise ApiError(0, "NotLeading", f"{method} {path}: not written, another replica may lead")
        body = None if content is None else json.dumps(content).encode()
        headers = {"accept": "application/json", **({"content-type": kind} if body else {})}
        request = self._client.build_request(method, self._url(path, query), content=body, headers=headers)
        async with _mapped(), asyncio.timeout(self._timeout):
            response = await self._client.send(request)
        if response.is_error or response.is_redirect:
            raise _refusal(response.status_code, response.content, response.headers)
        return _parsed(response.content)

    def _url(self, path: str, query: Query) -> str:
        return f"{self._base}{path}" + (f"?{urlencode(query)}" if query else "")


_MANAGED: Query = (("fieldManager", FIELD_MANAGER),)


@asynccontextmanager
async def _mapped() -> AsyncIterator[None]:
    """Turn what the HTTP client raises into an ApiError."""
    try:
        yield
    except TimeoutError as error:
        raise ApiError(0, "Timeout", "the API server did not answer in time") from error
    except httpx2.TimeoutException as error:
        raise ApiError(0, "Timeout", f"the API server did not answer in time ({type(error).__name__})") from error
    except (httpx2.HTTPError, ConfigError, OSError) as error:
        raise ApiError(
            0, "ConnectionFailed", f"no connection to the API server: {str(error) or type(error).__name__}"
        ) from error


def _refusal(code: int, body: bytes, headers: Mapping[str, str]) -> ApiError:
    """Read a Status; what is none (a proxy's page) is shown in part."""
    try:
        status = json.loads(body)
        reason, message = str(status.get("reason") or ""), str(status.get("message") or "")
    except (ValueError, AttributeError):
        reason, message = "", body[:_SHOWN].decode(errors="replace").strip()
    after = headers.get("retry-after", "")
    return ApiError(code, reason, message or f"HTTP {code}", float(after) if after.isdecimal() else None)


def _parsed(body: bytes) -> Json:
    try:
        content = json.loads(body)
    except ValueError as error:
        raise ApiError(0, "MalformedAnswer", f"expected JSON, got {body[:_SHOWN]!r}") from error
    if not isinstance(content, dict):
        raise ApiError(0, "MalformedAnswer", f"expected a JSON object, got {body[:_SHOWN]!r}")
    return content


_SHOWN = 200
