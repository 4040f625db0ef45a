"""What the pods of a gateway have in force: each is asked for its own stats. One that is silent or odd is nobody else's delay."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Final, Self

import httpx2

from beamlit_controller.core.gateway_config import ConfigInForce
from beamlit_controller.kubernetes.managed_objects import GatewayPod

PATIENCE: Final = 2.0
LONGEST_PAGE: Final = 256 * 1024


class GatewayConfigs:
    """Asks gateway pods at this path, and reads their pages; used as `async with`."""

    def __init__(self, path: str, read: Callable[[str], ConfigInForce]) -> None:
        self._path = path
        self._read = read
        self._client = httpx2.AsyncClient(trust_env=False, timeout=PATIENCE, follow_redirects=False)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def of(self, pods: Iterable[GatewayPod]) -> Mapping[str, ConfigInForce]:
        """Give by uid what those say that answer."""
        asked = [pod for pod in pods if pod.ip and pod.stats_port]
        pages = await asyncio.gather(*(self._page(pod) for pod in asked))
        return {pod.uid: self._read(page) for pod, page in zip(asked, pages, strict=True) if page is not None}

    async def _page(self, pod: GatewayPod) -> str | None:
        host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
        body = bytearray()
        try:
            async with asyncio.timeout(PATIENCE):
                request = self._client.build_request("GET", f"http://{host}:{pod.stats_port}{self._path}")
                async with aclosing(await self._client.send(request, stream=True)) as answer:
                    if answer.status_code != httpx2.codes.OK:
                        return None
                    async for piece in answer.aiter_bytes():
                        body += piece
                        if len(body) > LONGEST_PAGE:
                            break
        except (TimeoutError, httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError):
            return None
        return body[:LONGEST_PAGE].decode(errors="replace")
