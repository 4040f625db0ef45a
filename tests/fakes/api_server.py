"""A fake API server in virtual time: the real client's requests, answered in the process.

`FakeApiServer.connect` gives the project's own `ApiServer` over a transport that leads here, so that its paths, queries,
headers, deadlines and errors are the real ones. What is not a client's request (users, controllers) goes by `act`.
"""

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx2
from lightkube.config.kubeconfig import KubeConfig

from beamlit_controller.kubernetes.api_server import ApiServer
from fakes import api_kinds, api_watches
from fakes.api_faults import Act, CrashedError, Faults, Rule
from fakes.api_kinds import Json, RefusedError
from fakes.api_requests import Answers, Asked, parsed
from fakes.api_store import Store
from fakes.api_watches import Watched

BEGAN: Final = datetime(2026, 1, 1, tzinfo=UTC)
LATENCY: Final = 0.002


@dataclass(frozen=True, slots=True)
class Logged:
    """A request that arrived, when, and with which status it was answered (0 if it was not)."""

    at: float
    asked: Asked
    code: int

    @property
    def line(self) -> str:
        """Return it for people."""
        return f"{self.at:.3f} {self.asked.client} {self.asked.verb} {self.asked.path} {self.code}"


class VirtualClock:
    """The time of the loop, as a clock that the controller can be given."""

    origin = BEGAN

    def now(self) -> datetime:
        """Tell the time."""
        return BEGAN + timedelta(seconds=asyncio.get_running_loop().time())


class FakeApiServer:
    """The server of a cluster with these IP families. While `down`, nobody answers; those in `cut_off` don't reach it."""

    def __init__(self, *namespaces: str, families: Sequence[str] = ("IPv4",)) -> None:
        self.clock = VirtualClock()
        self.faults = Faults()
        self.log: list[Logged] = []
        self.down = False
        self.cut_off: set[str] = set()
        self.dead: set[str] = set()
        self.crashed = asyncio.Event()
        self.store = Store(lambda: asyncio.get_running_loop().time(), families)
        self.answers = Answers(self.store, self.clock.now)
        self.watched: list[Watched] = []
        for name in namespaces or ("default", "models"):
            about = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            self.act("kubectl-create", "create", "/api/v1/namespaces", about)

    def connect(self, client: str = "controller") -> ApiServer:
        """Return a connection, to be used with `async with` or without. `client` names who has it: a replica, say."""
        config = KubeConfig.from_dict(_NOWHERE).get()
        assert config is not None
        server = ApiServer(config)
        server._client = httpx2.AsyncClient(transport=_Transport(self, client), base_url=_HERE, verify=False)  # noqa: SLF001 - takes no transport
        return server

    def act(self, manager: str, verb: str, path: str, body: Any = None, **query: str) -> Json:  # noqa: ANN401 - JSON
        """Have somebody else's request carried out at once, whatever the rules say. Raises RefusedError."""
        whole = json.loads(json.dumps(body))
        answer: Json = json.loads(json.dumps(self.answers.give(Asked(verb, path, query, whole, manager, manager))))
        return answer

    def plant(self, content: Json) -> None:
        """Put an object there as it is, whatever the server would make of it; it has to say what and where it is."""
        held = self.store.get(api_kinds.of(content).key)
        uid = (
            held.content["metadata"]["uid"]
            if held
            else str(uuid.uuid5(uuid.UUID(int=1), repr(api_kinds.of(content).key)))
        )
        about = {"creationTimestamp": self.clock.now().isoformat(), **content["metadata"], "uid": uid}
        self.store.put(api_kinds.of(content).key, {**content, "metadata": about}, ())

    def find(self, api_version: str, kind: str, namespace: str, name: str) -> Json | None:
        """Return an object as it is now, None if it is not there."""
        held = self.store.get((api_kinds.named(api_version, kind).resource, namespace, name))
        return json.loads(json.dumps(held.content)) if held is not None else None

    def all(self, resource: str, namespace: str = "") -> list[Json]:
        """Return all objects of a resource such as `pods` or `deployments.apps`."""
        return list(self.store.of(resource, namespace))

    def writes(self, *, since: float = 0, client: str | None = None) -> list[Logged]:
        """Return what clients wrote, or tried to."""
        return [
            each for each in self.log if each.asked.writes and each.at >= since and client in {None, each.asked.client}
        ]

    def counted(self, *, since: float = 0) -> Counter[str]:
        """Count the requests by their verbs."""
        return Counter(each.asked.verb for each in self.log if each.at >= since)

    def restart(self) -> None:
        """Break all watches, as a server does that is started anew."""
        self.tear("*")

    def tear(self, path: str, client: str = "*") -> None:
        """Break the connections of watches."""
        for each in self.watched:
            each.torn = each.torn or each.matches(path, client)
        self.store.wake()

    def revive(self, client: str) -> None:
        """Let a client that crashed be started anew, under its name."""
        self.dead.discard(client)
        self.crashed.clear()

    async def exchange(self, asked: Asked) -> Json:
        """Answer a client, by the rules. Raises RefusedError, an httpx2 error, or CrashedError."""
        self.reach(asked)
        await asyncio.sleep(LATENCY)
        rule = self.faults.take(asked)
        await self._before(asked, rule)
        self.reach(asked)
        crash = self.faults.crash(asked)
        if crash is not None and not crash.carried_out:
            self._die(asked)
        answer = self._carried_out(asked)
        if crash is not None:
            self._die(asked)
        await self._after(rule)
        return answer

    def reach(self, asked: Asked) -> None:
        """Break the connection where it leads nowhere."""
        if asked.client in self.dead:
            raise CrashedError(asked.client)
        if self.down or asked.client in self.cut_off:
            raise httpx2.ConnectError("connection refused")

    async def _before(self, asked: Asked, rule: Rule | None) -> None:
        match rule.act if rule else None:
            case Act.REFUSE if rule and rule.error:
                self._note(asked, rule.error.code)
                raise rule.error
            case Act.RESET:
                self._note(asked, 0)
                raise httpx2.ReadError("connection reset by peer")
            case Act.HANG:
                self._note(asked, 0)
                await asyncio.Event().wait()
            case Act.DELAY if rule:
                await asyncio.sleep(rule.seconds)

    def _carried_out(self, asked: Asked) -> Json:
        try:
            answer = self.answers.give(asked)
        except RefusedError as error:
            self._note(asked, error.code)
            raise
        self._note(asked, 201 if asked.verb == "create" else 200)
        return answer

    async def _after(self, rule: Rule | None) -> None:
        match rule.act if rule else None:
            case Act.LOSE:
                await asyncio.Event().wait()
            case Act.BREAK:
                raise httpx2.RemoteProtocolError("server disconnected without sending a response")

    def _die(self, asked: Asked) -> None:
        self.dead.add(asked.client)
        self.tear("*", asked.client)
        self.crashed.set()
        raise CrashedError(asked.client)

    def _note(self, asked: Asked, code: int) -> None:
        self.log.append(Logged(asyncio.get_running_loop().time(), asked, code))


class _Transport(httpx2.AsyncBaseTransport):
    """Leads a client's requests to the fake server."""

    def __init__(self, server: FakeApiServer, client: str) -> None:
        self._server = server
        self._client = client

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request."""
        query = dict(request.url.params)
        verb, body = parsed(request.method, request.headers.get("content-type", ""), await request.aread())
        verb = "watch" if query.get("watch") == "true" else verb
        path = request.url.raw_path.decode().partition("?")[0]
        partial = "as=PartialObjectMetadata" in request.headers.get("accept", "")
        manager = query.get("fieldManager") or self._client
        asked = Asked(verb, path, query, body, manager, self._client, partial)
        try:
            if verb == "watch":
                return httpx2.Response(200, stream=await self._watch(asked, request))
            answer = await self._server.exchange(asked)
        except RefusedError as error:
            after = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
            return _response(error.code, error.status(), **after)
        return _response(200, answer)

    async def _watch(self, asked: Asked, request: httpx2.Request) -> "_Lines":
        silence = float(request.extensions["timeout"]["read"])
        return _Lines(await api_watches.opened(self._server, asked, silence))


def _response(code: int, content: Json, **headers: str) -> httpx2.Response:
    about = {"content-type": "application/json", **headers}
    return httpx2.Response(code, content=_streamed(json.dumps(content).encode()), headers=about)


async def _streamed(body: bytes) -> AsyncIterator[bytes]:
    """Yield a body as it comes over a connection: a response that is made with it can't be read raw."""
    yield body


class _Lines(httpx2.AsyncByteStream):
    def __init__(self, lines: AsyncIterator[bytes]) -> None:
        self._lines = lines

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._lines

    async def aclose(self) -> None:
        """End the watch."""
        await self._lines.aclose()  # type: ignore[attr-defined] - a generator


_HERE = "http://api.invalid"
_NOWHERE = {
    "clusters": [{"name": "c", "cluster": {"server": _HERE, "insecure-skip-tls-verify": True}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "default"}}],
    "current-context": "x",
}
