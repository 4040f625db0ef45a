"""How every model's remote is, by what its gateways have counted: each ready gateway pod is asked for its own figures."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import httpx2

from beamlit_controller.core import remote_health, throttle
from beamlit_controller.core.remote_health import Attempts, Judged, RemoteReady
from beamlit_controller.core.spec import ModelKey, RemoteBackend
from beamlit_controller.kubernetes.models import Models
from beamlit_controller.kubernetes.owned import GatewayPod, Owned

PERIOD = 5.0
PATIENCE = 2.0
LONGEST_PAGE = 1024 * 1024
AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Figures:
    """Where a gateway tells its figures, and what understands them."""

    path: str
    read: Callable[[str], Attempts]


@dataclass(slots=True)
class _Remote:
    """What is known of one: what each pod had counted, all that was counted since, and what follows from it."""

    pods: dict[str, Attempts] = field(default_factory=dict)
    counted: Counter[tuple[str, int]] = field(default_factory=Counter)
    judged: Judged = field(default_factory=Judged)
    most: int = throttle.WHOLE


class Remotes:
    """Asks the gateways while we lead; used as `async with`. `changed` hears of the model whose remote is another way now."""

    def __init__(self, models: Models, owned: Owned, figures: Figures, *, changed: Callable[[ModelKey], None]) -> None:
        self._models = models
        self._owned = owned
        self._figures = figures
        self._changed = changed
        self._remotes: dict[ModelKey, _Remote] = {}
        self._places = asyncio.Semaphore(AT_ONCE)
        self._client = httpx2.AsyncClient(trust_env=False, timeout=PATIENCE, follow_redirects=False)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def run(self) -> None:
        """Ask again and again, until cancelled."""
        while True:
            wanted = {
                key: model.spec.remote
                for key, model in self._models.models.items()
                if model.spec is not None and model.spec.remote is not None
            }
            self._remotes = {key: remote for key, remote in self._remotes.items() if key in wanted}
            async with asyncio.TaskGroup() as group:
                for key, backend in wanted.items():
                    group.create_task(self._look(key, backend))
            await asyncio.sleep(PERIOD)

    def ready(self, key: ModelKey) -> RemoteReady | None:
        """Tell how a model's remote is, if anything is known."""
        return self._remotes[key].judged.condition if key in self._remotes else None

    def most(self, key: ModelKey) -> int:
        """Tell the most percent that a model's remote takes: less than all of it while it answers 429."""
        return self._remotes[key].most if key in self._remotes else throttle.WHOLE

    async def _look(self, key: ModelKey, backend: RemoteBackend) -> None:
        remote = self._remotes.setdefault(key, _Remote())
        pods = [pod for pod in self._owned.pods(key).values() if pod.ready and pod.ip and pod.stats_port]
        answers = await asyncio.gather(*(self._ask(pod) for pod in pods))
        known = {pod.uid: answer for pod, answer in zip(pods, answers, strict=True) if answer is not None}
        before = _whole(remote, servers=0)
        for uid, attempts in known.items():
            # What a pod had counted before it was first seen belongs to an earlier leader's time.
            remote.counted.update(remote_health.fresh(remote.pods.get(uid, attempts), attempts))
        remote.pods = {uid: remote.pods[uid] for uid in remote.pods if uid in known} | known
        after = _whole(remote, servers=max((each.servers for each in known.values()), default=0))
        self._judge(key, remote, backend, before, after)

    def _judge(self, key: ModelKey, remote: _Remote, backend: RemoteBackend, before: Attempts, after: Attempts) -> None:
        said, most = remote.judged.condition, remote.most
        remote.judged = remote_health.judge(backend, remote.judged, after)
        stored = self._models.get(key)
        percentage = (stored.percentage if stored else None) or 0
        remote.most = throttle.most(most, percentage=percentage, before=before, after=after)
        if (said.status, said.reason, most) != (*_essence(remote.judged.condition), remote.most):
            self._changed(key)

    async def _ask(self, pod: GatewayPod) -> Attempts | None:
        """Ask one pod; None if it does not answer."""
        host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
        try:
            async with self._places, asyncio.timeout(PATIENCE):
                request = self._client.build_request("GET", f"http://{host}:{pod.stats_port}{self._figures.path}")
                async with aclosing(await self._client.send(request, stream=True)) as response:
                    return (
                        self._figures.read(await _page(response)) if response.status_code == httpx2.codes.OK else None
                    )
        except (TimeoutError, httpx2.HTTPError, OSError):
            return None


async def _page(response: httpx2.Response) -> str:
    body = bytearray()
    async with aclosing(response.aiter_bytes()) as pieces:
        async for piece in pieces:
            body += piece
            if len(body) > LONGEST_PAGE:
                break
    return body.decode(errors="replace")


def _whole(remote: _Remote, *, servers: int) -> Attempts:
    return Attempts(tuple((result, code, count) for (result, code), count in sorted(remote.counted.items())), servers)


def _essence(condition: RemoteReady) -> tuple[str, object]:
    return condition.status, condition.reason
