"""A client for Envoy's admin interface, through the Unix socket in the gateway's folder."""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx2
import structlog

from beamlit_controller.api import system_errors
from beamlit_controller.controller import response_body
from beamlit_controller.controller.deadline import Deadline
from beamlit_controller.standalone import sockets
from beamlit_controller.standalone.endpoint_health import EndpointStatus

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

TIMEOUT = 3.0
"""Timeout for a whole response, in seconds."""
LONGEST = 64 * 1024 * 1024
"""Maximum size in bytes of a response."""
_NO_TLS = ssl.SSLContext(
    ssl.PROTOCOL_TLS_CLIENT
)  # trusts no CA; creating a default context for each request would cost 40 ms


@dataclass(frozen=True, slots=True)
class _Response:
    path: str
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")


class AdminError(Exception):
    """Envoy's admin interface gave no usable response."""


class NotRunningError(AdminError):
    """Nothing listens on the admin socket: Envoy is not running. A slow or odd response is no proof of that."""


class Admin:
    """The admin interface behind a Unix socket. Each request opens its own connection, because Envoy and its folder may be replaced."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    @property
    def directory(self) -> Path:
        """Return the folder of the socket."""
        return self._socket.parent

    async def drain(self) -> None:
        """Fail the health check, and close every connection after its current request."""
        await self._request("POST", "/healthcheck/fail")
        await self._request("POST", "/drain_listeners?graceful&skip_exit")

    async def ready(self) -> bool:
        """Return whether Envoy is up and its listeners are active."""
        try:
            await self._request("GET", "/ready")
        except AdminError:
            return False
        return True

    async def active_requests(self) -> int:
        """Count the clients' requests in flight, including streams and WebSockets."""
        return await self._gauge("downstream_rq_active")

    async def active_connections(self) -> int:
        """Count the clients' connections, including idle ones."""
        return await self._gauge("downstream_cx_active")

    async def _gauge(self, name: str) -> int:
        answer = await self._request("GET", f"/stats?format=json&filter=^http\\.front\\.{name}$")
        return _read(answer, lambda page: sum(int(stat["value"]) for stat in page["stats"] if "value" in stat))

    async def stats(self, only: str) -> str:
        """Return the stats whose names match, in the Prometheus text format."""
        answer = await self._request("GET", f"/stats/prometheus?filter={quote(only)}")
        return answer.text

    async def config_stats(self, only: str) -> str:
        """Return the stats whose names match in the Prometheus text format, including text readouts."""
        answer = await self._request("GET", f"/stats/prometheus?text_readouts&filter={quote(only)}")
        return answer.text

    async def endpoints(self, cluster: str) -> tuple[EndpointStatus, ...]:
        """Return the endpoints of a cluster; a name with several addresses is several endpoints."""
        answer = await self._request("GET", "/clusters?format=json")
        return _read(answer, lambda page: tuple(_endpoints(page, cluster)))

    async def texts(self, only: str) -> dict[str, str]:
        """Return the text readouts whose names match."""
        answer = await self._request("GET", f"/stats?format=json&type=TextReadouts&filter={quote(only)}")
        return _read(
            answer, lambda page: {str(stat["name"]): str(stat["value"]) for stat in page["stats"] if "name" in stat}
        )

    async def listeners(self) -> dict[str, str]:
        """Return each listener's name and the address that it is actually bound to."""
        answer = await self._request("GET", "/listeners?format=json")
        return _read(answer, _listeners)

    async def refusal(self, listener: str) -> str:
        """Return Envoy's reason why a listener is missing; "" if there is none."""
        answer = await self._request("GET", "/config_dump?resource=dynamic_listeners")
        return _read(answer, lambda page: _refusal(page, listener))

    async def _request(self, method: str, path: str) -> _Response:
        try:
            with sockets.reachable(self._socket) as short:
                transport = httpx2.AsyncHTTPTransport(uds=short, verify=_NO_TLS, trust_env=False)
                # The client's own timeouts would discard a response that came while the event loop was held up.
                async with (
                    Deadline(TIMEOUT),
                    httpx2.AsyncClient(transport=transport, timeout=None, trust_env=False) as client,
                ):
                    request = client.build_request(method, f"http://admin{path}", headers=[response_body.PLAIN])
                    async with aclosing(await client.send(request, stream=True)) as answer:
                        return _Response(request.url.path, await _body(answer.raise_for_status()))
        except httpx2.HTTPStatusError as error:
            raise AdminError(f"{method} {path}: expected status 200, got {error.response.status_code}") from error
        except (response_body.EncodingError, response_body.BodyTooLargeError) as error:
            raise AdminError(f"{method} {path}: unexpected response: {error}") from error
        except (httpx2.HTTPError, OSError) as error:
            kind = NotRunningError if isinstance(error, httpx2.ConnectError | FileNotFoundError) else AdminError
            raise kind(f"{method} {path}: {system_errors.message(error)}") from error


async def answered(ask: Callable[[], Awaitable[T]], *, period: float) -> T:
    """Repeat a request every `period` seconds until it is answered. Raises NotRunningError once Envoy is not running."""
    failed = False
    while True:
        try:
            return await ask()
        except NotRunningError:
            raise
        except AdminError as error:
            if not failed:
                log.warning("gateway does not answer", error=str(error))
            failed = True
        await asyncio.sleep(period)


async def _body(answer: httpx2.Response) -> bytes:
    encoding = answer.headers.get("content-encoding", "")
    return await response_body.whole(answer.aiter_raw(), encoding=encoding, longest=LONGEST)


def _read(answer: _Response, take: Callable[[Any], T]) -> T:
    """Extract a value from Envoy's JSON. Raises AdminError if it has another format."""
    try:
        return take(json.loads(answer.body))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise AdminError(f"{answer.path}: expected JSON of Envoy, got another response") from error


def _listeners(page: Any) -> dict[str, str]:  # noqa: ANN401 - Envoy's own JSON
    statuses = page.get("listener_statuses", [])
    return {listener["name"]: _address(listener["local_address"]) for listener in statuses}


def _endpoints(page: Any, cluster: str) -> Iterator[EndpointStatus]:  # noqa: ANN401 - Envoy's own JSON
    clusters = (each for each in page.get("cluster_statuses", []) if each.get("name") == cluster)
    for host in (host for each in clusters for host in each.get("host_statuses", [])):
        socket = host["address"].get("socket_address", {})
        counts = {stat.get("name"): stat.get("value", 0) for stat in host.get("stats", [])}
        yield EndpointStatus(
            ip=str(socket.get("address", "")),
            host=str(host.get("hostname", "")),
            port=int(socket.get("port_value", 0)),
            ejected=bool(host.get("health_status", {}).get("failed_outlier_check")),
            failed_connections=int(counts.get("cx_connect_fail", 0)),
        )


def _refusal(page: Any, listener: str) -> str:  # noqa: ANN401 - Envoy's own JSON
    known = (each for each in page.get("configs", []) if each.get("name") == listener)
    return next((str(each["error_state"]["details"])[:300] for each in known if "error_state" in each), "")


def _address(address: dict[str, Any]) -> str:
    socket = address.get("socket_address")
    if socket is None:
        return ""
    host = f"[{socket['address']}]" if ":" in socket["address"] else socket["address"]
    return f"{host}:{socket['port_value']}"
