"""The web endpoints for probes, Prometheus and people: /healthz, /readyz, /metrics, /models and the page."""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from beamlit_controller.core import printable
from beamlit_controller.core.spec import ModelKey
from beamlit_controller.telemetry import connections, models, page
from beamlit_controller.telemetry.exposition import Exposition
from beamlit_controller.telemetry.liveness import Check
from beamlit_controller.telemetry.models import ModelsSink
from beamlit_controller.telemetry.page import Handler, PageAccess

INDEX = """\
beamlit-controller

/healthz                    200 while rounds succeed
/readyz                     200 once every model has a decision and every gateway is up
/metrics                    our own metrics, as text or OpenMetrics
/models                     metrics and decisions of every model, and mistakes in manifests and settings, as JSON
/models/NAMESPACE/NAME      the same for one model
/models/NAMESPACE/NAME/history  its share and highest metric over the last hours

A browser gets a page here that shows all of it, unless config.page.enabled is false.
"""
TICK = 1.0
"""Seconds between wake-ups; uvicorn's own loop wakes ten times as often, which would be most of an idle controller's load."""
LONGEST_HOST = 100
GRACE = 2
"""Seconds that responses in progress may take at shutdown."""


@dataclass(frozen=True, slots=True)
class WebEndpoints:
    """What the endpoints read."""

    alive: Callable[[], Check]
    ready: Callable[[], Check]
    exposition: Exposition
    models: ModelsSink
    access: PageAccess = field(default_factory=PageAccess)


def app(site: WebEndpoints) -> Starlette:
    """Return the ASGI application. It answers GET and HEAD; an error is JSON: `{"error": …}`."""
    pages = _Pages(site)
    return Starlette(
        routes=[
            Route("/", pages.checked(pages.index)),
            Route("/healthz", pages.healthz),
            Route("/readyz", pages.readyz),
            Route("/metrics", pages.metrics),
            Route("/models", pages.checked(pages.models)),
            Route("/models/{namespace}/{name}", pages.checked(pages.model)),
            Route("/models/{namespace}/{name}/history", pages.checked(pages.history)),
            *(Route(f"/page/{name}", pages.checked(page.static(name))) for name in page.FILES if site.access.page),
        ],
        exception_handlers={HTTPException: _refused, Exception: _broken},
    )


def bind(address: str) -> socket.socket:
    """Return a socket that listens on `host:port`, `[::1]:port` or `:port`. Raises OSError with a description.

    Port 0 takes any free port. Without a host, or with `::`, it listens on all IPv4 and IPv6 addresses.
    """
    host, port = _parsed(address)
    try:
        if host in {"", "::"} and socket.has_dualstack_ipv6():
            return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        family, _, _, _, target = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server((str(target[0]), port), family=family)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {address}: {_why(error)}") from error


async def run(
    site: WebEndpoints, listener: socket.socket, *, request_timeout: float = connections.REQUEST_TIMEOUT
) -> None:
    """Serve until cancelled; then finish the responses in progress and close the socket."""
    config = uvicorn.Config(
        app(site),
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,  # longer than the usual scrape interval
        timeout_graceful_shutdown=GRACE,
    )
    connections.bounded(config, request_timeout=request_timeout)
    with listener:
        await _Server(config).serve(sockets=[listener])


class _Server(uvicorn.Server):
    """Uvicorn's server without signal handling: it is stopped by cancellation."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        try:
            while not self.should_exit:
                await self.on_tick(0)  # updates the Date header of responses
                await asyncio.sleep(TICK)
        except asyncio.CancelledError:
            await self.shutdown()
            raise


class _Pages:
    def __init__(self, site: WebEndpoints) -> None:
        self._site = site
        self._one_at_a_time = asyncio.Lock()

    def checked(self, answer: Handler) -> Handler:
        """Reject requests with a foreign Host header; probes and scrapes are exempt."""

        async def checked(request: Request) -> Response:
            host = request.headers.get("host", "")
            if self._site.access.allows(host):
                return await answer(request)
            return _error(421, f"Host {printable.short(host, LONGEST_HOST)!r} is refused: list it in config.page.hosts")

        return checked

    async def index(self, request: Request) -> Response:
        if self._site.access.page and page.wants_html(request):
            return page.index()
        return PlainTextResponse(INDEX, headers={"vary": "accept"})

    async def healthz(self, _: Request) -> Response:
        return _checked(self._site.alive())

    async def readyz(self, _: Request) -> Response:
        return _checked(self._site.ready())

    async def metrics(self, request: Request) -> Response:
        body, content_type = await self._site.exposition.render(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    async def models(self, _: Request) -> Response:
        async with self._one_at_a_time:
            return _json(await asyncio.to_thread(models.as_json, self._site.models.snapshot()))

    async def model(self, request: Request) -> Response:
        key, known = _key(request), self._site.models.keys()
        if key not in known:
            return _unknown(key, known)
        return _json(models.one_as_json(self._site.models.snapshot(key)))

    async def history(self, request: Request) -> Response:
        key, known = _key(request), self._site.models.keys()
        if key not in known:
            return _unknown(key, known)
        return _json(self._site.models.history(key).model_dump_json().encode())


def _unknown(key: ModelKey, known: Sequence[ModelKey]) -> Response:
    names = ", ".join(str(each) for each in known) or "none"
    return _error(404, f"no model {key}; known are: {names}")


def _key(request: Request) -> ModelKey:
    return ModelKey(request.path_params["namespace"], request.path_params["name"])


def _parsed(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    bare_ipv6 = ":" in host and not address.startswith("[")
    if not colon or bare_ipv6 or not (port.isascii() and port.isdigit()) or int(port) > 65535:  # noqa: PLR2004 - the last port
        raise OSError(f"cannot listen on {address!r}: expected host:port, [IPv6]:port or :port")
    return host, int(port)


def _why(error: OSError) -> str:
    # Python appends the address to the system's message; the codes of name resolution are negative.
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)


def _checked(check: Check) -> Response:
    return PlainTextResponse(f"{check.text}\n") if check.ok else _error(503, check.text)


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    body = json.dumps({"error": message}, ensure_ascii=False).encode()
    return Response(body, status_code=status, headers=headers, media_type="application/json")


async def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    said = f"{request.method} {request.url.path}: {error.detail}"
    return _error(error.status_code, said, dict(error.headers or {}))


async def _broken(_: Request, error: Exception) -> Response:
    return _error(500, f"unexpected: {type(error).__name__}; see the log")
