"""Requests pages from gateway pods, each bounded in time and size, so that a silent or faulty pod affects no other."""

from contextlib import aclosing
from types import TracebackType
from typing import Final, Self

import httpx2

from beamlit_controller.controller.deadline import Deadline
from beamlit_controller.kubernetes.managed_objects import GatewayPod

TIMEOUT: Final = 2.0
LONGEST_PAGE: Final = 1024 * 1024
"""Maximum number of bytes that are read of a page."""
PLAIN: Final = {"accept-encoding": "identity"}


class GatewayPages:
    """Fetches pages from the stats port of gateway pods; used as `async with`."""

    def __init__(self) -> None:
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=200)
        # Each request has a Deadline instead of the client's timeouts.
        self._client = httpx2.AsyncClient(
            headers=PLAIN, trust_env=False, timeout=None, follow_redirects=False, limits=limits
        )

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def get(self, pod: GatewayPod, path: str, *, longest: int = LONGEST_PAGE) -> str | None:
        """Return the first `longest` bytes of the page at a path that begins with a slash.

        None if the pod does not answer 200 within two seconds, or if the response is compressed although that was not
        requested.
        """
        host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
        try:
            async with Deadline(TIMEOUT):
                request = self._client.build_request("GET", f"http://{host}:{pod.stats_port}{path}")
                async with aclosing(await self._client.send(request, stream=True)) as response:
                    is_page = response.status_code == httpx2.codes.OK and "content-encoding" not in response.headers
                    return await _page(response, longest) if is_page else None
        except (TimeoutError, httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError):
            return None


async def _page(response: httpx2.Response, longest: int) -> str:
    body = bytearray()
    async with aclosing(response.aiter_raw()) as pieces:
        async for piece in pieces:
            body += piece
            if len(body) > longest:
                break
    return body[:longest].decode(errors="replace")
