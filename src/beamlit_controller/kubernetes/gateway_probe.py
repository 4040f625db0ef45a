"""Checks that gateway pods can reach the model: each pod is asked to forward a request to one of its servers.

A Service is taken over only after this check, so that a NetworkPolicy or a mesh can't cut clients off.
"""

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx2

from beamlit_controller.controller.deadline import Deadline
from beamlit_controller.kubernetes.managed_objects import GatewayPod

TIMEOUT = 2.0


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """The path to request at a gateway pod's stats port, and the header that only a local server's response has."""

    path: str
    header: str


class GatewayProbe:
    """Sends the probe requests; used as `async with`."""

    def __init__(self, question: ProbeRequest) -> None:
        self._question = question
        # Each request has a Deadline instead of the client's timeouts.
        self._client = httpx2.AsyncClient(trust_env=False, timeout=None, follow_redirects=False)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def of(self, pods: Iterable[GatewayPod]) -> Collection[str]:
        """Return the uids of the pods that reach a server of the model."""
        probed = [pod for pod in pods if pod.ready and pod.ip and pod.stats_port]
        answers = await asyncio.gather(*(self._reaches(pod) for pod in probed))
        return {pod.uid for pod, reaches in zip(probed, answers, strict=True) if reaches}

    async def _reaches(self, pod: GatewayPod) -> bool:
        host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
        url = f"http://{host}:{pod.stats_port}{self._question.path}"
        try:
            async with Deadline(TIMEOUT), self._client.stream("GET", url) as answer:
                return self._question.header in answer.headers
        except (TimeoutError, httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError):
            return False
