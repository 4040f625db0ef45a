"""Every fault of two remotes with every other one: who answers, who was asked, and that nothing is lost or sent twice."""

import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio

import builders
from beamlit_controller.core.price import Budget, BudgetUnit, Period
from beamlit_controller.core.spec import ApiKey, Overflow, RemoteTls, SecretKey
from beamlit_controller.envoy.rtds import RuntimeValues
from docs.pages import ROOT
from fakes import client, http1, secrets
from fakes.gateway import Gateway, gateway, to
from fakes.tls import Authority
from fakes.trouble import breaks_off, closes, says, takes
from fakes.upstream import Answer, Exchange, Upstream, tells, upstream
from waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

PAGE = ROOT / "docs" / "remote-failures.md"
NAME = "remote.example.test"
REQUESTS = 2
PROMPT = b"the prompt"
BUDGET = Budget(Decimal(1), BudgetUnit.REQUESTS, Period.DAY)
BROKEN_OFF = "100"
"""The length that an answer has told which then breaks off."""
Outcome = tuple[str, ...]
Seen = dict[str, int]


async def asks_to_wait(exchange: Exchange) -> None:
    await exchange.respond(status="429 Too Many Requests", headers=(("retry-after", "60"),))


@dataclass(frozen=True, slots=True)
class Fault:
    """What a remote does, and what becomes of a request at it: does it get there, and is there a response of it?"""

    answer: Answer | None = None
    receives: bool = True
    responds: bool = False
    is_left_out: bool = False


FAULTS = {
    "is healthy": Fault(responds=True),
    "is slow": Fault(takes(0.05, b""), responds=True),
    "closes the connection within its response": Fault(breaks_off, responds=True),
    "refuses connections": Fault(receives=False),
    "has a certificate that has expired": Fault(receives=False),
    "responds with 401": Fault(says(401)),
    "responds with 402": Fault(says(402)),
    "responds with 429 and `Retry-After`": Fault(asks_to_wait),
    "responds with 500": Fault(says(500)),
    "closes the connection without a response": Fault(closes),
    "is out of budget": Fault(receives=False, is_left_out=True),
}
FULL = {False: "local is healthy", True: "local is full"}


@dataclass
class World:
    """Two remotes with TLS, a local server, and one gateway for all of the table."""

    remotes: tuple[Upstream, Upstream]
    local: Upstream
    gate: Gateway
    folder: Path
    certificates: dict[bool, ssl.SSLContext]
    share: int | None = None
    left_out: frozenset[str] = frozenset()
    keys: Iterator[int] = field(default_factory=count)

    async def begin(self, share: int, *, full: bool) -> None:
        """Bring both remotes back to health in the eyes of the gateway, and local into this state."""
        if share != self.share:
            await self.gate.offload(share)
            self.share, self.left_out = share, frozenset()
        one, two = self.remotes
        self.local.answer = says(503) if full or share else tells("local")
        # What local answers reaches no remote, whatever the gateway thinks of it.
        for first in (tells("one"), says(408)) if full or share else ():
            await self.put(one, replace(FAULTS["is healthy"], answer=first))
            await self.put(two, FAULTS["is healthy"])
            await eventually(self._is_served)
        self.local.answer = says(503) if full else tells("local")

    async def put(self, remote: Upstream, fault: Fault) -> None:
        """Let a remote do this, with an account that has no past."""
        secrets.put(self.folder, remote.name, key=f"key-{next(self.keys)}")
        expired = fault is FAULTS["has a certificate that has expired"]
        listens = fault is not FAULTS["refuses connections"]
        await self._leave_out(self.left_out | {remote.name} if fault.is_left_out else self.left_out - {remote.name})
        if not listens or self.certificates[expired] is not remote.tls:
            await remote.stop()
            await eventually(lambda: self._is_left(remote))
            remote.tls = self.certificates[expired] if listens else None
            if listens:
                await remote.start()
        remote.answer = fault.answer or tells(remote.name)

    async def _leave_out(self, names: frozenset[str]) -> None:
        """Have the gateway told that the budgets of these remotes are spent."""
        if names != self.left_out:
            self.gate.shares.set(self.gate.spec.key, RuntimeValues(self.share or 0, budget_spent=tuple(sorted(names))))
            await eventually(lambda: self.gate.leaves_out(names))
            self.left_out = names

    async def ask(self) -> tuple[Counter[str], Seen]:
        """Ask some requests, one after the other: by whom they were answered, and how many requests each server received."""
        servers = (*self.remotes, self.local)
        before = {each.name: len(each.requests) for each in servers}
        answered = Counter([await self._answer() for _ in range(REQUESTS)])
        received = {each.name: each.requests[before[each.name] :] for each in servers}
        assert {seen.body.content for requests in received.values() for seen in requests} <= {PROMPT}
        return answered, {name: len(requests) for name, requests in received.items()}

    async def _answer(self) -> str:
        async with client.connect(self.gate.front) as connection:
            await connection.send_head("POST /v1/completions HTTP/1.1", (("content-length", str(len(PROMPT))),))
            await connection.send(PROMPT)
            head = await connection.head()
            # Envoy takes its time to close what was broken off.
            if head.header("content-length") == BROKEN_OFF:
                return "broken off"
            body = (await http1.read_body(connection.reader, head)).content
        return body.decode() or ("slow" if head.line[1] == "200" else head.line[1])

    async def _is_served(self) -> bool:
        return await self._answer() in {"one", "two"}

    async def _is_left(self, remote: Upstream) -> bool:
        return await self.gate.stat(f"cluster.remote-{remote.name}.upstream_cx_active") == 0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("gateway")
    authority = Authority(folder, "trusted")
    certificates = {expired: authority.server(NAME, expired=expired) for expired in (False, True)}
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(upstream(name, tls=certificates[False])) for name in ("one", "two")]
        local = await stack.enter_async_context(upstream("local"))
        first, second = [
            to(
                each,
                name=each.name,
                auth=ApiKey(SecretKey(each.name, "key")),
                tls=RemoteTls(SecretKey("ca", "ca"), NAME),
                budget=BUDGET,
            )
            for each in (one, two)
        ]
        secrets.put(folder, "ca", ca=authority.cert.read_bytes())
        for each in (one, two):
            secrets.put(folder, each.name, key="key")
        spec = builders.spec(remote=first, next_remotes=(second,), overflow=Overflow(on_status=(503,)))
        gate = await stack.enter_async_context(gateway(spec, folder, local=[local]))
        yield World((one, two), local, gate, folder, certificates)


@pytest.mark.parametrize("first", FAULTS)
@pytest.mark.parametrize("full", FULL, ids=FULL.values())
@pytest.mark.parametrize("share", [0, 100])
async def test_whoever_can_answers_and_nobody_is_asked_twice_for_what_has_begun(
    world: World, first: str, share: int, *, full: bool
) -> None:
    came = {}
    for second, fault in FAULTS.items():
        await world.begin(share, full=full)
        await world.put(world.remotes[0], FAULTS[first])
        await world.put(world.remotes[1], fault)
        came[second] = await world.ask()

    assert came == {second: expected(first, second, share=share, full=full) for second in FAULTS}


async def test_the_page_has_every_fault() -> None:
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")][1:]

    assert [row[0] for row in rows] == list(FAULTS)
    assert {row[0] for row in rows if row[1] == "nothing"} == {
        name for name, fault in FAULTS.items() if not fault.receives
    }
    assert {row[0] for row in rows if "of the next one" in row[2]} == {
        name for name, fault in FAULTS.items() if not fault.responds
    }


def expected(one: str, two: str, *, share: int, full: bool) -> tuple[Counter[str], Seen]:
    """Return who answers and how many requests each receives, by what the page says."""
    seen: Counter[str] = Counter({"one": 0, "two": 0, "local": 0})
    answered: Counter[str] = Counter()
    paused: set[str] = set()
    for _ in range(REQUESTS):
        answered[_request({"one": one, "two": two}, seen, paused, share=share, full=full)] += 1
    return answered, dict(seen)


def _request(faults: dict[str, str], seen: Counter[str], paused: set[str], *, share: int, full: bool) -> str:
    remote_first = ("one", "two", "local", "one", "two", "local")
    local_first = ("local", "one", "two", "one", "local")
    for server in remote_first if share else local_first:
        if server == "local":
            seen[server] += 1
            if not full:
                return server
            continue
        fault = FAULTS[faults[server]]
        if fault.receives and server not in paused:
            seen[server] += 1
        if fault.responds:
            return {"is slow": "slow", "is healthy": server}.get(faults[server], "broken off")
        if fault.answer is asks_to_wait:
            paused.add(server)
    return "503"
