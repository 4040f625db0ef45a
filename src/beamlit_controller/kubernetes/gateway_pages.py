"""Requests pages from gateway pods, each bounded in time and size, and all in memory, so that a faulty pod affects no other."""

from contextlib import aclosing
from types import TracebackType
from typing import Final, Self

import httpx2

from beamlit_controller.controller.deadline import Deadline
from beamlit_controller.controller.held_bytes import HeldBytes, Holding
from beamlit_controller.kubernetes.managed_objects import GatewayPod

TIMEOUT: Final = 2.0
LONGEST_PAGE: Final = 256 * 1024
"""Maximum number of bytes that are read of a page; a genuine one has a few KiB."""
PLAIN: Final = {"accept-encoding": "identity"}


class GatewayPages:
    """Fetches pages from the stats port of gateway pods; used as `async with`.

    `held` limits the memory of all pages that are being read.
    """

    def __init__(self, held: HeldBytes | None = None) -> None:
        self._held = held or HeldBytes()
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

        None if the pod does not answer 200 within two seconds, if the response is compressed although that was not
        requested, or if the pages of this model's gateway take too much memory together.
        """
        with self._held.of(pod.key) as held:
            body = await self._body(pod, path, longest, held)
            return None if body is None else body[:longest].decode(errors="replace")

    async def _body(self, pod: GatewayPod, path: str, longest: int, held: Holding) -> bytearray | None:
        host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
        try:
            async with Deadline(TIMEOUT):
                request = self._client.build_request("GET", f"http://{host}:{pod.stats_port}{path}")
                async with aclosing(await self._client.send(request, stream=True)) as response:
                    is_page = response.status_code == httpx2.codes.OK and "content-encoding" not in response.headers
                    return await _beginning(response, longest, held) if is_page else None
        except (TimeoutError, httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError):
            return None


async def _beginning(response: httpx2.Response, longest: int, held: Holding) -> bytearray | None:
    """Return the page, or a little more than its first `longest` bytes."""
    body = bytearray()
    async with aclosing(response.aiter_raw()) as pieces:
        async for piece in pieces:
            if not held.take(len(piece)):
                return None
            body += piece
            if len(body) > longest:
                break
    return body
