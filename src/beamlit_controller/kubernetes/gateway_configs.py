"""Reads from each gateway pod's own stats which configuration it has in force."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from beamlit_controller.core.gateway_config import ConfigInForce
from beamlit_controller.kubernetes.gateway_pages import GatewayPages
from beamlit_controller.kubernetes.managed_objects import GatewayPod

LONGEST_PAGE: Final = 256 * 1024
"""Maximum size of each pod's page; there may be a hundred pods, and a genuine page has a few KiB."""


class GatewayConfigs:
    """Requests this path from gateway pods, and parses their pages."""

    def __init__(self, pages: GatewayPages, path: str, read: Callable[[str], ConfigInForce]) -> None:
        self._pages = pages
        self._path = path
        self._read = read

    async def of(self, pods: Iterable[GatewayPod]) -> Mapping[str, ConfigInForce]:
        """Return the configuration in force of each pod that answers, by the pod's uid."""
        polled = [pod for pod in pods if pod.ip and pod.stats_port]
        pages = await asyncio.gather(*(self._pages.get(pod, self._path, longest=LONGEST_PAGE) for pod in polled))
        return {pod.uid: self._read(page) for pod, page in zip(polled, pages, strict=True) if page is not None}
