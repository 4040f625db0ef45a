"""What is seen of a run while it goes on: the controller's `/models`, the servers' queues, and the load's own account."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx2
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError

from beamlit_controller.api.models_view import ModelsView, ModelView, SpendingView
from demo import recorder as account
from demo.recorder import Change, Recorder, Side, Spending, State, Tick

LOOK_SECONDS = 0.25
"""A tick is a second; the controller is asked more often, so that a change is shown soon."""
LATENCY_SECONDS = 5.0
"""The percentiles of a tick are over so many seconds."""
QUEUE = "vllm:num_requests_waiting"


class Watch:
    """Looks at everything again and again, and writes it in the book."""

    def __init__(
        self,
        book: Recorder,
        *,
        now: Callable[[], float],
        client: httpx2.AsyncClient,
        controller: str,
        servers: Sequence[str],
    ) -> None:
        self._book = book
        self._now = now
        self._client = client
        self._controller = controller
        self._servers = servers
        self._seen = _Seen(at=now())
        self._state: State | None = None
        self._looked = asyncio.Condition()

    async def run(self, show: Callable[[float], None]) -> None:
        """Look until cancelled; `show` is told the time after each look."""
        while True:
            async with self._looked:
                await self._look()
                self._looked.notify_all()
            if int(self._now()) > int(self._seen.at):
                await self._tick()
            show(self._now())
            await asyncio.sleep(LOOK_SECONDS - self._now() % LOOK_SECONDS)

    async def until(self, wanted: Callable[[State], bool]) -> None:
        """Wait until the controller's state is as wanted."""
        async with self._looked:
            await self._looked.wait_for(lambda: self._state is not None and wanted(self._state))

    async def _look(self) -> None:
        model = await self._model()
        if model is None:
            self._state = None
            return
        decision = model.decision
        self._state = State(decision.percentage, decision.reason, decision.message, model.verdict.ratio, decision.cap)
        self._book.spending = tuple(map(_spending, model.spending))
        before = self._book.changes[-1].after if self._book.changes else None
        if decision.cap != before:
            self._book.changes.append(Change(self._now(), before, decision.cap, decision.reason, decision.message))

    async def _model(self) -> ModelView | None:
        try:
            answer = await self._client.get(f"{self._controller}/models")
            models = ModelsView.model_validate_json(answer.content).models
        except (httpx2.HTTPError, ValidationError):
            return None
        return models[0] if models else None

    async def _tick(self) -> None:
        before = self._seen
        self._seen = seen = _Seen(self._now(), came=len(self._book.came), ended=len(self._book.requests))
        seconds = seen.at - before.at
        sides = Counter(
            request.side for request in self._book.requests[before.ended : seen.ended] if not request.failure
        )
        latencies = account.first_tokens(self._book.requests, seen.at - LATENCY_SECONDS, seen.at)
        tick = Tick(
            at=seen.at,
            came=(seen.came - before.came) / seconds,
            local=sides[Side.LOCAL] / seconds,
            remote=sides[Side.REMOTE] / seconds,
            waiting=await self._waiting(),
            p50=account.percentile(latencies, 50),
            p95=account.percentile(latencies, 95),
            state=self._state,
            capacity=self._book.capacity,
        )
        self._book.ticks.append(tick)

    async def _waiting(self) -> int | None:
        try:
            pages = [await self._client.get(f"{server}/metrics") for server in self._servers]
            return int(sum(_value(page.raise_for_status().text, QUEUE) for page in pages))
        except (httpx2.HTTPError, ValueError):
            return None


@dataclass(frozen=True, slots=True)
class _Seen:
    """How far the book was read at the last tick."""

    at: float
    came: int = 0
    ended: int = 0


def _spending(seen: SpendingView) -> Spending:
    cost = f"{seen.cost} {seen.currency}" if seen.cost is not None else "-"
    tokens, budget = seen.input_tokens + seen.output_tokens, seen.budget
    if budget is None:
        return Spending(seen.name, seen.requests, tokens, cost)
    return Spending(seen.name, seen.requests, tokens, cost, budget.percentage, budget.spent)


def _value(page: str, name: str) -> float:
    families = text_string_to_metric_families(page)
    return sum(sample.value for family in families for sample in family.samples if sample.name == name)
