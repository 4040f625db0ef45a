"""Reads from each gateway pod's own stats which configuration it has in force."""

import asyncio
from collections.abc import Callable, Iterable, Mapping

from beamlit_controller.core.gateway_config import ConfigInForce
from beamlit_controller.kubernetes.gateway_pages import GatewayPages
from beamlit_controller.kubernetes.managed_objects import GatewayPod


class GatewayConfigs:
    """Requests this path from gateway pods, and parses their pages."""

    def __init__(self, pages: GatewayPages, path: str, read: Callable[[str], ConfigInForce]) -> None:
        self._pages = pages
        self._path = path
        self._read = read

    async def of(self, pods: Iterable[GatewayPod]) -> Mapping[str, ConfigInForce]:
        """Return the configuration in force of each pod that answers, by the pod's uid."""
        polled = [pod for pod in pods if pod.ip and pod.stats_port]
        configs = await asyncio.gather(*map(self._config, polled))
        return {pod.uid: config for pod, config in zip(polled, configs, strict=True) if config is not None}

    async def _config(self, pod: GatewayPod) -> ConfigInForce | None:
        """Parse a page as soon as it is there, so that the pages of all pods are not held at once."""
        page = await self._pages.get(pod, self._path)
        return None if page is None else self._read(page)
