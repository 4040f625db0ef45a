"""What remotes cost, and their budgets, with the command as users run it."""

from typing import Any

import httpx2
import pytest

from fakes import load
from fakes.controller import Controller, controller
from fakes.model_server import model_server
from fakes.upstream import Exchange, upstream
from waiting import eventually

pytestmark = pytest.mark.system

TOKENS = {"prompt_tokens": 30, "completion_tokens": 10}
BUDGET = 4_000
CONNECTIONS, PAUSE = 2, 0.02
MOST_PER_SECOND = round(CONNECTIONS / PAUSE)
PRICE = {"inputPerMillion": 10, "outputPerMillion": 20, "perRequest": "0.001"}
WAITING = {
    "type": "Pods",
    "pods": {"metric": {"name": "vllm:num_requests_waiting"}, "target": {"type": "AverageValue", "averageValue": 10}},
}


def manifest(*remotes: dict[str, Any]) -> dict[str, Any]:
    service = {"name": "llama", "targetPort": 8000}
    config = {"remoteBackends": [{"scheme": "http", **each} for each in remotes], "metrics": [WAITING]}
    return {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "llama"},
        "spec": {"serviceRef": service, "metricServiceRef": service, "offloadingConfig": config},
    }


async def tells(exchange: Exchange) -> None:
    body = b'{"choices":[],"usage":{"prompt_tokens":30,"completion_tokens":10}}'
    await exchange.respond(body, headers=[("content-type", "application/json")])


async def test_a_spent_budget_sends_requests_to_the_next_remote_and_outlives_a_killed_controller() -> None:
    async with (
        upstream("one", tells) as one,
        upstream("two", tells) as two,
        model_server(vllm__num_requests_waiting=50) as local,
    ):
        budget = {"amount": BUDGET, "unit": "Tokens", "per": "Month"}
        first = {"name": "paid", "host": one.address, "budget": budget, "price": PRICE}
        async with controller(manifest(first, {"name": "free", "host": two.address}), local=[local.address]) as running:
            await running.reaches(100)
            await eventually(lambda: _has_accounts(running))
            async with load.asking(running.front, connections=CONNECTIONS, pause=PAUSE) as tally:
                await eventually(lambda: _is_spent(running), within=60)
                at_spent = len(one.requests)
                await eventually(lambda: len(two.requests) > 20, within=30)
            after = len(one.requests)
            await eventually(lambda: _has_all(running, "paid", after))
            model = await running.model()
            first_account, _ = model["spending"]
            page = (await _get(f"http://{running.web}/metrics")).text
            log = running.log

            await running.kill()
            while_gone = await load.ask(running.front, requests=50)
            await running.start()
            await eventually(lambda: _is_spent(running))
            later = await load.ask(running.front, requests=50)

    assert set(tally.answered) == set(while_gone.answered) == set(later.answered) == {("200", "remote")}
    assert tally.failed == []
    # Until the budget is known to be spent: a probe and a round, of three seconds together if the machine isn't stalled.
    assert BUDGET // 40 <= at_spent <= BUDGET // 40 + 10 * MOST_PER_SECOND
    # From then on: what was under way, and what was sent until the gateway had heard of it.
    assert after - at_spent <= MOST_PER_SECOND
    assert len(one.requests) == after
    assert (first_account["inputTokens"], first_account["outputTokens"]) == (30 * after, 10 * after)
    assert float(first_account["cost"]) == pytest.approx(after * (30 * 10 + 10 * 20) / 1e6 + after * 0.001)
    assert first_account["budget"]["spent"] is True
    assert model["headline"]["to"] == two.address
    assert model["gateway"]["remote"]["message"].startswith("paid: its budget is spent; free: ")
    assert (
        f'beamlit_remote_tokens_total{{direction="input",name="llama",namespace="default",remote="paid"}} {30 * after}.0'
        in page
    )
    assert 'beamlit_remote_budget_used_ratio{name="llama",namespace="default",remote="paid"} 1.' in page
    assert "budget spent" in log


async def _get(url: str) -> httpx2.Response:
    async with httpx2.AsyncClient(trust_env=False, verify=False) as asker:
        return await asker.get(url)


async def _has_accounts(running: Controller) -> bool:
    return len((await running.model())["spending"]) == 2


async def _is_spent(running: Controller) -> bool:
    known = (await running.model())["spending"]
    return any(each["budget"] is not None and each["budget"]["spent"] for each in known)


async def _has_all(running: Controller, name: str, requests: int) -> bool:
    known = (await running.model())["spending"]
    return any(each["name"] == name and each["requests"] == requests for each in known)
