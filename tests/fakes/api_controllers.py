"""Stand-ins for other controllers of a cluster: deployments, nodes, endpoints, garbage collection, namespaces.

Each looks at the whole store after every change and reacts after a delay that the test sets.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fakes import api_deployments, api_endpoints
from fakes.api_kinds import NAMESPACE, POD, SERVICE, Json, of, path_of
from fakes.api_rules import is_terminating
from fakes.api_server import FakeApiServer

NODE = "node-1"


@dataclass(slots=True)
class Delays:
    """Seconds until each has done what is due; a test may change them at any time."""

    deployments: float = 0.1
    start: float = 1.0
    """From the making of a pod until it is ready."""
    termination: float = 1.0
    """From the deletion of a pod until it is gone, if its own grace is not shorter."""
    endpoints: float = 0.2
    collection: float = 0.5
    namespaces: float = 0.5


class Controllers:
    """The controllers of one server, while `running`. `is_ready` may be replaced, followed by `look`, to have pods fail.

    So may `stuck`, for pods that don't start: it gives what their status says of it; and `refusal`, for Deployments
    whose pods can't be made: it gives the message.
    With `namespaces` they leave all others alone: what is planted there need not be what the server would store.
    """

    def __init__(
        self, server: FakeApiServer, delays: Delays | None = None, *, namespaces: Collection[str] = ()
    ) -> None:
        self._namespaces_only = frozenset(namespaces)
        self.delays = delays or Delays()
        self.is_ready: Callable[[Json], bool] = lambda _: True
        self.stuck: Callable[[Json], Json] = lambda _: {}
        self.refusal: Callable[[Json], str] = lambda _: ""
        self._server = server
        self._addresses = 0
        self._deleted: dict[str, float] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Controllers"]:
        """Have them run until the block ends."""
        parts = (self._deployments, self._pods, self._endpoints, self._owned, self._namespaces)
        tasks = [asyncio.ensure_future(self._keep(each)) for each in parts]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            failures = await asyncio.gather(*tasks, return_exceptions=True)
        for each in failures:
            if isinstance(each, Exception):
                raise each

    def look(self) -> None:
        """Have them look again."""
        self._server.store.wake()

    async def _keep(self, part: Callable[[], float | None]) -> None:
        """Do what is due after every change, and when the part says that something will be."""
        changes = self._server.store.changes
        while True:
            seen, again = changes.value, part()
            try:
                async with asyncio.timeout(None if again is None else again + SOON):
                    await changes.changed_from(seen)
            except TimeoutError:
                continue
            await asyncio.sleep(self._delay(part))

    def _delay(self, part: Callable[[], float | None]) -> float:
        delays = self.delays
        given = {
            self._deployments: delays.deployments,
            self._endpoints: delays.endpoints,
            self._owned: delays.collection,
            self._namespaces: delays.namespaces,
        }
        return given.get(part, 0.0)

    def _all(self, resource: str) -> list[Json]:
        return [each for each in self._server.all(resource) if self._minds(each["metadata"].get("namespace", ""))]

    def _minds(self, namespace: str) -> bool:
        return not self._namespaces_only or namespace in self._namespaces_only

    # Pods.

    def _deployments(self) -> None:
        for deployment in self._all("deployments.apps"):
            if not is_terminating(deployment):
                api_deployments.keep(self._server, deployment, self.refusal(deployment))

    def _pods(self) -> float | None:
        """Start and end pods; give the seconds until the next one is due."""
        return min(filter(None, map(self._pod, self._all(POD.resource))), default=None)

    def _pod(self, pod: Json) -> float | None:
        about, now = pod["metadata"], asyncio.get_running_loop().time()
        if is_terminating(pod):
            return self._end(pod, now)
        if stuck := self.stuck(pod):
            self._set(pod, {**pod["status"], **stuck})
            return None
        if not pod["spec"].get("nodeName"):
            pod = self._schedule(pod)
        began = self._deleted.setdefault(f"start {about['uid']}", now)
        left = began + self.delays.start - now
        if left > _ALMOST:
            return left
        self._set(pod, self._running(pod))
        return None

    def _end(self, pod: Json, now: float) -> float | None:
        about = pod["metadata"]
        grace = min(self.delays.termination, about.get("deletionGracePeriodSeconds", 0))
        left = self._deleted.setdefault(about["uid"], now) + grace - now
        if left > _ALMOST:
            return left
        self._delete(pod, gracePeriodSeconds=0)
        return None

    def _schedule(self, pod: Json) -> Json:
        return self._act("kube-scheduler", "merge", pod, {"spec": {"nodeName": NODE}})

    def _running(self, pod: Json) -> Json:
        status = pod["status"]
        ips = status.get("podIPs") or [{"ip": each} for each in self._addresses_of_a_pod()]
        state = "True" if self.is_ready(pod) else "False"
        conditions = [{"type": kind, "status": "True"} for kind in ("PodScheduled", "Initialized")]
        conditions += [{"type": kind, "status": state} for kind in ("ContainersReady", "Ready")]
        phase = {"phase": "Running", "podIP": ips[0]["ip"], "podIPs": ips, "hostIP": "10.0.0.1"}
        return {**status, **phase, "conditions": conditions}

    def _addresses_of_a_pod(self) -> Iterator[str]:
        """Yield one address of each of the cluster's IP families."""
        self._addresses += 1
        for family in self._server.store.families:
            ipv4 = f"10.244.{self._addresses // 250}.{self._addresses % 250 + 1}"
            yield ipv4 if family == "IPv4" else f"fd00:244::{self._addresses:x}"

    def _set(self, content: Json, status: Json) -> None:
        if content.get("status") != status:
            self._act("kubelet", "merge", content, {"status": status}, subresource="status")

    # The rest.

    def _endpoints(self) -> None:
        api_endpoints.keep(self._server, self._all(SERVICE.resource))

    def _owned(self) -> None:
        """Delete what has owners of which none is there any more."""
        there = {content["metadata"]["uid"] for _, content in self._server.store.all()}
        for content in (each for key, each in self._server.store.all() if self._minds(key[1])):
            owners = {each["uid"] for each in content["metadata"].get("ownerReferences") or ()}
            if owners and not owners & there and not is_terminating(content):
                self._delete(content)

    def _namespaces(self) -> None:
        for space in self._server.all(NAMESPACE.resource):
            if is_terminating(space):
                self._empty(space)

    def _empty(self, space: Json) -> None:
        """Delete what is in a namespace that goes: all pods first, then the rest, then the namespace."""
        name = space["metadata"]["name"]
        pods = self._server.all(POD.resource, name)
        inside = pods or list(self._inside(name))
        for content in inside:
            if not is_terminating(content):
                self._delete(content)
        if not inside:
            self._server.answers.writes.remove(of(space))

    def _inside(self, namespace: str) -> Iterator[Json]:
        return (content for key, content in self._server.store.all() if key[1] == namespace)

    def _delete(self, content: Json, **options: object) -> None:
        self._act("kube-controller-manager", "delete", content, options)

    def _act(self, manager: str, verb: str, content: Json, body: Json, *, subresource: str = "") -> Json:
        return self._server.act(manager, verb, path_of(content, subresource), body)


_ALMOST = 1e-6
SOON = 0.001
