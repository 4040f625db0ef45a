"""How a remote is, by what its gateways' pods have counted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import builders
from beamlit_controller.api.translate import Accepted
from beamlit_controller.controller.changes import Changes
from beamlit_controller.core.remote_health import Attempts
from beamlit_controller.core.spec import ModelKey, RemoteBackend, Scheme
from beamlit_controller.kubernetes import managed_objects, models
from beamlit_controller.kubernetes.gateway_pages import GatewayPages
from beamlit_controller.kubernetes.managed_objects import ManagedObjects
from beamlit_controller.kubernetes.models import Models
from beamlit_controller.kubernetes.remotes import GatewayStats, Remotes
from fakes import http
from waiting import eventually

KEY = ModelKey("models", "llama")
REMOTE = RemoteBackend(Scheme.HTTPS, "api.example.com", 443)
SPEC = builders.spec(remote=REMOTE)


def read(page: str) -> dict[str, Attempts]:
    """Read `answered 200 5` lines; a fourth word is the remote's name."""
    rows: dict[str, list[tuple[str, int, int]]] = {"": []}
    for line in page.splitlines():
        result, code, count, *name = line.split()
        rows.setdefault("".join(name), []).append((result, int(code), int(count)))
    return {name: Attempts(tuple(counts), servers=1) for name, counts in rows.items()}


class World:
    """A model whose gateway pods are small servers."""

    def __init__(self, stack: AsyncExitStack, percentage: int) -> None:
        self._stack = stack
        self.changes: Changes[ModelKey] = Changes()
        self.changed = self.changes.subscribe()
        self.owned = ManagedObjects(lambda _: None)
        self.models = Models(lambda _: Accepted(SPEC))
        self._status: dict[str, object] = {"offloading": {"percentage": percentage}}
        self._store()

    def spent(self, name: str) -> None:
        """Write into the status that the budget of a remote is spent."""
        self._status["remotes"] = [{"name": name, "budgetSpent": True}]
        self._store()

    def _store(self) -> None:
        about = {"namespace": "models", "name": "llama", "uid": "u", "resourceVersion": "1"}
        self.models.changed(KEY, models.stored({"metadata": about, "status": self._status}))

    async def pod(self, name: str, page: http.Respond) -> http.Server:
        server = await self._stack.enter_async_context(http.serve(page))
        content = {
            "metadata": {
                "namespace": "models",
                "name": name,
                "uid": name,
                "resourceVersion": "1",
                "labels": {"deployment.beamlit.com/gateway": "llama"},
            },
            "spec": {"containers": [{"ports": [{"name": "offload-stats", "containerPort": server.port}]}]},
            "status": {"podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]},
        }
        self.owned.pod_changed(("models", name), managed_objects.parse_pod(content))
        return server


@asynccontextmanager
async def running(percentage: int = 50) -> AsyncIterator[tuple[World, Remotes, Any]]:
    async with AsyncExitStack() as stack:
        world = World(stack, percentage)
        pages = await stack.enter_async_context(GatewayPages())
        remotes = Remotes(world.models, world.owned, pages, GatewayStats("/stats", read), world.changes)
        yield world, remotes, lambda *backends: remotes.look(KEY, backends or (REMOTE,))


async def test_what_was_counted_before_says_nothing_and_what_is_new_does() -> None:
    async with running() as (world, remotes, look):
        pod = await world.pod("one", http.page("answered 500 9"))
        await look()
        assert str(remotes.ready(KEY)).startswith("RemoteReady(status='Unknown'")

        pod.respond = http.page("answered 500 12")
        await look()

        condition = remotes.ready(KEY)
        assert condition is not None
        assert (condition.status, condition.reason.value) == ("False", "RemoteFails")
        assert await world.changed.keys() == (KEY,)


async def test_the_pods_of_a_gateway_are_counted_together_and_one_that_goes_takes_nothing_away() -> None:
    async with running() as (world, remotes, look):
        one = await world.pod("one", http.page("answered 200 0"))
        await world.pod("two", http.page("answered 200 0"))
        await look()
        one.respond = http.page("answered 200 7")
        await look()

        world.owned.pod_changed(("models", "one"), None)
        await look()

        condition = remotes.ready(KEY)
        assert condition is not None
        assert (condition.status, condition.message) == ("True", "api.example.com answered the last requests: 7 of 7")


async def test_a_pod_that_does_not_answer_leaves_what_was_known() -> None:
    async with running() as (world, remotes, look):
        pod = await world.pod("one", http.page("answered 200 0"))
        await look()
        pod.respond = http.page("answered 200 3")
        await look()
        known = remotes.ready(KEY)

        for nonsense in (http.hang_up, http.page(status=503), http.redirect("/elsewhere")):
            pod.respond = nonsense
            await look()

        assert remotes.ready(KEY) == known


async def test_what_a_pod_counted_while_it_did_not_answer_counts_when_it_does_again() -> None:
    async with running() as (world, remotes, look):
        pod = await world.pod("one", http.page("answered 200 3"))
        await look()
        pod.respond = http.hang_up
        await look()
        pod.respond = http.page("answered 200 3\nanswered 500 4")

        await look()

        condition = remotes.ready(KEY)
        assert condition is not None
        assert (condition.status, condition.reason.value) == ("False", "RemoteFails")


async def test_a_remote_whose_budget_is_spent_by_the_status_does_not_make_the_model_ready() -> None:
    one, two = (RemoteBackend(Scheme.HTTPS, f"{name}.example.com", 443, name=name) for name in ("one", "two"))
    async with running() as (world, remotes, look):
        pod = await world.pod("one", http.page("answered 200 0 one\nanswered 401 0 two"))
        await look(one, two)
        pod.respond = http.page("answered 200 7 one\nanswered 401 2 two")
        await look(one, two)
        before = remotes.ready(KEY)

        world.spent("one")

        after = remotes.ready(KEY)
        assert before is not None
        assert after is not None
        assert (before.status, after.status, after.reason.value) == ("True", "False", "RemoteRefusesCredential")


async def test_a_remote_that_answers_429_gets_less() -> None:
    async with running(percentage=50) as (world, remotes, look):
        pod = await world.pod("one", http.page("answered 429 0"))
        await look()
        pod.respond = http.page("answered 429 50\nanswered 200 50")
        await look()

        assert remotes.percentage_limit(KEY) == 25


async def test_a_gateway_that_answers_what_its_reader_fails_at_ends_nobody_elses_turn() -> None:
    def fails(page: str) -> dict[str, Attempts]:
        raise RecursionError(page)

    async with AsyncExitStack() as stack:
        world = World(stack, 50)
        pod = await world.pod("one", http.page("answered 200 1"))
        pages = await stack.enter_async_context(GatewayPages())
        remotes = Remotes(world.models, world.owned, pages, GatewayStats("/stats", fails), world.changes)
        task = asyncio.ensure_future(remotes.run())
        await eventually(lambda: remotes.failures, within=30)

        assert not task.done()
        assert pod.requests
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_before_any_gateway_was_asked_the_remote_is_as_the_last_leader_wrote() -> None:
    async with running() as (world, remotes, _):
        condition = {
            "type": "RemoteReady",
            "status": "False",
            "reason": "RemoteFails",
            "message": "api.example.com answers 500",
            "observedGeneration": 0,
        }
        about = {"namespace": "models", "name": "llama", "uid": "u", "resourceVersion": "2"}
        world.models.changed(KEY, models.stored({"metadata": about, "status": {"conditions": [condition]}}))

        known = remotes.ready(KEY)

        assert known is not None
        assert (known.status, known.reason.value) == ("False", "RemoteFails")


ONE = RemoteBackend(Scheme.HTTPS, "one.example.com", 443, name="one")
TWO = RemoteBackend(Scheme.HTTPS, "two.example.com", 443, name="two")


async def test_each_of_several_remotes_is_judged_by_what_was_counted_of_it() -> None:
    async with running() as (world, remotes, look):
        pod = await world.pod("one", http.page("answered 402 0 one\nanswered 200 0 two"))
        await look(ONE, TWO)
        pod.respond = http.page("answered 402 4 one\nanswered 200 4 two")
        await look(ONE, TWO)

        condition = remotes.ready(KEY)
        assert condition is not None
        assert (condition.status, condition.reason.value) == ("True", "RemoteAnswers")
        assert condition.message.startswith("one: one.example.com answers 402")
        assert "two: two.example.com answered the last requests: 4 of 4" in condition.message


async def test_a_change_of_one_of_several_remotes_is_news() -> None:
    async with running() as (world, _, look):
        pod = await world.pod("one", http.page("answered 200 0 one\nanswered 200 0 two"))
        await look(ONE, TWO)
        pod.respond = http.page("answered 200 1 one\nanswered 200 1 two")
        await look(ONE, TWO)
        await world.changed.keys()
        pod.respond = http.page("answered 200 1 one\nanswered 500 3 one\nanswered 200 2 two")
        await look(ONE, TWO)

        async with asyncio.timeout(10):
            assert await world.changed.keys() == (KEY,)


async def test_only_what_the_last_remote_answers_with_429_takes_a_share_away() -> None:
    async with running(percentage=50) as (world, remotes, look):
        pod = await world.pod("one", http.page("answered 429 0 one\nanswered 200 0 two"))
        await look(ONE, TWO)
        pod.respond = http.page("answered 429 50 one\nanswered 200 50 two")
        await look(ONE, TWO)
        first = remotes.percentage_limit(KEY)
        pod.respond = http.page("answered 429 100 one\nanswered 429 50 two\nanswered 200 100 two")
        await look(ONE, TWO)

        assert (first, remotes.percentage_limit(KEY)) == (100, 25)


async def test_it_asks_again_and_again() -> None:
    async with running() as (world, remotes, _):
        pod = await world.pod("one", http.page("answered 200 1"))
        task = asyncio.ensure_future(remotes.run())
        await eventually(lambda: len(pod.requests) >= 1, within=30)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        assert pod.requests[0].target == "/stats"
